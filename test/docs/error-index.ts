// Every error of the program, read from its source: id, cause (the class's first comment) and what to do. Makes the table of
// docs/troubleshooting.md: `node test/docs/error-index.ts` writes it, troubleshooting.test.ts holds it against the code.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
export const pagePath = join(root, 'docs', 'troubleshooting.md');

export interface ListedError {
  id: string;
  file: string;
  cause: string;
  action: string;
}

/** Answers of the API that no class stands for. */
const withoutClass: ListedError[] = [
  {
    id: 'no-such-route',
    file: 'control/api.ts',
    cause: 'The API has no such path, or not for this method.',
    action: 'Use a CLI of the same version as the daemon.',
  },
  {
    id: 'internal',
    file: 'control/problems.ts',
    cause: 'The daemon failed in a way that nobody foresaw; its log says how.',
    action: 'Look into the daemon log, and report it if it happens again.',
  },
];

function sources(): string[] {
  return ['actors', 'control', 'mesh', 'node-runtime', 'pki'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
      .map((entry) => join(entry.parentPath, entry.name)),
  );
}

/** All literals of an expression as one text; what is put in at run time becomes `…`. */
function literals(expression: string): string {
  const found = expression.matchAll(/'((?:[^'\\]|\\.)*)'|`((?:[^`\\]|\\.)*)`|"((?:[^"\\]|\\.)*)"/g);
  return [...found]
    .map((match) => (match[1] ?? match[2] ?? match[3] ?? '').replace(/\$\{[^}]*\}/g, '…').replace(/\\(.)/g, '$1'))
    .join('')
    .trim();
}

function errorsOf(file: string): ListedError[] {
  const source = readFileSync(file, 'utf8');
  const classes = [
    ...source.matchAll(/(?:\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*)?export class \w+ extends [\s\S]*?\n}\n/g),
  ];
  return classes.flatMap(([text, comment]) => {
    const id = /\breadonly id = '([^']+)'/.exec(text)?.[1];
    if (id === undefined) return [];
    const cause = (comment ?? '')
      .replace(/^\s*\*/gm, '')
      .replace(/\s+/g, ' ')
      .trim();
    const expression = /\baction(?:: string)?\s*[=:]\s*([\s\S]*?)(?:;\n|,\n|\s\}\))/.exec(
      text.replace('readonly action: string;', ''),
    )?.[1];
    return [{ id, file: relative(root, file), cause, action: literals(expression ?? '') }];
  });
}

export function errorIndex(): ListedError[] {
  return [...sources().flatMap(errorsOf), ...withoutClass].sort((one, other) => (one.id < other.id ? -1 : 1));
}

/** Every id that the code mentions as an error's, however it is written. */
export function idsInCode(): Set<string> {
  const ids = new Set<string>();
  for (const file of sources()) {
    const source = readFileSync(file, 'utf8');
    for (const pattern of [
      /\breadonly id = '([a-z-]+)'/g,
      /urn:selvedge:error:([a-z-]+)/g,
      /makeProblem\(\s*'([a-z-]+)'/g,
    ])
      for (const match of source.matchAll(pattern)) if (match[1] !== undefined) ids.add(match[1]);
  }
  return ids;
}

const marks = ['<!-- errors: written by `node test/docs/error-index.ts` -->', '<!-- end of errors -->'] as const;

export function errorTable(): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
  const sentence = (text: string): string => {
    const whole = text === '' ? 'The message says it.' : text;
    const ended = /[.!?)]$/.test(whole) ? whole : `${whole}.`;
    return ended.slice(0, 1).toUpperCase() + ended.slice(1);
  };
  const rows = errorIndex().map(
    ({ id, cause, action }) => `| \`${id}\` | ${cell(sentence(cause))} | ${cell(sentence(action))} |`,
  );
  return ['| id | what happened | what to do |', '|---|---|---|', ...rows].join('\n');
}

/** The page with its table made anew. */
export function pageWithTable(page: string): string {
  const [begin, end] = marks.map((mark) => page.indexOf(mark)) as [number, number];
  if (begin < 0 || end < begin) throw new Error('docs/troubleshooting.md has lost the marks of its table');
  return `${page.slice(0, begin + marks[0].length)}\n\n${errorTable()}\n\n${page.slice(end)}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(pagePath, pageWithTable(readFileSync(pagePath, 'utf8')));
}

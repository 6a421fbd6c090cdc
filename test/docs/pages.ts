// The commands that the documentation shows, read from its Markdown. Called by the tests beside it. A code block holds commands
// unless it is fenced with a language of its own (```yaml, ```js, ```text):
//
//     box1$ selvedge status        a line with a prompt is typed on that box; what follows, up to the next prompt, is shown output
//     npm start                    without any prompt in the block, each line is a command

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const checkout = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

export interface DocumentedCommand {
  page: string;
  line: number;
  /** The last heading of the second level before it. */
  section: string;
  /** Undefined when the block has no prompts. */
  box: string | undefined;
  /** As it is written, continued lines and here-documents included, without a comment at its end. */
  text: string;
  shown: string[];
}

interface Block {
  line: number;
  section: string;
  language: string;
  lines: string[];
}

/** README.md and docs/: what a user reads. */
export function pages(): string[] {
  const docs = readdirSync(join(checkout, 'docs')).filter((name) => name.endsWith('.md'));
  return ['README.md', ...docs.map((name) => `docs/${name}`)];
}

export const textOf = (page: string): string => readFileSync(join(checkout, page), 'utf8');

function blocksOf(text: string): Block[] {
  const blocks: Block[] = [];
  let section = '';
  let open: (Block & { fenced: boolean }) | undefined;
  let before = '';
  const stray = /^\s+[a-z][a-z0-9-]*[$#] /;
  for (const [index, line] of text.split('\n').entries()) {
    const fence = /^```(\w*)/.exec(line);
    if (open?.fenced) {
      if (fence) open = undefined;
      else open.lines.push(line);
    } else if (fence) {
      open = { line: index + 2, section, language: fence[1] ?? '', lines: [], fenced: true };
      blocks.push(open);
    } else if (/^ {4}\S/.test(line) && (open || before.trim() === '')) {
      if (open === undefined) {
        open = { line: index + 1, section, language: '', lines: [], fenced: false };
        blocks.push(open);
      }
      open.lines.push(line.slice(4));
    } else if (open && (line.trim() === '' || line.startsWith('    '))) open.lines.push(line.slice(4));
    else open = undefined;
    if (open === undefined && stray.test(line))
      throw new Error(`line ${index + 1} is in no block of commands: ${line}`);
    if (!open?.fenced && line.startsWith('## ')) section = line.slice(3).trim();
    before = line;
  }
  return blocks;
}

const prompt = /^([a-z][a-z0-9-]*)[$#] (.*)$/;
const withoutComment = (text: string): string => text.replace(/\s+# .*$/, '').trimEnd();

/** Takes further lines while the command is not whole. */
function takeCommand(first: string, rest: string[]): string {
  let text = withoutComment(first);
  while (text.endsWith('\\') && rest.length > 0) text += `\n${withoutComment(rest.shift() ?? '')}`;
  const end = /<<'?(\w+)'?/.exec(first)?.[1];
  if (end === undefined) return text;
  while (rest.length > 0) {
    const line = rest.shift() ?? '';
    text += `\n${line}`;
    if (line === end) return text;
  }
  throw new Error(`a here-document has no end: ${first}`);
}

/** All commands of a page, in its order. */
export function commandsOf(page: string, text = textOf(page)): DocumentedCommand[] {
  return blocksOf(text)
    .filter(({ language }) => ['', 'sh', 'console'].includes(language))
    .flatMap(({ line, section, lines }) => {
      const hasPrompts = lines.some((one) => prompt.test(one));
      const found: DocumentedCommand[] = [];
      const rest = [...lines];
      while (rest.length > 0) {
        const at = line + lines.length - rest.length;
        const next = rest.shift() ?? '';
        const [, box, typed] = prompt.exec(next) ?? [];
        if (hasPrompts && typed === undefined) {
          if (next.trim() !== '') found.at(-1)?.shown.push(next);
        } else if (next.trim() !== '') {
          found.push({ page, line: at, section, box, text: takeCommand(typed ?? next, rest), shown: [] });
        }
      }
      return found;
    });
}

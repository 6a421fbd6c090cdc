// Reads manifest files: YAML (or JSON, which is YAML) to plain documents, each with where it came from, and `{fromFile: path}`
// of Configs to the files' contents. Called by apply, delete and the demo. With manifest-lines.ts the only file that imports yaml.

import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { type Document, Lexer, LineCounter, parseAllDocuments } from 'yaml';
import { readConfigFiles } from './config-files.ts';
import { ManifestFileError } from './errors.ts';
import { plainReason } from './file-reasons.ts';
import type { Host } from './host.ts';
import { configBytesMax, documentsMax, manifestBytesMax, yamlAliasesMax, yamlDepthMax } from './limits.ts';
import { fieldLocator } from './manifest-lines.ts';

export interface LoadedDocument {
  value: unknown;
  /** `app.yaml:12`: the file and the line on which the document begins. */
  source: string;
  /** `app.yaml:14:5`: the file, and line and column of a field; those of the document for what cannot be found. */
  placeOf(path: string): string;
}

interface Text {
  text: string;
  name: string;
  /** What `fromFile` is relative to. */
  folder: string;
}

/** Reads all files in order (`-` is stdin). Throws ManifestFileError that names file, line and column. */
export async function loadManifests(paths: string[], host: Host): Promise<LoadedDocument[]> {
  const budget = { bytes: configBytesMax };
  const loaded: LoadedDocument[] = [];
  for (const path of paths) {
    const text = await read(path, host);
    for (const { value, source, placeOf } of parse(text)) {
      if (loaded.length >= documentsMax) {
        throw new ManifestFileError(`${source}: more than ${documentsMax} documents in one go`, {
          action: 'Apply them in parts.',
        });
      }
      loaded.push({ value: await readConfigFiles({ value, placeOf, folder: text.folder, budget }), source, placeOf });
    }
  }
  return loaded;
}

async function read(path: string, host: Host): Promise<Text> {
  const name = path === '-' ? 'stdin' : path;
  try {
    if (path === '-') return { text: await host.readInput(manifestBytesMax), name, folder: host.workingFolder };
    const full = resolve(host.workingFolder, path);
    const { size } = await stat(full);
    if (size > manifestBytesMax) throw new RangeError(`more than ${manifestBytesMax} bytes`);
    return { text: await readFile(full, 'utf8'), name, folder: dirname(full) };
  } catch (error) {
    throw new ManifestFileError(`${name}: ${plainReason(error)}`, {
      action: 'Name a manifest file, or - for stdin.',
      cause: error,
    });
  }
}

/** Tokens of the lexer that stand for a place and are not in the text: document, flow error end, scalar, byte order mark. */
const marks: ReadonlySet<string> = new Set(['\u0002', '\u0018', '\u001f', '\ufeff']);

/** How deep a text is nested, as far as flow collections and `- - -` go: what the parser would follow by recursion. */
function tooDeepAt(text: string): number | undefined {
  let depth = 0;
  let dashes = 0;
  let offset = 0;
  for (const token of new Lexer().lex(text)) {
    if (token === '[' || token === '{') depth += 1;
    else if (token === ']' || token === '}') depth -= 1;
    dashes = token === '-' ? dashes + 1 : token.trim() === '' && !token.includes('\n') ? dashes : 0;
    if (depth > yamlDepthMax || dashes > yamlDepthMax) return offset;
    if (!marks.has(token)) offset += token.length;
  }
  return undefined;
}

const deep = (place: string): ManifestFileError =>
  new ManifestFileError(`${place}: it is nested deeper than ${yamlDepthMax} levels`, {
    action: 'Write a manifest with fewer levels; the deepest field has 8. Nothing was sent.',
  });

function parseAll(text: string, name: string, lineCounter: LineCounter): Document.Parsed[] {
  const at = tooDeepAt(text);
  if (at !== undefined) {
    const before = text.slice(0, at).split('\n');
    throw deep(`${name}:${before.length}:${(before.at(-1)?.length ?? 0) + 1}`);
  }
  try {
    return parseAllDocuments(text, { lineCounter, prettyErrors: false }) as Document.Parsed[];
  } catch (error) {
    // The same in the parser.
    if (error instanceof RangeError) throw deep(`${name}:1`);
    throw error;
  }
}

function parse({ text, name }: Text): LoadedDocument[] {
  const lineCounter = new LineCounter();
  const documents = parseAll(text, name, lineCounter);
  const place = (offset: number): string => {
    const { line, col } = lineCounter.linePos(offset);
    return `${name}:${line}:${col}`;
  };
  const found: LoadedDocument[] = [];
  for (const document of documents) {
    const [error] = document.errors;
    if (error !== undefined) {
      // Deep indentation: the composer's recursion ends where the stack does.
      if (error.code === 'RESOURCE_EXHAUSTION') throw deep(place(error.pos[0]));
      throw new ManifestFileError(`${place(error.pos[0])}: ${error.message}`, {
        action: 'Correct the YAML there; nothing was sent.',
      });
    }
    const { line } = lineCounter.linePos(document.contents?.range[0] ?? 0);
    const value = toPlain(document, `${name}:${line}`);
    // `---` with nothing under it, as editors leave them.
    if (value === null || value === undefined) continue;
    const locate = fieldLocator(document, lineCounter);
    const placeOf = (path: string): string => `${name}:${locate(path) ?? line}`;
    found.push({ value, source: `${basename(name)}:${line}`, placeOf });
  }
  if (found.length === 0) {
    throw new ManifestFileError(`${name}: there is no document in it`, { action: 'Write at least one manifest.' });
  }
  return found;
}

function toPlain(document: Document.Parsed, place: string): unknown {
  try {
    return document.toJS({ maxAliasCount: yamlAliasesMax });
  } catch (error) {
    // Aliases that multiply ("billion laughs"), or that name no anchor.
    throw new ManifestFileError(`${place}: ${(error as Error).message}`, {
      action: 'Correct the aliases; nothing was sent.',
      cause: error,
    });
  }
}

// Reads manifest files: YAML (or JSON, which is YAML) to plain documents, each with where it came from, and `{fromFile: path}`
// of Configs to the files' contents. Called by apply, delete and the demo. The only file that imports yaml.

import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { type Document, LineCounter, parseAllDocuments } from 'yaml';
import { readConfigFiles } from './config-files.ts';
import { ManifestFileError } from './errors.ts';
import { plainReason } from './file-reasons.ts';
import type { Host } from './host.ts';
import { configBytesMax, documentsMax, manifestBytesMax, yamlAliasesMax } from './limits.ts';

export interface LoadedDocument {
  value: unknown;
  /** `app.yaml:12`: the file and the line on which the document begins. */
  source: string;
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
    for (const { value, source } of parse(text)) {
      if (loaded.length >= documentsMax) {
        throw new ManifestFileError(`${source}: more than ${documentsMax} documents in one go`, {
          action: 'Apply them in parts.',
        });
      }
      loaded.push({ value: await readConfigFiles({ value, source, folder: text.folder, budget }), source });
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

function parse({ text, name }: Text): LoadedDocument[] {
  const lineCounter = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter, prettyErrors: false });
  const place = (offset: number): string => {
    const { line, col } = lineCounter.linePos(offset);
    return `${name}:${line}:${col}`;
  };
  const found: LoadedDocument[] = [];
  for (const document of documents as Document.Parsed[]) {
    const [error] = document.errors;
    if (error !== undefined) {
      throw new ManifestFileError(`${place(error.pos[0])}: ${error.message}`, {
        action: 'Correct the YAML there; nothing was sent.',
      });
    }
    const { line } = lineCounter.linePos(document.contents?.range[0] ?? 0);
    const value = toPlain(document, `${name}:${line}`);
    // `---` with nothing under it, as editors leave them.
    if (value !== null && value !== undefined) found.push({ value, source: `${basename(name)}:${line}` });
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

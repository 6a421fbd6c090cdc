// `{fromFile: ./path}` in a Config's files, or a Secret's data, becomes `{text}` or `{base64}`. Called by manifest-files.ts. A manifest may come
// from elsewhere, so it reads nothing outside its own folder, also not through links.

import { isUtf8 } from 'node:buffer';
import { open, realpath } from 'node:fs/promises';
import { isAbsolute, relative, resolve, sep } from 'node:path';
import { ManifestFileError } from './errors.ts';
import { plainReason } from './file-reasons.ts';
import { configBytesMax, configFileBytesMax } from './limits.ts';

export interface ConfigDocument {
  value: unknown;
  /** Where a field stands, for errors. */
  placeOf: (path: string) => string;
  folder: string;
  /** Bytes that may still be read in this apply. */
  budget: { bytes: number };
}

type Fields = Record<string, unknown>;

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The document with its files read; documents of other kinds, and malformed ones, come back as they are. */
export async function readConfigFiles({ value, placeOf, folder, budget }: ConfigDocument): Promise<unknown> {
  if (!isFields(value) || !isFields(value['spec'])) return value;
  const list = value['kind'] === 'Config' ? 'files' : value['kind'] === 'Secret' ? 'data' : '';
  const files = value['spec'][list];
  if (!isFields(files)) return value;
  const read: Fields = {};
  for (const [path, file] of Object.entries(files)) {
    const fromFile = isFields(file) ? file['fromFile'] : undefined;
    const field = `spec.${list}[${JSON.stringify(path)}]`;
    const place = `${placeOf(field)}: ${field}`;
    if (isFields(file) && fromFile !== undefined && Object.keys(file).length > 1) {
      throw new ManifestFileError(`${place} has fromFile and something else`, {
        action: 'Give one of fromFile, text and base64.',
      });
    }
    read[path] = fromFile === undefined ? file : await content(place, folder, fromFile, budget);
  }
  return { ...value, spec: { ...value['spec'], [list]: read } };
}

async function content(place: string, folder: string, fromFile: unknown, budget: { bytes: number }): Promise<Fields> {
  if (typeof fromFile !== 'string' || fromFile === '') {
    throw new ManifestFileError(`${place}.fromFile must be a path`, { action: 'Write {fromFile: ./name}.' });
  }
  const bytes = await readInside(place, folder, fromFile);
  budget.bytes -= bytes.length;
  if (budget.bytes < 0) {
    throw new ManifestFileError(`${place}: the files of this apply have more than ${configBytesMax} bytes`, {
      action: 'Apply the Configs in parts, or keep large files out of them.',
    });
  }
  // A NUL is legal UTF-8 and yet no text.
  if (isUtf8(bytes) && !bytes.includes(0)) return { text: bytes.toString('utf8') };
  return { base64: bytes.toString('base64') };
}

async function readInside(place: string, folder: string, fromFile: string): Promise<Buffer> {
  try {
    const base = await realpath(folder);
    const full = await realpath(resolve(base, fromFile));
    const inside = relative(base, full);
    if (inside === '..' || inside.startsWith(`..${sep}`) || isAbsolute(inside))
      throw new Error("it is outside the manifest's folder");
    await using file = await open(full, 'r');
    const facts = await file.stat();
    if (!facts.isFile()) throw new Error('it is not a file');
    if (facts.size > configFileBytesMax) throw new Error(`it has more than ${configFileBytesMax} bytes`);
    const buffer = Buffer.alloc(facts.size);
    const { bytesRead } = await file.read(buffer, 0, facts.size, 0);
    return buffer.subarray(0, bytesRead);
  } catch (error) {
    throw new ManifestFileError(`${place}: ${fromFile}: ${plainReason(error)}`, {
      action: "Name a file in the manifest's folder or below it.",
      cause: error,
    });
  }
}

// The secrets that a data folder holds, so that they can be taken out of what leaves the box: private keys, what workloads have in their
// environment, the contents of Configs and Secrets, and values that Secrets had when an instance started. Called by support-bundle.ts. They are held in memory for that, and never written.

import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { unsaltContent } from '../salted-content.ts';
import { bundleSecretBytesMax } from './limits.ts';

/** Of one file of a Config: its lines and words. Shorter ones are in logs anyway. */
const piecesCharactersMin = 12;

/** Of the variables of an instance (node-runtime/instance-mounts.ts). */
const variablesFile = '.variables.json';

async function filesUnder(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

async function readBytes(path: string): Promise<Buffer> {
  try {
    return (await stat(path)).size > bundleSecretBytesMax ? Buffer.alloc(0) : await readFile(path);
  } catch {
    return Buffer.alloc(0);
  }
}

const read = async (path: string): Promise<string> => (await readBytes(path)).toString('utf8');

/** Every text under a member called `env`: what manifests give, without what the node adds. */
function environmentValues(value: unknown, inside = false): string[] {
  if (typeof value === 'string') return inside ? [value] : [];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, member]) => environmentValues(member, inside || name === 'env'));
}

/** Every text under a member called `secrets`, or beside one called `secret`: among them the SHA-256 of each file of a Secret. */
function secretReferences(value: unknown, inside = false): string[] {
  if (typeof value === 'string') return inside ? [value] : [];
  if (typeof value !== 'object' || value === null) return [];
  const beside = inside || 'secret' in value;
  return Object.entries(value).flatMap(([name, member]) => secretReferences(member, beside || name === 'secrets'));
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const enginesFolders = ['instances', 'containers', 'wasm'];

/**
 * What instances have of Secrets: a variable stays as it was when the instance started, after the Secret has another value. Their folder
 * holds a link to where that is (node-runtime/secret-folders.ts).
 */
async function valuesOfInstances(dataFolder: string): Promise<string[]> {
  const found: string[] = [];
  for (const engine of enginesFolders) {
    for (const instance of await readdir(join(dataFolder, engine)).catch((): string[] => [])) {
      const folder = await realpath(join(dataFolder, engine, instance, 'secrets')).catch(() => undefined);
      if (folder === undefined) continue;
      for (const path of await filesUnder(folder)) {
        const text = await read(path);
        const variables = basename(path) === variablesFile ? parsed(text) : undefined;
        found.push(...(variables === undefined ? [text] : environmentValues({ env: variables })));
      }
    }
  }
  return found;
}

const lines = (text: string): string[] => text.split('\n').map((line) => line.trim());

export async function secretsOfBox(dataFolder: string): Promise<string[]> {
  const names = await readdir(dataFolder).catch((): string[] => []);
  const keys = names.filter((name) => name.endsWith('.pem')).map((name) => join(dataFolder, name));
  const found: string[] = [];
  for (const path of keys) {
    const text = await read(path);
    if (text.includes('PRIVATE KEY')) found.push(...lines(text).filter((line) => !line.startsWith('-----')));
  }
  const obeyed = await filesUnder(join(dataFolder, 'obeyed'));
  const ofSecrets = new Set<string>();
  for (const path of obeyed.filter((one) => one.endsWith('.jws'))) {
    const plan = parsed(Buffer.from((await read(path)).split('.')[1] ?? '', 'base64url').toString('utf8'));
    found.push(...environmentValues(plan));
    for (const reference of secretReferences(plan)) ofSecrets.add(reference);
  }
  for (const value of await valuesOfInstances(dataFolder)) found.push(value, value.trim(), ...lines(value));
  for (const path of obeyed.filter((one) => one.includes('/files/'))) {
    const bytes = await readBytes(path);
    const isSecret = ofSecrets.has(basename(path));
    const text = (isSecret ? Buffer.from(unsaltContent(bytes)) : bytes).toString('utf8');
    const words = [...lines(text), ...text.split(/[\s"'`=,;<>(){}[\]]+/)];
    // What is secret is so line by line; its short words are those of any text.
    const pieces = isSecret ? [text.trim(), ...lines(text)] : [];
    found.push(text, ...pieces, ...words.filter((piece) => piece.length >= piecesCharactersMin));
  }
  return found.filter((secret) => secret.trim() !== '');
}

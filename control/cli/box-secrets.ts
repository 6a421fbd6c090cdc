// The secrets that a data folder holds, so that they can be taken out of what leaves the box: private keys, what workloads have in their
// environment, the contents of Configs. Called by support-bundle.ts. They are held in memory for that, and never written.

import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { bundleSecretBytesMax } from './limits.ts';

/** Of one file of a Config: its lines and words. Shorter ones are in logs anyway. */
const piecesCharactersMin = 12;

async function filesUnder(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

async function read(path: string): Promise<string> {
  try {
    return (await stat(path)).size > bundleSecretBytesMax ? '' : await readFile(path, 'utf8');
  } catch {
    return '';
  }
}

/** Every text under a member called `env`: what manifests give, without what the node adds. */
function environmentValues(value: unknown, inside = false): string[] {
  if (typeof value === 'string') return inside ? [value] : [];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, member]) => environmentValues(member, inside || name === 'env'));
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
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
  for (const path of await filesUnder(join(dataFolder, 'obeyed'))) {
    const text = await read(path);
    if (path.endsWith('.jws')) {
      const plan = parsed(Buffer.from(text.split('.')[1] ?? '', 'base64url').toString('utf8'));
      found.push(...environmentValues(plan));
    } else if (path.includes('/files/')) {
      const pieces = [...lines(text), ...text.split(/[\s"'`=,;<>(){}[\]]+/)];
      found.push(text, ...pieces.filter((piece) => piece.length >= piecesCharactersMin));
    }
  }
  return found.filter((secret) => secret.trim() !== '');
}

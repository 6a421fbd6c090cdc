// The commands of the box that the process engine needs. Called by process-engine.ts at its start.

import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { DiskError, EngineUnavailableError } from './errors.ts';
import { DETECTION_MS } from './limits.ts';
import { SCRIPTS, type ShimTools } from './process-shim.ts';

const FOLDERS = ['/bin', '/usr/bin', '/sbin', '/usr/sbin', '/usr/local/bin'];

/** Absolute path of a command, in the usual folders first and then along the daemon's PATH. */
export async function findCommand(name: string): Promise<string | undefined> {
  const path = (process.env['PATH'] ?? '').split(':').filter((folder) => folder.startsWith('/'));
  for (const folder of [...FOLDERS, ...path]) {
    const full = join(folder, name);
    try {
      await access(full, constants.X_OK);
      return full;
    } catch {
      // Not there; the next one may have it.
    }
  }
  return undefined;
}

/**
 * Finds the commands and writes the scripts to `folder`. Rejects with EngineUnavailableError when the box has no sh, mv or
 * cat. `shell` is for tests of other shells.
 */
export async function findShimTools(folder: string, shell?: string): Promise<ShimTools> {
  const found = shell ?? (await findCommand('sh'));
  const move = await findCommand('mv');
  const cat = await findCommand('cat');
  if (found === undefined) throw new EngineUnavailableError('this box has no sh');
  if (move === undefined) throw new EngineUnavailableError('this box has no mv');
  if (cat === undefined) throw new EngineUnavailableError('this box has no cat');
  const scripts = join(folder, '.scripts');
  await writeScripts(scripts);
  return { shell: found, move, cat, scripts, closer: await findCloser(found) };
}

/** A shell that can close descriptors above 9: bash and busybox can, dash cannot. */
async function findCloser(shell: string): Promise<string[] | undefined> {
  const [bash, busybox] = await Promise.all([findCommand('bash'), findCommand('busybox')]);
  const candidates = [bash === undefined ? [] : [bash], busybox === undefined ? [] : [busybox, 'sh'], [shell]];
  for (const [file, ...rest] of candidates) {
    if (file === undefined) continue;
    try {
      const trial = 'exec 12</dev/null && exec 12>&- && echo closed';
      const { stdout } = await promisify(execFile)(file, [...rest, '-c', trial], {
        timeout: DETECTION_MS,
        encoding: 'utf8',
      });
      if (stdout === 'closed\n') return [file, ...rest];
    } catch {
      // This one cannot.
    }
  }
  return undefined;
}

/** Renamed into place: shims of an earlier version go on reading the file that they opened. */
async function writeScripts(folder: string): Promise<void> {
  for (const [name, text] of Object.entries(SCRIPTS)) {
    const path = join(folder, name);
    const temporary = join(folder, `.${name}.${process.pid}.tmp`);
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await writeFile(temporary, text, { mode: 0o600 });
      await rename(temporary, path);
    } catch (error) {
      throw new DiskError('write', path, error);
    }
  }
}

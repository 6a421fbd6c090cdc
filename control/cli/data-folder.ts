// Where a daemon keeps its data and its socket, when --data does not say. Called by every command.

import { join, resolve } from 'node:path';
import { UsageError } from './errors.ts';
import type { Host } from './host.ts';
import { socketPathBytesMax } from './limits.ts';

/** Root: /var/lib/selvedge; others: $XDG_STATE_HOME/selvedge, or ~/.local/state/selvedge (XDG Base Directory 0.8). */
export function defaultDataFolder(host: Host): string {
  if (host.userId === 0) return '/var/lib/selvedge';
  const state = host.env['XDG_STATE_HOME'];
  // The specification: a relative path is to be ignored.
  return join(state?.startsWith('/') === true ? state : join(host.homeFolder, '.local', 'state'), 'selvedge');
}

/** Absolute; relative ones are relative to the working folder. */
export function dataFolderOf(host: Host, given: string | undefined): string {
  return given === undefined ? defaultDataFolder(host) : resolve(host.workingFolder, given);
}

/** The daemon's socket. Throws UsageError when the kernel would cut its path. */
export function socketPathOf(dataFolder: string): string {
  const path = join(dataFolder, 'selvedge.sock');
  if (Buffer.byteLength(path) > socketPathBytesMax) {
    throw new UsageError(`the socket's path would be longer than ${socketPathBytesMax} bytes: ${path}`, {
      action: 'Choose a data folder with a shorter path (--data).',
    });
  }
  return path;
}

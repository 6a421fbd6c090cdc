// What a path on a Disk may look like. Called by file-disk.ts and sim-disk.ts, so that both refuse the same paths.

import { DiskPathError } from './errors.ts';
import { DISK_PATH_BYTES_MAX } from './limits.ts';

/** The name that a file has while it is being written; the same for each write, so that a crash leaves one at most. */
export function temporaryName(name: string): string {
  return `.${name}.tmp`;
}

export function isTemporaryName(name: string): boolean {
  return name.startsWith('.') && name.endsWith('.tmp');
}

/**
 * The segments of a relative path. '' is the data folder itself where `rootAllowed`.
 * Throws DiskPathError for absolute paths, empty segments, '.', '..', NUL, and names of temporary files.
 */
export function diskPath(path: string, rootAllowed = false): string[] {
  if (path === '' && rootAllowed) return [];
  if (Buffer.byteLength(path) > DISK_PATH_BYTES_MAX) throw new DiskPathError(path.slice(0, 64), 'it is too long');
  const segments = path.split('/');
  for (const segment of segments) {
    if (segment === '') throw new DiskPathError(path, 'it is absolute, or has an empty segment');
    if (segment === '.' || segment === '..') throw new DiskPathError(path, 'it may not leave its folder');
    if (segment.includes('\0')) throw new DiskPathError(path, 'it has a NUL character');
    if (isTemporaryName(segment))
      throw new DiskPathError(path, 'names of the form .….tmp are kept for temporary files');
  }
  return segments;
}

/** One line of an append: a newline inside would make two records of it. */
export function diskLine(path: string, line: string): string {
  if (line.includes('\n')) throw new DiskPathError(path, 'an appended line may not contain a newline');
  return `${line}\n`;
}

// A file that a command makes and its owner alone can read (`--out`): what is there already is never written over. Called by token.ts and
// support-bundle.ts.

import { open, rm } from 'node:fs/promises';
import { OutFileError } from './errors.ts';

/**
 * Runs `write` with the path of a new, empty file of mode 0600, and takes the file back when that rejects. Made first: where it cannot be
 * made is known before anything else happens. Rejects with OutFileError.
 */
export async function withOutFile<T>(path: string, write: (path: string) => Promise<T>): Promise<T> {
  const file = await open(path, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
    throw new OutFileError(path, error);
  });
  await file.close();
  try {
    return await write(path);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}

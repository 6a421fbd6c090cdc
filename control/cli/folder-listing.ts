// What is in a folder and below it: names, modes and sizes. Called by bundle-parts.ts. Workloads write in there as well: it follows no
// link, opens no file, and neither their number, their depth nor one that goes meanwhile keeps it from the rest.

import { lstat, opendir } from 'node:fs/promises';
import { join, relative } from 'node:path';

export interface Listed {
  /** In the folder. */
  path: string;
  kind: 'file' | 'folder' | 'other';
  mode: string;
  owner: string;
  bytes: number;
  changedAt: string;
}

export interface FolderListing {
  files: Listed[];
  /** There are more than the bounds let in. */
  more: boolean;
  /** Folders that could not be read, and why. */
  unread: { path: string; reason: string }[];
}

/** Folder by folder, those above first. Never rejects. */
export async function folderListing(
  root: string,
  { filesMax, folderFilesMax }: { filesMax: number; folderFilesMax: number },
): Promise<FolderListing> {
  const found: FolderListing = { files: [], more: false, unread: [] };
  const folders = [root];
  for (let folder = folders.shift(); folder !== undefined; folder = folders.shift()) {
    try {
      let count = 0;
      for await (const { name } of await opendir(folder)) {
        if (count === folderFilesMax || found.files.length === filesMax) {
          found.more = true;
          break;
        }
        count += 1;
        const listed = await describe(root, join(folder, name));
        if (listed === undefined) continue;
        found.files.push(listed);
        if (listed.kind === 'folder') folders.push(join(folder, name));
      }
    } catch (error) {
      // One that cannot be read is in the listing of the folder above; of many such the first few say enough.
      const { code, message } = error as NodeJS.ErrnoException;
      if (found.unread.length < unreadMax)
        found.unread.push({ path: relative(root, folder).slice(0, pathCharactersMax), reason: code ?? message });
    }
  }
  return found;
}

const unreadMax = 100;
const pathCharactersMax = 500;

async function describe(root: string, path: string): Promise<Listed | undefined> {
  const found = await lstat(path).catch(() => undefined);
  return (
    found && {
      path: relative(root, path).slice(0, pathCharactersMax),
      kind: found.isDirectory() ? 'folder' : found.isFile() ? 'file' : 'other',
      mode: (found.mode & 0o7777).toString(8),
      owner: `${found.uid}:${found.gid}`,
      bytes: found.size,
      changedAt: found.mtime.toISOString(),
    }
  );
}

// The folder of one container instance on this box. Called by docker-engine.ts. It starts and ends nobody.
//
//   <folder>/<instance>/        mode 0700
//     files/                    mounted read-only into the container: configs/…, identity/…
//     secrets                   mounted over files/secrets; a link to a folder in memory, or a folder
//     hosts                     of one that shares the box's network: mounted as its /etc/hosts, and written in place
//     asked.json                which signals the node sent to which run
//     said.jsonl                lines of a container that was replaced, and the engine's own: see docker-log.ts

import { chmod, lstat, mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { AskedToEnd } from './docker-container.ts';
import type { Launch, LogLine } from './engine.ts';

export interface DockerFolder {
  /** Absolute. */
  readonly files: string;
  /** Where secrets are, or a link there: see secret-folders.ts. */
  readonly secrets: string;
  /** Absolute. */
  readonly hosts: string;
  /** In place, since a file that is mounted stays the one that it was. */
  writeHosts(text: string): Promise<void>;
  /** Replaces all files. No container may have them mounted and run. */
  resetFiles(files: Launch['files']): Promise<void>;
  layFiles(files: Launch['files']): Promise<void>;
  readAsked(): Promise<AskedToEnd | undefined>;
  writeAsked(asked: AskedToEnd): Promise<void>;
  readSaid(): Promise<LogLine[]>;
  writeSaid(lines: readonly LogLine[]): Promise<void>;
  remove(): Promise<void>;
}

export function openDockerFolder(root: string, instance: string): DockerFolder {
  const folder = join(root, instance);
  const files = join(folder, 'files');
  const hosts = join(folder, 'hosts');
  let temporaries = 0;

  /** Renamed into place, so that nobody sees half of it. */
  async function replace(path: string, content: Uint8Array | string, mode: number): Promise<void> {
    const temporary = join(dirname(path), `.selvedge-${temporaries++}.tmp`);
    try {
      // The names are few, so that what killed daemons left is replaced. Not taken over: it may have another mode.
      await rm(temporary, { force: true });
      const file = await open(temporary, 'wx', mode);
      try {
        await file.writeFile(content);
        await file.chmod(mode);
      } finally {
        await file.close();
      }
      await clear(path, 'file');
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  async function makeFolder(): Promise<void> {
    await clear(folder, 'folder');
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await chmod(folder, 0o700);
  }

  /** Removes what is there and is no such thing: Docker makes a folder where a file that it should mount is missing. */
  async function clear(path: string, wanted: 'file' | 'folder'): Promise<void> {
    const there = await lstat(path).catch(() => undefined);
    if (there === undefined || (wanted === 'file' ? there.isFile() : there.isDirectory())) return;
    await rm(path, { recursive: true, force: true });
  }

  /** Readable for every user of the container, whoever the image makes it; on this box the folder around them is closed. */
  async function layFiles(laid: Launch['files']): Promise<void> {
    await makeFolder();
    for (const { path, content, mode } of laid) {
      let inside = files;
      for (const part of ['.', ...path.split('/').slice(0, -1)]) {
        inside = join(inside, part);
        await clear(inside, 'folder');
        await mkdir(inside, { recursive: true });
        await chmod(inside, 0o755);
      }
      await replace(join(files, path), content, (mode & 0o555) | 0o444);
    }
  }

  async function read<T>(name: string, parse: (text: string) => T): Promise<T | undefined> {
    try {
      return parse(await readFile(join(folder, name), 'utf8'));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // Half a file after a power cut counts as none: the container itself is the record.
      if (['ENOENT', 'ENOTDIR', 'EISDIR'].includes(code ?? '') || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  return {
    files,
    secrets: join(folder, 'secrets'),
    hosts,
    layFiles,
    async writeHosts(text) {
      await makeFolder();
      await clear(hosts, 'file');
      await writeFile(hosts, text);
      await chmod(hosts, 0o644);
    },
    async resetFiles(laid) {
      await makeFolder();
      await rm(files, { recursive: true, force: true });
      await mkdir(files);
      await chmod(files, 0o755);
      // Where Docker mounts its secrets: in a read-only mount it cannot make that itself.
      await mkdir(join(files, 'secrets'), { mode: 0o755 });
      await layFiles(laid);
    },
    readAsked: () => read('asked.json', (text) => JSON.parse(text) as AskedToEnd),
    async writeAsked(asked) {
      await makeFolder();
      await replace(join(folder, 'asked.json'), JSON.stringify(asked), 0o600);
    },
    readSaid: async () =>
      (await read('said.jsonl', (text) =>
        text
          .split('\n')
          .filter((line) => line !== '')
          .map((line) => JSON.parse(line) as LogLine),
      )) ?? [],
    async writeSaid(lines) {
      await makeFolder();
      await replace(join(folder, 'said.jsonl'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''), 0o600);
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

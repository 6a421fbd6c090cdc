// A disk in memory that can fail on purpose, for tests of what is kept on one.

import type { Disk } from '../../node-runtime/disk.ts';

export interface MemoryDisk extends Disk {
  files: Map<string, string>;
  /** What was called, in order. */
  calls: string[];
  /** Before each write and append: throw to fail it, wait to hold it back. */
  before: (operation: 'write' | 'append', path: string) => Promise<void> | void;
}

export function createMemoryDisk(files = new Map<string, string>()): MemoryDisk {
  const text = (content: Uint8Array | string) =>
    typeof content === 'string' ? content : new TextDecoder().decode(content);
  const disk: MemoryDisk = {
    files,
    calls: [],
    before: () => undefined,
    async read(path) {
      const content = files.get(path);
      return content === undefined ? undefined : new TextEncoder().encode(content);
    },
    async write(path, content) {
      await disk.before('write', path);
      disk.calls.push(`write ${path}`);
      files.set(path, text(content));
    },
    async append(path, line) {
      await disk.before('append', path);
      disk.calls.push(`append ${path}`);
      files.set(path, `${files.get(path) ?? ''}${line}\n`);
    },
    async list(folder) {
      const under = [...files.keys()].filter((path) => path.startsWith(`${folder}/`));
      return [...new Set(under.map((path) => path.slice(folder.length + 1).split('/')[0] ?? ''))].sort();
    },
    async remove(path) {
      files.delete(path);
    },
  };
  return disk;
}

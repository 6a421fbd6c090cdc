// Which files a module reaches: those below its preopens, never through a link that leads out of one, and no pipes or devices. Called by
// guest.ts. node:wasi itself follows links in the middle of a path wherever they lead (docs/wasm.md), and knows no read-only folder.

import { lstatSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Preopen } from './settings.ts';
import { errno } from './wasi-names.ts';

type Call = (...values: never[]) => number;
export type WasiImports = Record<string, Call>;

interface Folder {
  /** Where the preopen begins, without links. */
  root: string;
  path: string;
  readOnly: boolean;
}

/** The first descriptor after the three of every program; node:wasi numbers preopens from it in their order. */
const firstPreopen = 3;
/** Files that one run has open at a time: descriptors are the whole runner's. */
const openMax = 256;
const followLinks = 1;
const openFlags = { create: 1, directory: 2, exclusive: 4, truncate: 8 };
/** Rights by which a file or what lies in a folder is changed: the bits of `rights` in wasi_snapshot_preview1. */
const changing = [0, 6, 8, 9, 10, 11, 12, 16, 17, 19, 20, 22, 23, 24, 25, 26].reduce(
  (all, bit) => all | (1n << BigInt(bit)),
  0n,
);
const writing = (1n << 6n) | (1n << 8n) | (1n << 22n);

/** As node:wasi must be given them: real paths, so that what is compared is what is opened. */
export function realPreopens(preopens: readonly Preopen[]): Preopen[] {
  return preopens.map((preopen) => ({ ...preopen, host: realpathSync.native(preopen.host) }));
}

const within = (root: string, path: string): boolean =>
  path === root || path.startsWith(root === '/' ? root : `${root}/`);

/** Whether the path stays below the root. What is not there is for the call itself to say. */
export function staysWithin(root: string, path: string, follow: boolean): boolean {
  if (path === root) return true;
  let parent: string;
  try {
    parent = realpathSync.native(dirname(path));
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' && within(root, path);
  }
  if (!within(root, parent)) return false;
  const last = join(parent, basename(path));
  if (!follow || lstatSync(last, { throwIfNoEntry: false })?.isSymbolicLink() !== true) return true;
  try {
    return within(root, realpathSync.native(last));
  } catch {
    // It leads nowhere yet: to open it could make a file there.
    return false;
  }
}

/** The calls that name paths, guarded; `memory` is the module's. */
export function guardPaths(imports: WasiImports, preopens: readonly Preopen[], memory: () => DataView): WasiImports {
  const folders = new Map<number, Folder>();
  for (const [index, { host, readOnly }] of preopens.entries())
    folders.set(firstPreopen + index, { root: host, path: host, readOnly });
  const call = (name: string, ...values: unknown[]): number =>
    (imports[name] as (...all: unknown[]) => number)(...values);

  /** What the call means, or why not. */
  function place(
    descriptor: number,
    at: number,
    bytes: number,
    follow: boolean,
  ): (Folder & { target: string }) | number {
    const folder = folders.get(descriptor);
    if (folder === undefined) return errno.badf;
    const view = memory();
    if (at + bytes > view.byteLength) return errno.fault;
    const named = Buffer.from(view.buffer, at, bytes).toString('utf8');
    if (named.startsWith('/') || named.includes('\0')) return errno.notcapable;
    const target = join(folder.path, named).replace(/(?<=.)\/$/, '');
    if (!within(folder.root, target) || !staysWithin(folder.root, target, follow)) return errno.notcapable;
    return { ...folder, target };
  }

  function changes(...places: ReturnType<typeof place>[]): number {
    for (const found of places) {
      if (typeof found === 'number') return found;
      if (found.readOnly) return errno.rofs;
    }
    return errno.success;
  }

  const one =
    (name: string) =>
    (fd: number, at: number, bytes: number): number =>
      changes(place(fd, at, bytes, false)) || call(name, fd, at, bytes);

  function open(
    ...[fd, lookup, at, bytes, flags, rights, inheriting, fdFlags, result]: [
      ...[number, number, number, number, number, bigint, bigint, number, number],
    ]
  ): number {
    const found = place(fd, at, bytes, (lookup & followLinks) !== 0);
    if (typeof found === 'number') return found;
    const { target, root, readOnly } = found;
    if (folders.size >= openMax) return errno.nfile;
    const there = statSync(target, { throwIfNoEntry: false });
    // Whoever opens a pipe or a device may wait for ever, and no other thread could end that.
    if (there !== undefined && !there.isFile() && !there.isDirectory()) return errno.acces;
    if (readOnly && (flags & (openFlags.create | openFlags.truncate)) !== 0) return errno.rofs;
    if (readOnly && there?.isFile() === true && (rights & writing) !== 0n) return errno.rofs;
    const allowed = readOnly ? ~changing : ~0n;
    const said = call(
      'path_open',
      fd,
      lookup,
      at,
      bytes,
      flags,
      rights & allowed,
      inheriting & allowed,
      fdFlags,
      result,
    );
    if (said === errno.success) folders.set(memory().getUint32(result, true), { root, path: target, readOnly });
    return said;
  }

  return {
    path_open: open,
    path_create_directory: one('path_create_directory'),
    path_remove_directory: one('path_remove_directory'),
    path_unlink_file: one('path_unlink_file'),
    path_filestat_get(fd: number, lookup: number, at: number, bytes: number, result: number) {
      const found = place(fd, at, bytes, (lookup & followLinks) !== 0);
      return typeof found === 'number' ? found : call('path_filestat_get', fd, lookup, at, bytes, result);
    },
    path_filestat_set_times(fd: number, lookup: number, at: number, bytes: number, ...times: unknown[]) {
      const refused = changes(place(fd, at, bytes, (lookup & followLinks) !== 0));
      return refused || call('path_filestat_set_times', fd, lookup, at, bytes, ...times);
    },
    path_readlink(fd: number, at: number, bytes: number, ...result: unknown[]) {
      const found = place(fd, at, bytes, false);
      return typeof found === 'number' ? found : call('path_readlink', fd, at, bytes, ...result);
    },
    path_rename(fd: number, at: number, bytes: number, newFd: number, newAt: number, newBytes: number) {
      const refused = changes(place(fd, at, bytes, false), place(newFd, newAt, newBytes, false));
      return refused || call('path_rename', fd, at, bytes, newFd, newAt, newBytes);
    },
    // Links are made by nobody: what is inside stays inside.
    path_link: () => errno.perm,
    path_symlink: () => errno.perm,
    fd_filestat_set_times: (fd: number, ...times: unknown[]) =>
      folders.get(fd)?.readOnly === true ? errno.rofs : call('fd_filestat_set_times', fd, ...times),
    fd_close(fd: number) {
      const said = call('fd_close', fd);
      if (said === errno.success) folders.delete(fd);
      return said;
    },
    fd_renumber(from: number, to: number) {
      const said = call('fd_renumber', from, to);
      const moved = folders.get(from);
      if (said !== errno.success) return said;
      folders.delete(from);
      if (moved === undefined) folders.delete(to);
      else folders.set(to, moved);
      return said;
    },
  } as WasiImports;
}

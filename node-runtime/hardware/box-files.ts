// Reads what the kernel says of a box in `/proc`, `/sys` and `/dev`, below a root that is `/` but in tests. Called by the readers of this
// folder. What stands there comes from whatever is plugged in: everything is bounded, and nothing is ever written or executed.

import { constants, existsSync, readdirSync } from 'node:fs';
import { access, open, readdir, realpath } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { deviceTextCharactersMax } from '../../control/limits.ts';
import { boxFileBytesMax, boxFileBytesUsual, boxFolderNamesMax } from './limits.ts';

export interface BoxFiles {
  /** Of a file's beginning; undefined when it cannot be read. */
  raw(path: string): Promise<string | undefined>;
  /** Its first line, made printable; undefined when there is none. */
  text(path: string): Promise<string | undefined>;
  /** Names in a folder, in order; none when there is no folder. */
  names(path: string): Promise<string[]>;
  /** The same without a turn in the thread pool, which costs ten times what the kernel's answer from memory does. */
  namesNow(path: string): string[];
  existsNow(path: string): boolean;
  /** Where a path leads, as a path below the root; undefined when nowhere. */
  real(path: string): Promise<string | undefined>;
  exists(path: string): Promise<boolean>;
  /** The path on this box of one below the root. */
  hostPath(path: string): string;
}

/** One line without characters that steer a terminal or hide others, not too long; undefined when nothing is left. */
export function printableText(text: string, charactersMax = deviceTextCharactersMax): string | undefined {
  const line = text
    .slice(0, charactersMax * 4)
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}\s]+/gu, ' ')
    .trim()
    .slice(0, charactersMax)
    .replace(/\p{Cs}+$/u, '')
    .trimEnd();
  return line === '' ? undefined : line;
}

/** Four small hexadecimal digits of `0x8086` or `8086`; undefined when it is something else. */
export function hexIdOf(text: string | undefined): string | undefined {
  return /^(?:0x)?([0-9a-f]{4})$/.exec(text?.toLowerCase() ?? '')?.[1];
}

/** The last part of where a link leads: the name of a driver, the address of a bus. */
export async function linkName(box: BoxFiles, path: string): Promise<string | undefined> {
  const real = await box.real(path);
  return real === undefined ? undefined : printableText(basename(real));
}

export function createBoxFiles(root: string): BoxFiles {
  const hostPath = (path: string): string => (root === '/' ? path : join(root, path));

  async function raw(path: string): Promise<string | undefined> {
    try {
      // A pipe or a port that somebody put there must not keep us waiting.
      const file = await open(hostPath(path), constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
      try {
        // Nearly all of them have a line; hundreds are read each minute.
        let buffer = Buffer.alloc(boxFileBytesUsual);
        let length = 0;
        for (;;) {
          const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
          length += bytesRead;
          if (bytesRead === 0 || length === boxFileBytesMax) break;
          if (length === buffer.length) buffer = Buffer.concat([buffer], Math.min(boxFileBytesMax, 4 * length));
        }
        return buffer.toString('utf8', 0, length);
      } finally {
        await file.close();
      }
    } catch {
      return undefined;
    }
  }

  return {
    hostPath,
    raw,
    async text(path) {
      const [line = ''] = ((await raw(path)) ?? '').split('\n', 1);
      // Device trees end their strings with NUL.
      return printableText(line);
    },
    async names(path) {
      // At once: one by one they cost five times as much, every few seconds.
      const names = await readdir(hostPath(path)).catch(() => []);
      return names.slice(0, boxFolderNamesMax).sort();
    },
    namesNow(path) {
      try {
        return readdirSync(hostPath(path)).slice(0, boxFolderNamesMax).sort();
      } catch {
        return [];
      }
    },
    existsNow: (path) => existsSync(hostPath(path)),
    async real(path) {
      try {
        const [real, base] = await Promise.all([realpath(hostPath(path)), realpath(root)]);
        if (base === '/') return real;
        return real.startsWith(`${base}/`) ? real.slice(base.length) : undefined;
      } catch {
        return undefined;
      }
    },
    exists: (path) =>
      access(hostPath(path)).then(
        () => true,
        () => false,
      ),
  };
}

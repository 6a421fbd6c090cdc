// Modules on this box, by their SHA-256: fetched from an address or copied from a path of the box, never used before all of their bytes
// are there and are what the manifest says. Called by wasm-engine.ts. What no instance uses any more goes when there is too much of it.

import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { WasmModule } from '../control/plan.ts';
import type { Clock } from './clock.ts';
import { megabytes } from './docker-pulls.ts';
import { ModuleFetchError } from './errors.ts';
import { createKeyedQueue } from './keyed-queue.ts';
import {
  MODULE_BYTES_MAX,
  MODULE_CACHE_BYTES_MAX,
  MODULE_FETCH_MS,
  MODULE_SILENCE_MS,
  MODULE_TELL_MS,
} from './limits.ts';

export type FetchedModule = Exclude<WasmModule, { config: string }>;

export interface Modules {
  /** Makes the folder, and removes what an earlier daemon did not finish. */
  start(): Promise<void>;
  /** Where one is, or will be. */
  path(sha256: string): string;
  /** Resolves when it is there and whole. Rejects with ModuleFetchError, or the signal's reason. */
  stage(module: FetchedModule, onProgress: (progress: string) => void, signal: AbortSignal): Promise<void>;
  /** Removes the ones that were not used for longest, of those that are not in use, while there is more than fits. */
  prune(inUse: ReadonlySet<string>): Promise<void>;
}

interface Source {
  bytesTotal: number | undefined;
  pieces: AsyncIterable<Uint8Array>;
}

const ending = '.wasm';
const partial = '.partial-';

export function createModules({ folder, clock }: { folder: string; clock: Clock }): Modules {
  const queue = createKeyedQueue();
  const path = (sha256: string): string => join(folder, `${sha256}${ending}`);
  let fetches = 0;

  /** Whole, and what its name says: a disk may have lost some of it. */
  async function isThere(sha256: string): Promise<boolean> {
    const hash = createHash('sha256');
    try {
      for await (const piece of createReadStream(path(sha256))) hash.update(piece as Buffer);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw error;
    }
    return hash.digest('hex') === sha256;
  }

  async function copy(
    what: string,
    source: Source,
    to: string,
    hash: Hash,
    onProgress: (text: string) => void,
    beat: () => void,
  ) {
    const { bytesTotal, pieces } = source;
    const tooLarge = () => new ModuleFetchError(what, `it has more than ${megabytes(MODULE_BYTES_MAX)}`);
    if (bytesTotal !== undefined && bytesTotal > MODULE_BYTES_MAX) throw tooLarge();
    const file = await open(to, 'wx', 0o600);
    let bytes = 0;
    let toldAt = clock.now();
    try {
      for await (const piece of pieces) {
        beat();
        bytes += piece.byteLength;
        if (bytes > MODULE_BYTES_MAX) throw tooLarge();
        hash.update(piece);
        await file.writeFile(piece);
        if (clock.now() - toldAt < MODULE_TELL_MS) continue;
        toldAt = clock.now();
        onProgress(
          `fetching ${what}: ${bytesTotal === undefined ? megabytes(bytes) : `${Math.floor((100 * bytes) / bytesTotal)} % of ${megabytes(bytesTotal)}`}`,
        );
      }
    } finally {
      await file.close();
    }
    if (bytesTotal !== undefined && bytes !== bytesTotal)
      throw new ModuleFetchError(what, `it ended after ${bytes} of ${bytesTotal} bytes`);
  }

  async function fetchWhole(
    module: FetchedModule,
    onProgress: (text: string) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const what = 'url' in module ? module.url : module.hostPath;
    const temporary = join(folder, `${partial}${process.pid}-${fetches++}`);
    const silent = new AbortController();
    const wait = (delayMs: number, reason: string) =>
      clock.setTimeout(() => silent.abort(new ModuleFetchError(what, reason)), delayMs);
    const whole = wait(MODULE_FETCH_MS, `it took longer than ${MODULE_FETCH_MS / 60_000} minutes`);
    const listen = () => wait(MODULE_SILENCE_MS, `nothing came for ${MODULE_SILENCE_MS / 1_000} s`);
    let silence = listen();
    const either = AbortSignal.any([signal, silent.signal]);
    const hash = createHash('sha256');
    onProgress(`fetching ${what}`);
    try {
      const source = 'url' in module ? await overHttp(module.url, either) : await fromPath(module.hostPath, either);
      await copy(what, source, temporary, hash, onProgress, () => {
        clock.clearTimeout(silence);
        silence = listen();
      });
      const found = hash.digest('hex');
      if (found !== module.sha256)
        throw new ModuleFetchError(what, `its SHA-256 is ${found}, and the manifest says ${module.sha256}`);
      await rename(temporary, path(module.sha256));
    } catch (error) {
      signal.throwIfAborted();
      silent.signal.throwIfAborted();
      if (error instanceof ModuleFetchError) throw error;
      const { cause, message } = error as Error;
      throw new ModuleFetchError(what, cause instanceof Error ? cause.message : message, { cause: error });
    } finally {
      clock.clearTimeout(whole);
      clock.clearTimeout(silence);
      await rm(temporary, { force: true });
    }
  }

  return {
    async start() {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const left = (await readdir(folder)).filter((name) => name.startsWith(partial));
      await Promise.all(left.map((name) => rm(join(folder, name), { force: true })));
    },
    path,
    stage: (module, onProgress, signal) =>
      queue.run(module.sha256, async () => {
        signal.throwIfAborted();
        if (!(await isThere(module.sha256))) await fetchWhole(module, onProgress, signal);
        const now = clock.now() / 1_000;
        await utimes(path(module.sha256), now, now);
      }),
    async prune(inUse) {
      const found: { file: string; bytes: number; usedAt: number }[] = [];
      let bytesAll = 0;
      for (const name of await readdir(folder)) {
        if (!name.endsWith(ending)) continue;
        const file = join(folder, name);
        const { size: bytes, mtimeMs: usedAt } = await stat(file);
        bytesAll += bytes;
        if (!inUse.has(name.slice(0, -ending.length))) found.push({ file, bytes, usedAt });
      }
      for (const { file, bytes } of found.sort((one, other) => one.usedAt - other.usedAt)) {
        if (bytesAll <= MODULE_CACHE_BYTES_MAX) return;
        await rm(file, { force: true });
        bytesAll -= bytes;
      }
    },
  };
}

async function overHttp(url: string, signal: AbortSignal): Promise<Source> {
  // What is compressed on the way would have another length, and could be a thousand times larger than it looks.
  const response = await fetch(url, { signal, headers: { 'accept-encoding': 'identity' } });
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw new ModuleFetchError(url, `the server answers ${response.status} ${response.statusText}`.trim());
  }
  const length = response.headers.get('content-length');
  const bytesTotal = length === null || response.headers.has('content-encoding') ? undefined : Number(length);
  return { bytesTotal, pieces: response.body as AsyncIterable<Uint8Array> };
}

async function fromPath(path: string, signal: AbortSignal): Promise<Source> {
  const found = await stat(path);
  if (!found.isFile()) throw new ModuleFetchError(path, 'it is no file');
  return { bytesTotal: found.size, pieces: createReadStream(path, { signal }) as AsyncIterable<Uint8Array> };
}

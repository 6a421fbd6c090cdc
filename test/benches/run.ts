// What a bench gets from the runner: its options, where to say how it goes, and a place for what must be ended and removed
// afterwards. Made by main.ts.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Report } from './figures.ts';
import { packedProgram } from './packed.ts';

export interface BenchOptions {
  /** How often what is measured is repeated; undefined is the bench's own number. */
  rounds: number | undefined;
  /** As little as shows that the bench works: what it then says of the program is worth nothing. */
  brief: boolean;
  /** Script of the program that is measured; undefined is the packed one. */
  program: string | undefined;
  /** Arguments of Node.js for each daemon: `--cpu-prof` and the like. */
  nodeOptions: readonly string[];
}

export interface BenchRun extends BenchOptions {
  program: string;
  /** Progress, on stderr. */
  say(text: string): void;
  /** Run in reverse order when the bench ends, however it ends. */
  atEnd(clean: () => Promise<void> | void): void;
  /** A folder for this run alone; removed at the end. */
  folder(): Promise<string>;
  /** Aborted by SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
}

export type Bench = (run: BenchRun) => Promise<Report>;

/** Runs one bench and cleans up after it; rejects with why it failed or was broken off. */
export async function runBench(
  bench: Bench,
  options: BenchOptions & { signal: AbortSignal; say: (text: string) => void },
): Promise<Report> {
  const cleaning: (() => Promise<void> | void)[] = [];
  const atEnd: BenchRun['atEnd'] = (clean) => void cleaning.push(clean);
  const broken = Promise.withResolvers<never>();
  const onAbort = (): void => broken.reject(options.signal.reason);
  options.signal.addEventListener('abort', onAbort, { once: true });
  broken.promise.catch(() => undefined);
  try {
    const run: BenchRun = {
      ...options,
      program: options.program ?? '',
      atEnd,
      async folder() {
        options.signal.throwIfAborted();
        const folder = await mkdtemp(join(tmpdir(), 'selvedge-bench-'));
        atEnd(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
        return folder;
      },
    };
    const measured = async (): Promise<Report> => {
      if (options.program === undefined) run.program = await packedProgram(run);
      return bench(run);
    };
    return await Promise.race([measured(), broken.promise]);
  } finally {
    options.signal.removeEventListener('abort', onAbort);
    // What was started while the cleaning went on is cleaned as well.
    for (let clean = cleaning.pop(); clean !== undefined; clean = cleaning.pop()) {
      await Promise.resolve(clean()).catch((error: unknown) => options.say(`cleaning up: ${String(error)}`));
    }
  }
}

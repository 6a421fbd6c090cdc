// The Host of a real process: the only file of the command line that touches `process`, timers and the wall clock.

import { spawnSync } from 'node:child_process';
import { homedir } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { styleText } from 'node:util';
import type { Clock } from '../../node-runtime/clock.ts';
import type { Host, HostTerminal, StopSignal } from './host.ts';

/** It takes a millisecond; without it a session can still be used. */
const sttyMs = 2_000;
const stopSignals: StopSignal[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

const clock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  setTimeout: (run, delayMs) => setTimeout(run, delayMs),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout),
  sleep: async (delayMs, signal) => {
    await delay(delayMs, undefined, signal === undefined ? {} : { signal });
  },
};

async function readInput(bytesMax: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw new RangeError(`more than ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

const terminal: HostTerminal = {
  raw() {
    const undo = (): void => {
      process.off('exit', undo);
      process.stdin.setRawMode(false);
    };
    // Also after an error that nobody caught.
    process.on('exit', undo);
    process.stdin.setRawMode(true);
    // Node.js leaves the terminal to put a carriage return before each line feed, which moves the cursor of full-screen programs.
    spawnSync('stty', ['-opost'], { stdio: ['inherit', 'ignore', 'ignore'], timeout: sttyMs });
    return undo;
  },
  onResize(run) {
    process.stdout.on('resize', run);
    return () => void process.stdout.off('resize', run);
  },
};

/** Makes the Host of this process. Once per process: it listens for broken pipes. */
export function createSystemHost(): Host {
  const closedListeners = new Set<() => void>();
  let closed = false;
  const broken = (error: NodeJS.ErrnoException): void => {
    if (error.code !== 'EPIPE') throw error;
    if (closed) return;
    closed = true;
    // `selvedge events | head`: the reader has what it wanted.
    if (closedListeners.size === 0) process.exit(0);
    for (const listener of closedListeners) listener();
  };
  process.stdout.on('error', broken);
  process.stderr.on('error', broken);

  const coloured = process.stdout.isTTY === true && (process.env['NO_COLOR'] ?? '') === '';
  const visible = process.stdout.isTTY === true && process.stderr.isTTY === true && process.env['TERM'] !== 'dumb';
  return {
    clock,
    env: process.env,
    userId: process.getuid?.() ?? -1,
    homeFolder: homedir(),
    workingFolder: process.cwd(),
    get columns() {
      return process.stdout.isTTY === true ? process.stdout.columns : undefined;
    },
    get rows() {
      return process.stdout.isTTY === true ? process.stdout.rows : undefined;
    },
    progress: visible ? (text) => void process.stderr.write(text) : undefined,
    out: (text) => void process.stdout.write(`${text}\n`),
    error: (text) => void process.stderr.write(`${text}\n`),
    style: (format, text) => (coloured ? styleText(format, text, { validateStream: false }) : text),
    readInput,
    input: () => process.stdin as AsyncIterable<Buffer>,
    terminal: process.stdin.isTTY === true && process.stdout.isTTY === true ? terminal : undefined,
    write: (stream, bytes) => {
      const written = Promise.withResolvers<void>();
      process[stream].write(bytes, () => written.resolve());
      return written.promise;
    },
    onInputEnd: (run) => {
      process.stdin.once('end', run);
      process.stdin.once('error', run);
      process.stdin.resume();
    },
    onSignal: (run) => {
      const listeners = stopSignals.map((signal) => ({ signal, listener: () => run(signal) }));
      for (const { signal, listener } of listeners) process.on(signal, listener);
      return () => {
        for (const { signal, listener } of listeners) process.off(signal, listener);
      };
    },
    onOutputClosed: (run) => {
      closedListeners.add(run);
      if (closed) run();
      return () => void closedListeners.delete(run);
    },
    exit: (status) => process.exit(status),
  };
}

// One run of a module: a fresh instance with what it was given and nothing else. Called by runner.ts in the runner's own thread and by
// worker.ts for each request. node:wasi does the calls of WASI preview 1; what it leaves open is closed here and in the files beside.

import { WASI } from 'node:wasi';
import { guardPaths, type WasiImports } from './guest-paths.ts';
import { pollOneoff } from './guest-poll.ts';
import type { GuestSettings } from './settings.ts';
import { errno, wasiModule } from './wasi-names.ts';

/** In place of the runner's own input and output. */
export interface GuestStreams {
  input: Uint8Array;
  /** More output ends the run with OutputTooLongError. */
  outputBytesMax: number;
}

export class OutputTooLongError extends Error {
  override readonly name = 'OutputTooLongError';
}

/** Of the first three descriptors, which are the runner's: logs are not cut, closed or given another number by a module. */
const notOnStreams = [
  ...['fd_allocate', 'fd_fdstat_set_flags', 'fd_fdstat_set_rights', 'fd_filestat_set_size', 'fd_filestat_set_times'],
  ...['fd_pread', 'fd_pwrite', 'fd_readdir', 'fd_seek', 'fd_tell', 'fd_renumber'],
];
const isStream = (fd: number): boolean => fd >>> 0 < 3;

interface Vector {
  at: number;
  bytes: number;
}

function vectors(view: DataView, at: number, count: number): Vector[] {
  return Array.from({ length: count }, (_, index) => ({
    at: view.getUint32(at + index * 8, true),
    bytes: view.getUint32(at + index * 8 + 4, true),
  }));
}

/** Runs it to its end in this thread. Throws what it trapped with. `preopens` are real paths (realPreopens). */
export function runGuest(
  module: WebAssembly.Module,
  { args, env, preopens }: GuestSettings,
  streams?: GuestStreams,
): { status: number; output: Buffer; memoryBytes: number } {
  const wasi = new WASI({
    version: 'preview1',
    args,
    env,
    preopens: Object.fromEntries(preopens.map(({ guest, host }) => [guest, host])),
    returnOnExit: true,
  });
  const base = wasi.wasiImport as WasiImports;
  let exported: WebAssembly.Memory | undefined;
  const memory = (): DataView => {
    if (exported === undefined) throw new Error('the module calls WASI before it has started');
    return new DataView(exported.buffer);
  };
  const guarded: WasiImports = {
    ...base,
    ...guardPaths(base, preopens, memory),
    poll_oneoff: pollOneoff(memory),
    // A signal would meet the runner, and with it other requests.
    proc_raise: () => errno.nosys,
  };
  const call = (name: string, values: unknown[]): number => (guarded[name] as (...all: unknown[]) => number)(...values);
  const imports: WasiImports = { ...guarded };
  for (const name of notOnStreams) {
    imports[name] = (fd: number, ...rest: unknown[]) => {
      const isRenumbering = name === 'fd_renumber' && isStream(rest[0] as number);
      return isStream(fd) || isRenumbering ? errno.spipe : call(name, [fd, ...rest]);
    };
  }
  imports['fd_close'] = (fd: number) => (isStream(fd) ? errno.success : call('fd_close', [fd]));

  const pieces: Buffer[] = [];
  if (streams !== undefined) {
    let [read, written] = [0, 0];
    imports['fd_read'] = (fd: number, at: number, count: number, result: number) => {
      if (fd !== 0) return call('fd_read', [fd, at, count, result]);
      const view = memory();
      let bytes = 0;
      for (const vector of vectors(view, at, count)) {
        const part = streams.input.subarray(read, read + vector.bytes);
        new Uint8Array(view.buffer, vector.at, vector.bytes).set(part);
        read += part.byteLength;
        bytes += part.byteLength;
      }
      view.setUint32(result, bytes, true);
      return errno.success;
    };
    imports['fd_write'] = (fd: number, at: number, count: number, result: number) => {
      if (fd !== 1) return call('fd_write', [fd, at, count, result]);
      const view = memory();
      let bytes = 0;
      for (const vector of vectors(view, at, count)) {
        bytes += vector.bytes;
        written += vector.bytes;
        if (written > streams.outputBytesMax) throw new OutputTooLongError();
        pieces.push(Buffer.from(new Uint8Array(view.buffer, vector.at, vector.bytes)));
      }
      view.setUint32(result, bytes, true);
      return errno.success;
    };
  }
  const instance = new WebAssembly.Instance(module, { [wasiModule]: imports as WebAssembly.ModuleImports });
  exported = instance.exports['memory'] as WebAssembly.Memory | undefined;
  const status = wasi.start(instance);
  return { status, output: Buffer.concat(pieces), memoryBytes: exported?.buffer.byteLength ?? 0 };
}

// Looks into a module in a process of its own, which ends with it: what compiling makes of hostile bytes (a million types end V8, whose
// table of them is the whole process's and is never emptied) is not the daemon's. Called by wasm-engine.ts before a module is used for
// the first time. It runs nothing of the module.

import { type ChildProcess, execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { ModuleLookError } from './errors.ts';
import { MODULE_LOOK_MS, MODULE_VERDICT_BYTES_MAX, WASM_CODE_MB } from './limits.ts';
import { type ModuleVerdict, verdictFlag } from './wasm/settings.ts';
import { runnerFile } from './wasm-launch.ts';

/** Where the kernel is short of memory it takes this process first. */
const oomScoreMax = '1000';

/** Why it cannot be run; undefined when it can. Rejects with ModuleLookError where that cannot be found out now, or the signal's reason. */
export async function lookIntoModule(bytes: Uint8Array, signal: AbortSignal): Promise<string | undefined> {
  signal.throwIfAborted();
  const { promise, resolve } = Promise.withResolvers<{ error: Ended | null; said: string }>();
  const flags = ['--no-warnings', `--wasm-max-committed-code-mb=${WASM_CODE_MB}`, '--permission', '--allow-fs-read=*'];
  const options = { timeout: MODULE_LOOK_MS, killSignal: 'SIGKILL', maxBuffer: MODULE_VERDICT_BYTES_MAX } as const;
  const child = execFile(
    process.execPath,
    [...flags, runnerFile(), verdictFlag],
    { ...options, env: {}, signal },
    (error, said) => resolve({ error, said }),
  );
  void preferAsVictim(child);
  // One that ended early reads no more of it: how it ended says why.
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(bytes);
  const { error, said } = await promise;
  signal.throwIfAborted();
  if (error === null) return (JSON.parse(said) as ModuleVerdict).fault;
  if (error.killed) return `it could not be compiled within ${MODULE_LOOK_MS / 60_000} minutes`;
  if (v8Ends.has(error.signal ?? '')) return 'V8 ended over it: it has more types or names than V8 can hold';
  throw new ModuleLookError(error.signal ?? `status ${error.code}`, { cause: error });
}

type Ended = Error & { code?: string | number | null; signal?: NodeJS.Signals | null; killed?: boolean };

/** Of its own doing; SIGKILL is somebody else's. */
const v8Ends = new Set<string>(['SIGTRAP', 'SIGABRT', 'SIGILL', 'SIGSEGV']);

async function preferAsVictim({ pid }: ChildProcess): Promise<void> {
  if (pid !== undefined) await writeFile(`/proc/${pid}/oom_score_adj`, oomScoreMax).catch(() => undefined);
}

// Starts the shim of one launch: its environment, its descriptors, its session. Called by process-engine.ts.
// Nothing of the daemon but three descriptors and the given environment reaches the child.

import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { withInheritedMask } from './file-modes.ts';
import { openFilesMax } from './system-box.ts';

/** O_CLOEXEC in /proc/self/fdinfo, octal. */
const CLOSE_ON_EXEC = 0o2000000;
/** Descriptors that another thread may open while we look: they take the lowest free numbers. */
const MARGIN = 16;

export interface SpawnRequest {
  command: string[];
  workingDirectory: string;
  env: Record<string, string>;
  stdout: string;
  stderr: string;
  onEnd(): void;
}

/**
 * Resolves once the process exists; rejects when the system refuses it. It leads a session of its own and is not waited for:
 * it outlives this process. Descriptors that would be inherited (LevelDB opens its files so) are covered by /dev/null.
 */
export async function spawnShim(request: SpawnRequest): Promise<ChildProcess> {
  const [file, ...rest] = request.command as [string, ...string[]];
  const opening = [open(request.stdout, 'a', 0o600), open(request.stderr, 'a', 0o600)];
  const opened = await Promise.allSettled(opening);
  const handles = opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const cover = await coverDescriptors();
  try {
    // All there, or the first failure.
    const [stdout, stderr] = (await Promise.all(opening)) as [FileHandle, FileHandle];

    const child = withInheritedMask(() =>
      spawn(file, rest, {
        cwd: request.workingDirectory,
        env: request.env,
        detached: true,
        stdio: ['ignore', stdout.fd, stderr.fd, ...cover.stdio()],
      }),
    );
    child.once('exit', request.onEnd);
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    child.unref();
    return child;
  } finally {
    await Promise.all([cover.close(), ...handles.map((handle) => handle.close())]);
  }
}

export interface DescriptorCover {
  /** For descriptors 3 and up; to be asked for right before the spawn. */
  stdio(): (number | 'ignore')[];
  close(): Promise<void>;
}

/** Covers what a child would inherit. To be closed once the child is spawned. */
export async function coverDescriptors(): Promise<DescriptorCover> {
  const max = openFilesMax(await readFile('/proc/self/limits', 'utf8')) ?? Number.POSITIVE_INFINITY;
  const nothing = await open('/dev/null', 'r+');
  return { stdio: () => coveredBy(nothing.fd, max), close: () => nothing.close() };
}

/** What goes to descriptors 3 and up: `cover` for each that would be inherited or is free now, 'ignore' for the rest. */
function coveredBy(cover: number, max: number): (number | 'ignore')[] {
  const closing = new Set<number>();
  let highest = 2;
  for (const name of readdirSync('/proc/self/fd')) {
    const descriptor = Number(name);
    highest = Math.max(highest, descriptor);
    if (closesOnExec(name)) closing.add(descriptor);
  }
  // Nothing can be put on a number above the limit: what is open there, from before it was lowered, would be inherited.
  if (highest >= max) throw Object.assign(new Error('too many open files'), { code: 'EMFILE' });
  const result: (number | 'ignore')[] = [];
  for (let descriptor = 3; descriptor <= Math.min(highest + MARGIN, max - 1); descriptor++) {
    result.push(closing.has(descriptor) ? 'ignore' : cover);
  }
  return result;
}

function closesOnExec(descriptor: string): boolean {
  try {
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, 'utf8'))?.[1];
    return flags !== undefined && (Number.parseInt(flags, 8) & CLOSE_ON_EXEC) !== 0;
  } catch {
    // It was the descriptor of the listing itself, closed by now.
    return false;
  }
}

// A terminal for a command beside a process workload: script(1) of util-linux makes it and passes its bytes on, stty(1) tells it its
// size. Called by process-exec.ts. A box without these tools gives none, and says so.

import { execFile } from 'node:child_process';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import type { TerminalSize } from '../control/exec-frames.ts';
import { NoTerminalError } from './errors.ts';
import { DETECTION_MS } from './limits.ts';
import type { ShimTools } from './process-shim.ts';
import { findCommand } from './process-tools.ts';

export interface TerminalTools {
  script: string;
  stty: string;
  tty: string;
}

/** Rejects with NoTerminalError. Busybox has a script(1) too, which loses the exit status: it is tried out. */
export async function findTerminalTools(find = findCommand): Promise<TerminalTools> {
  const [script, stty, tty] = await Promise.all(['script', 'stty', 'tty'].map((name) => find(name)));
  if (script === undefined) throw new NoTerminalError('script (util-linux) is not installed');
  if (stty === undefined || tty === undefined) throw new NoTerminalError('stty and tty (coreutils) are not installed');
  const trial = promisify(execFile)(script, ['-qfec', 'exit 7', '/dev/null'], {
    timeout: DETECTION_MS,
    env: { SHELL: '/bin/sh' },
  });
  // A terminal that somebody else holds open would be its stdin.
  trial.child.stdin?.end();
  const status = await trial.then(
    () => 0,
    (error: { code?: unknown }) => error.code,
  );
  if (status !== 7) throw new NoTerminalError(`${script} made none (${status}): it must be that of util-linux`);
  return { script, stty, tty };
}

const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

/** The command at a terminal of its own, and the environment in which that is to be run. */
export function atTerminal(
  { script, stty, tty }: TerminalTools,
  { shell, scripts }: ShimTools,
  { columns, rows, type }: TerminalSize & { type: string },
  command: string[],
  env: Record<string, string>,
): { command: string[]; env: Record<string, string> } {
  const head = [shell, `${scripts}/terminal.sh`, stty, tty, `${rows}`, `${columns}`, env['SHELL'] ?? '-'];
  const line = `exec ${[...head, ...command].map(quoted).join(' ')}`;
  // script(1) asks SHELL to read the line.
  return { command: [script, '-qfec', line, '/dev/null'], env: { ...env, SHELL: shell, TERM: type } };
}

/** Tells the terminal each new size until they end. `told` is the descriptor on which terminal.sh says which one it is. */
export async function followSizes(
  { stty }: TerminalTools,
  told: Readable,
  sizes: AsyncIterable<TerminalSize>,
  ended: AbortSignal,
): Promise<void> {
  const device = await firstLine(told);
  if (!/^\/dev\/[\w/]+$/.test(device)) return;
  for await (const { columns, rows } of sizes) {
    if (ended.aborted) return;
    const words = ['-F', device, 'rows', `${rows}`, 'columns', `${columns}`];
    await promisify(execFile)(stty, words, { timeout: DETECTION_MS, signal: ended }).catch(() => undefined);
  }
}

/** No more than a path has; script(1) holds the descriptor open to its end. */
async function firstLine(from: Readable): Promise<string> {
  let said = '';
  for await (const chunk of from) {
    said += String(chunk);
    if (said.includes('\n') || said.length > 4_096) break;
  }
  return said.split('\n')[0] ?? '';
}

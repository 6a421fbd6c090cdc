// Runs one command line and turns what comes of it into an exit status. Called by bin/selvedge.js.

import { CommanderError } from 'commander';
import type { Host } from './host.ts';
import { createProgram } from './program.ts';
import { createSystemHost } from './system-host.ts';
import { printable, printableLines } from './table.ts';

const usageStatus = 2;

/** Runs the arguments (without node and script); resolves with 0 ok, 1 refused or failed, 2 wrong usage. */
export async function run(args: string[], host: Host): Promise<number> {
  try {
    await createProgram(host).parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    return report(error, host);
  }
}

function report(error: unknown, host: Host): number {
  // Commander has printed its own message; help that was asked for is no error.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : usageStatus;
  if (!(error instanceof Error)) throw error;
  const { action, exitStatus } = error as { action?: unknown; exitStatus?: unknown };
  // What a node or another program said may be a part of both.
  if (error.message !== '') host.error(`${host.style('red', 'error:')} ${printableLines(error.message)}`);
  if (typeof action === 'string' && action !== '') host.error(`${printableLines(action)}${idText(error, host)}`);
  if (typeof action !== 'string') host.error(error.stack ?? '');
  return typeof exitStatus === 'number' ? exitStatus : 1;
}

/** Under which the error is found in docs/troubleshooting.md; for people alone, who look it up. */
function idText(error: Error, host: Host): string {
  const { id, type } = error as { id?: unknown; type?: unknown };
  const shown = typeof type === 'string' && type.startsWith('urn:') ? type.split(':').at(-1) : id;
  return host.columns === undefined || typeof shown !== 'string' ? '' : host.style('dim', ` [${printable(shown)}]`);
}

/** The process's whole life. Ends it: a daemon's left-over handles must not keep it. */
export async function main(): Promise<void> {
  const host = createSystemHost();
  host.exit(await run(process.argv.slice(2), host));
}

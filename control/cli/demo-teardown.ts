// Ends the demo: every node with what it runs, whatever is left of them, and their folder. Called by demo.ts, once.

import type { DemoDaemon } from './demo-daemon.ts';
import { type DemoFolder, processesOf } from './demo-folder.ts';
import { until } from './demo-step.ts';
import { NoDaemonError } from './errors.ts';
import type { Host } from './host.ts';
import { demoEveryMs, demoStopMs } from './limits.ts';

export interface Teardown {
  host: Host;
  folder: DemoFolder;
  daemons: readonly DemoDaemon[];
  /** Starts a node again whose daemon is gone: only a daemon ends its workloads in order. */
  revive: ((daemon: DemoDaemon) => DemoDaemon) | undefined;
  /** Aborted: kill at once. */
  hurry: AbortSignal;
}

/** Never rejects; returns what had to be forced, one line each, and nothing when all went in order. */
export async function tearDown({ host, folder, daemons, revive, hurry }: Teardown): Promise<string[]> {
  const forced: string[] = [];
  const stopping = new AbortController();
  const timer = host.clock.setTimeout(() => stopping.abort(), demoStopMs);
  const signal = AbortSignal.any([stopping.signal, hurry]);
  const revived: DemoDaemon[] = [];
  const stops = daemons.map(async (daemon) => {
    const end = stopNode({ host, daemon, signal, revive, revived });
    const cut = new Promise<never>((_, reject) => {
      const late = (): void => reject(new Error('did not end in time'));
      if (signal.aborted) late();
      signal.addEventListener('abort', late, { once: true });
    });
    await Promise.race([end, cut]).catch((error: unknown) =>
      forced.push(`${daemon.name}: ${(error as Error).message}`),
    );
  });
  await Promise.all(stops);
  host.clock.clearTimeout(timer);
  for (const daemon of [...daemons, ...revived]) if (daemon.end === undefined) daemon.kill('SIGKILL');
  await Promise.all([...daemons, ...revived].map((daemon) => daemon.ended));
  forced.push(...(await killLeftovers(folder)));
  await folder
    .remove()
    .catch((error: unknown) => forced.push(`${folder.path} could not be removed: ${(error as Error).message}`));
  return forced;
}

interface Stop {
  host: Host;
  daemon: DemoDaemon;
  signal: AbortSignal;
  revive: Teardown['revive'];
  revived: DemoDaemon[];
}

async function stopNode({ host, daemon, signal, revive, revived }: Stop): Promise<void> {
  const running =
    daemon.end !== undefined && revive !== undefined
      ? await reviveNode(daemon, { host, signal, revive, revived })
      : daemon;
  try {
    await running.client.down(true);
  } catch (error) {
    // Not listening yet, or no longer: it has started nothing that a signal would leave behind.
    if (!(error instanceof NoDaemonError)) throw error;
    running.kill('SIGTERM');
  }
  await running.ended;
  // Somebody may have started this node again by hand: then its end is that nobody answers any more.
  await until(async () => await answersNoMore(running), { host, signal, everyMs: demoEveryMs });
}

async function reviveNode(
  daemon: DemoDaemon,
  { host, signal, revive, revived }: Required<Omit<Stop, 'daemon'>>,
): Promise<DemoDaemon> {
  if ((await answersNoMore(daemon)) === undefined || revive === undefined) return daemon;
  const again = revive(daemon);
  revived.push(again);
  await until(async () => (again.end !== undefined || (await answersNoMore(again)) === undefined ? true : undefined), {
    host,
    signal,
    everyMs: demoEveryMs,
  });
  return again;
}

async function answersNoMore(daemon: DemoDaemon): Promise<true | undefined> {
  return await daemon.client.ping().then(
    () => undefined,
    () => true,
  );
}

async function killLeftovers(folder: DemoFolder): Promise<string[]> {
  const left = await processesOf(folder.path);
  for (const pid of left) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended by itself in between.
    }
  }
  return left.length === 0 ? [] : [`processes that were left and have been killed: ${left.join(', ')}`];
}

// The end of a container: it is asked, then killed. Called by docker-engine.ts. What was sent to which run is noted, since Docker
// tells a signal as a status.

import { constants } from 'node:os';
import type { ContainerFacts, DockerClient } from './docker-client.ts';
import { type AskedToEnd, standingOf } from './docker-container.ts';
import type { DockerContainers } from './docker-containers.ts';
import type { DockerWaits } from './docker-waits.ts';
import type { Exit } from './engine.ts';
import { InstanceUnkillableError } from './errors.ts';
import { KILL_WAIT_MS } from './limits.ts';

/** Resolves with the exit once it has ended; undefined when there is none. Throws InstanceUnkillableError. */
export async function endContainer(
  { containers, waits, docker }: { containers: DockerContainers; waits: DockerWaits; docker(): DockerClient },
  instance: string,
  timeoutMs: number,
): Promise<Exit | undefined> {
  const facts = await containers.find(instance);
  if (facts === undefined) return undefined;
  if (standingOf(facts) === 'ended') return containers.exitOf(instance, facts);

  async function signalRun({ Id, State }: ContainerFacts, name: string): Promise<void> {
    const folder = containers.folder(instance);
    const { StartedAt: startedAt } = State;
    const before = await folder.readAsked();
    const signals = before?.startedAt === startedAt ? before.signals : [];
    const asked: AskedToEnd = { startedAt, signals: [...new Set([...signals, name])] };
    await folder.writeAsked(asked);
    await docker().kill(Id, name);
  }

  if (timeoutMs > 0) {
    await signalRun(facts, stopSignalOf(facts) || 'SIGTERM');
    const exit = await waits.endWithin(instance, timeoutMs);
    if (exit !== undefined) return exit;
  }
  await signalRun(facts, 'SIGKILL');
  const killed = await waits.endWithin(instance, KILL_WAIT_MS);
  if (killed === undefined) throw new InstanceUnkillableError(instance, [facts.State.Pid]);
  return killed;
}

/** STOPSIGNAL of the image; dockerode's types leave it out. Podman tells its number. */
function stopSignalOf({ Config }: ContainerFacts): string | undefined {
  const told = (Config as { StopSignal?: string | number }).StopSignal;
  const number = Number(told);
  if (told === undefined || Number.isNaN(number)) return told === undefined ? undefined : `${told}`;
  return Object.entries(constants.signals).find(([, value]) => value === number)?.[0];
}

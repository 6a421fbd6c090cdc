// What the deploy bench compares containers with: create and start by the engine itself. A Docker Engine of the run's own, so
// that nobody's containers are touched. Called by deploy.ts.

import Docker from 'dockerode';
import { busyboxImage, dockerMissing, startDockerd } from '../node-runtime/dockerd.ts';
import type { BenchRun } from './run.ts';

export interface BenchEngine {
  /** For the environment of the daemons. */
  readonly host: string;
  /** Milliseconds that create and start take, on the network that the nodes' containers are on. The container is removed again. */
  bareMs(): Promise<number>;
}

/** Listens as soon as the container's own shell has started. */
export const containerCommand = ['sh', '-c', 'exec httpd -f -p "$PORT" -h /'];

/** Undefined where no engine can be had; says why. */
export async function startEngine(run: Pick<BenchRun, 'say' | 'atEnd' | 'signal'>): Promise<BenchEngine | undefined> {
  const missing = await dockerMissing();
  if (missing !== undefined) {
    run.say(`docker: its figures are left out: ${missing}`);
    return undefined;
  }
  run.say('starting a Docker Engine');
  let dockerd: Awaited<ReturnType<typeof startDockerd>>;
  try {
    dockerd = await startDockerd();
  } catch (error) {
    run.say(
      `docker: its figures are left out: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`,
    );
    return undefined;
  }
  run.atEnd(() => dockerd.close());
  run.signal.throwIfAborted();
  const docker = new Docker({ socketPath: dockerd.socket });
  return {
    host: dockerd.host,
    async bareMs() {
      const [network] = await docker.listNetworks({ filters: { label: ['io.selvedge.fabric'] } });
      const startedAt = performance.now();
      const container = await docker.createContainer({
        Image: busyboxImage,
        Cmd: containerCommand,
        Env: ['PORT=8080'],
        HostConfig: { NetworkMode: network?.Name ?? 'none' },
      });
      await container.start();
      const tookMs = performance.now() - startedAt;
      await container.remove({ force: true });
      return tookMs;
    },
  };
}

export const containerImage = busyboxImage;

// An engine of containers for one test, as a node of its own on an engine that speaks Docker's API. Made by docker-engine.test.ts,
// podman-engine.test.ts and docker-changes.test.ts.

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDockerEngine } from '../../node-runtime/docker-engine.ts';
import type { Engine, EngineInstance, EngineOwner, Launch } from '../../node-runtime/engine.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import type { EngineUnderTest, ProcessLaunch } from '../conformance/engine.ts';
import { eventually } from '../eventually.ts';
import { busyboxImage } from './dockerd.ts';
import { gone } from './process-world.ts';

const clock = createSystemClock();
let worlds = 0;

export interface ContainerWorld {
  folder: string;
  owner: EngineOwner;
  engine: Engine;
  /** A launch of the engine's own specification. */
  launchAsIs(launch: Launch): Promise<EngineInstance>;
  /** The next daemon's engine. */
  adopt(): Promise<Engine>;
  /** Ends all that was launched. */
  close(): Promise<void>;
}

/** `range`: the test file's own, since an engine beside it knows nothing of the networks that are being made here. */
export async function createContainerWorld(host: string, range: string): Promise<ContainerWorld> {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-containers-'));
  const owner = { fabricId: 'f'.repeat(52), node: `box-${process.pid}-${worlds++}` };
  const engines: Engine[] = [];
  async function open(): Promise<Engine> {
    const engine = createDockerEngine({ folder, clock, dockerHost: host, range });
    engines.push(engine);
    await engine.start(owner);
    await eventually(() => engine.unavailable() === undefined, { deadlineMs: 60_000, what: 'an answer of the engine' });
    return engine;
  }
  /** The conformance body launches processes: the same command in a container. */
  const asContainers = (engine: Engine): Engine => ({
    ...engine,
    start: () => engine.start(owner),
    launch: ({ spec, ...launch }) => {
      const { command, ...rest } = spec as ProcessLaunch['spec'];
      return engine.launch({ ...launch, spec: { ...rest, engine: 'docker', image: busyboxImage, command } });
    },
  });
  const first = await open();
  return {
    folder,
    owner,
    engine: asContainers(first),
    launchAsIs: (launch) => first.launch(launch),
    adopt: async () => asContainers(await open()),
    async close() {
      try {
        const last = await open();
        for (const { instance } of await last.list()) {
          await last.terminate(instance, 0);
          await last.remove(instance);
        }
      } finally {
        for (const engine of engines) await engine.stop();
      }
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** For the conformance body. */
export async function containersUnderTest(host: string, range: string): Promise<EngineUnderTest> {
  const world = await createContainerWorld(host, range);
  return {
    engine: world.engine,
    adopt: world.adopt,
    signalsAreStatuses: true,
    command: (...behaviour) => ['/bin/sh', '/workload.sh', ...behaviour],
    run: (promise) => promise,
    untilGone: (pid) => gone(pid as number),
    file(instance, path) {
      const folder = path.startsWith('secrets/') ? '' : 'files';
      return readFile(join(world.folder, instance, folder, path), 'utf8').catch(() => undefined);
    },
    now: () => clock.now(),
    close: world.close,
  };
}

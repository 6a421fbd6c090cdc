// The docker engine against the conformance body, with real containers, and what only containers have.

import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { createDockerEngine } from '../../node-runtime/docker-engine.ts';
import type { Engine } from '../../node-runtime/engine.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { launchOf, testEngine } from '../conformance/engine.ts';
import { skip } from '../skip.ts';
import { busyboxImage, type Dockerd, dockerMissing, startDockerd } from './dockerd.ts';
import { gone } from './process-world.ts';

const clock = createSystemClock();
const missing = await dockerMissing();
const dockerd: Dockerd | undefined = missing === undefined ? await startDockerd() : undefined;
test.after.always(() => dockerd?.close());

let worlds = 0;

/** An engine of a node of its own on the dockerd of this file. */
async function createWorld(host: string) {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-containers-'));
  const owner = { fabricId: 'f'.repeat(52), node: `box-${process.pid}-${worlds++}` };
  const engines: Engine[] = [];
  async function open(): Promise<Engine> {
    const engine = createDockerEngine({ folder, clock, dockerHost: host });
    engines.push(engine);
    await engine.start(owner);
    return engine;
  }
  /** The conformance body launches processes: the same command in a container. */
  const asContainers = (engine: Engine): Engine => ({
    ...engine,
    start: () => engine.start(owner),
    launch: ({ spec, ...launch }) => {
      const { command = [], ...rest } = spec;
      return engine.launch({ ...launch, spec: { ...rest, engine: 'docker', image: busyboxImage, command } });
    },
  });
  return {
    folder,
    owner,
    engine: asContainers(await open()),
    adopt: async () => asContainers(await open()),
    async close() {
      const last = await open();
      for (const { instance } of await last.list()) {
        await last.terminate(instance, 0);
        await last.remove(instance);
      }
      for (const engine of engines) await engine.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

if (dockerd === undefined) test('the docker engine', (t) => skip(t, missing ?? ''));
else {
  // One after the other: Docker makes a network for each, which takes it most of a second.
  testEngine(test.serial, 'docker engine', async () => {
    const world = await createWorld(dockerd.host);
    return {
      engine: world.engine,
      adopt: world.adopt,
      signalsAreStatuses: true,
      command: (...behaviour) => ['/bin/sh', '/workload.sh', ...behaviour],
      run: (promise) => promise,
      untilGone: (pid) => gone(pid as number),
      file: (instance, path) => readFile(join(world.folder, instance, 'files', path), 'utf8').catch(() => undefined),
      now: () => clock.now(),
      close: world.close,
    };
  });

  test.serial(
    'every file of a container’s folder, damaged: the next daemon’s engine knows the instance and runs it again',
    async (t) => {
      const world = await createWorld(dockerd.host);
      t.teardown(world.close);
      const launch = launchOf(['/bin/sh', '/workload.sh', 'run'], {
        files: [{ path: 'configs/words/a.txt', content: Buffer.from('words to be cut in half'), mode: 0o400 }],
      });
      let { engine } = world;
      const pathsOf = async (): Promise<string[]> => {
        const entries = await readdir(world.folder, { recursive: true, withFileTypes: true });
        return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
      };
      // Twice: the second container keeps what the first one said.
      for (let turn = 0; turn < 2; turn += 1) {
        await engine.launch(launch);
        await engine.terminate(launch.instance, 1_000);
      }
      const paths = await pathsOf();
      for (const name of ['hosts', 'asked.json', 'a.txt'])
        t.true(
          paths.some((path) => path.endsWith(name)),
          name,
        );
      for (const path of paths) {
        for (const how of ['cut in half', 'a folder in its place'] as const) {
          if (how === 'cut in half') await truncate(path, Math.floor((await stat(path)).size / 2));
          else {
            await rm(path);
            await mkdir(path);
          }
          const about = `${path.slice(world.folder.length)} ${how}`;
          await engine.stop();
          engine = await world.adopt();
          t.deepEqual(
            (await engine.list()).map(({ instance, pid }) => [instance, pid]),
            [[launch.instance, undefined]],
            about,
          );
          t.is(typeof (await engine.launch(launch)).pid, 'number', about);
          await engine.terminate(launch.instance, 1_000);
          if (path.endsWith('a.txt')) t.is(await readFile(path, 'utf8'), 'words to be cut in half');
        }
      }
    },
  );
}

// An engine whose answers take seconds: a relay of the test's own before the socket of a real one delays what it is asked. Nothing is
// done twice, the engine says what is wrong when it is too slow, and the node's other engine is as fast as ever.

import { rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import test from 'ava';
import { createDockerEngine } from '../../node-runtime/docker-engine.ts';
import { createEngines } from '../../node-runtime/engines.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSimEngine } from '../../simulations/sim-engine.ts';
import { launchOf } from '../conformance/engine.ts';
import { eventually } from '../eventually.ts';
import { skip } from '../skip.ts';
import { busyboxImage, dockerMissing, startDockerd } from './dockerd.ts';

const clock = createSystemClock();
const missing = await dockerMissing();

/** `hold` is how long each piece of a question waits, in milliseconds. */
async function startRelay(path: string, target: string) {
  const sockets = new Set<Socket>();
  let holdMs = 0;
  const server = createServer((near) => {
    const far = connect(target);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    let turn = Promise.resolve();
    near.on('data', (bytes) => {
      turn = turn.then(() => clock.sleep(holdMs)).then(() => void far.write(bytes));
    });
    far.pipe(near);
  });
  await new Promise<void>((done) => server.listen(path, done));
  return {
    hold: (ms: number) => {
      holdMs = ms;
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((done) => server.close(done));
    },
  };
}

test('an engine that answers slowly: nothing is doubled, and nothing else waits for it', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const dockerd = await startDockerd();
  t.teardown(() => dockerd.close());
  const folder = join(dockerd.folder, 'instances');
  const path = join(dockerd.folder, 'slow.sock');
  const relay = await startRelay(path, dockerd.socket);
  t.teardown(() => relay.close());
  const docker = createDockerEngine({ folder, clock, dockerHost: `unix://${path}`, range: '10.219.0.0/16' });
  const random = { next: () => 0.5, bytes: (count: number) => new Uint8Array(count) };
  const engines = createEngines([createSimEngine({ clock, random }), docker]);
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  t.teardown(() => engines.stop());
  const isThere = () =>
    eventually(() => docker.unavailable() === undefined, { deadlineMs: 60_000, what: 'the engine to be found' });
  const { command: _, ...common } = launchOf(['unused']).spec;
  const owner = { fabricId: 'f'.repeat(52), node: `slow-${process.pid}` };
  const spec = { ...common, engine: 'docker' as const, image: busyboxImage, command: ['sleep', '1000'] };

  relay.hold(1_000);
  await engines.start(owner);
  t.regex(docker.unavailable() ?? '', /has not answered yet/);
  await isThere();
  const launching = engines.launch({ ...launchOf([]), spec });
  const begun = clock.now();
  await engines.launch(launchOf(['run'], { instance: 'default.app.beside.0' }));
  t.true(clock.now() - begun < 1_000, 'an instance of another engine starts meanwhile');
  const { instance, pid } = await launching;
  await t.throwsAsync(engines.launch({ ...launchOf([]), spec }), { message: /running/ });
  const own = ['ps', '--all', '--quiet', '--filter', `label=io.selvedge.node=${owner.node}`];
  t.is((await dockerd.docker(...own)).split('\n').length, 1);

  relay.hold(20_000);
  const reason = await eventually(() => docker.unavailable(), { deadlineMs: 60_000, what: 'it to be said' });
  t.regex(reason, /did not answer within 5000 ms/);
  relay.hold(0);
  await isThere();
  t.deepEqual(
    (await docker.list()).map((one) => [one.instance, one.pid]),
    [[instance, pid]],
  );
  t.is((await dockerd.docker(...own)).split('\n').length, 1);
  await docker.terminate(instance, 0);
  await docker.remove(instance);
});

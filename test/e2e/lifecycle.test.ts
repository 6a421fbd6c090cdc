// The life of instances on the process engine under real daemons: crash, readiness, replacement and removal, and daemons that
// die and come back while instances run on.

import { execFile } from 'node:child_process';
import { access, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import type { InstanceView } from '../../control/views.ts';
import { program } from './daemon.ts';
import { createFabric, type Fabric, type FabricNode, instanceOf, problemsOf, toldReady, waitFor } from './fabric.ts';
import { identityOf, isAlive } from './processes.ts';
import { tell } from './story.ts';

const run = promisify(execFile);
const gated = fileURLToPath(new URL('workloads/gated.js', import.meta.url));
const probe = 'periodMs: 50, failureThreshold: 2';

/** `version` is part of the spec of `web`: another one replaces it. */
const manifest = (version: number, more = ''): string => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: lives }
spec:
  microservices:
    - name: crasher
      engine: process
      command: [sh, -c, 'if [ -e crashed ]; then exec sleep 1000; fi; : > crashed; exit 3']
      placement: { node: edge-1 }
    - name: web
      engine: process
      command: [node, ${gated}]
      env: { VERSION: '${version}' }
      ports: [{ name: http, port: 8080 }]
      placement: { node: edge-1 }
      probes: { readiness: { http: { path: /health, port: http }, ${probe} } }
    - name: socket
      engine: process
      command: [node, ${gated}]
      env: { GATE: listen }
      ports: [{ name: raw, port: 9000 }]
      placement: { node: edge-1 }
      probes: { readiness: { tcp: { port: raw }, ${probe} } }
    - name: hanger
      engine: process
      command: [sh, -c, 'rm -f up hung; until [ -e start ]; do sleep 0.05; done; : > up; exec sleep 1000']
      placement: { node: edge-1 }
      probes:
        startup: { exec: { command: [test, -e, up] }, periodMs: 100, failureThreshold: 300 }
        liveness: { exec: { command: [sh, -c, 'if [ -e hung ]; then echo it hangs; exit 1; fi'] }, ${probe} }
    - name: follower
      engine: process
      command: [sleep, '1000']
      placement: { node: edge-1 }
      dependsOn: [web]
    - name: once
      engine: process
      command: [sh, -c, 'until [ -e finish ]; do sleep 0.05; done; exit 7']
      restart: never
      placement: { node: edge-1 }
${more}`;

const extra = `
    - name: extra
      engine: process
      command: [sleep, '1000']
      placement: { node: edge-1 }`;

const looper = `
    - name: looper
      engine: process
      command: [sh, -c, 'exit 5']
      placement: { node: edge-1 }`;

const isThere = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** What a test does to `lives` on `edge-1`. */
function lives(fabric: Fabric) {
  const edge = fabric.edges[0] as FabricNode;
  const folder = (microservice: string): string =>
    join(edge.dataFolder, 'instances', `default.lives.${microservice}.0`);
  return {
    edge,
    folder,
    file: (microservice: string, name: string) => join(folder(microservice), name),
    /** As the controller sees it: what it shows has come by replication. */
    until: async (microservice: string, what: string, holds: (instance: InstanceView) => boolean) =>
      instanceOf(
        await fabric.application('lives', (view) => holds(instanceOf(view, microservice)), `${microservice} ${what}`),
        microservice,
      ),
    identities: async (microservices: readonly string[]) =>
      Promise.all(microservices.map(async (name) => identityOf((await edge.instance(name)).pid))),
    /** Each state that the daemon told of an instance, without repetitions. */
    states: (microservice: string): string[] =>
      edge.daemon.events
        .filter((event) => event.type === 'instance' && event['instance'] === `default.lives.${microservice}.0`)
        .map((event) => String(event['state']))
        .filter((state, index, all) => state !== all[index - 1]),
  };
}

/** The same identities, looked up again. */
const stillThere = (identities: readonly string[]): Promise<string[]> =>
  Promise.all(identities.map((identity) => identityOf(Number.parseInt(identity, 10))));

const isReady = ({ ready }: InstanceView): boolean => ready;
const isUnready = ({ state, ready }: InstanceView): boolean => state === 'running' && !ready;

test('instances crash, wait for readiness, are replaced and removed, and outlive their daemon', async (t) => {
  const step = tell(t);
  const fabric = await step('a controller and an edge node', () => createFabric(t, { edges: 1 }));
  const { edge, until, file, folder, states, identities } = lives(fabric);
  const { peerId } = (await edge.status()).nodes[0] ?? {};

  await step('what crashes backs off and runs again', async () => {
    await fabric.apply(manifest(1));
    const crasher = await until('crasher', 'runs again', ({ restarts, ready }) => restarts === 1 && ready);
    t.true(await isAlive(crasher.pid as number));
    t.deepEqual(states('crasher'), [
      ...['waiting', 'creating', 'starting', 'running'],
      ...['backingOff', 'waiting', 'creating', 'starting', 'running'],
    ]);
    const backingOff = edge.daemon.events.find((event) => event['state'] === 'backingOff');
    t.regex(backingOff?.message ?? '', /it exited with status 3/);
  });

  await step('http readiness gates traffic and dependants, and is lost again', async () => {
    const shut = await until('web', 'is not ready', (web) => isUnready(web) && /503/.test(web.reason));
    t.true(await isAlive(shut.pid as number));
    const held = await until('follower', 'waits', ({ state, reason }) => state === 'waiting' && /web/.test(reason));
    t.is(held.pid, undefined);
    await writeFile(file('web', 'open'), '');
    await until('web', 'is ready', isReady);
    const follower = await until('follower', 'runs', isReady);
    await rm(file('web', 'open'));
    await until('web', 'is unready again', isUnready);
    await writeFile(file('web', 'open'), '');
    await until('web', 'is ready again', isReady);
    const [web, same] = [await edge.instance('web'), await edge.instance('follower')];
    t.deepEqual([web.pid, web.restarts], [shut.pid, 0], 'an unready instance is not restarted');
    t.deepEqual([same.pid, same.ready], [follower.pid, true], 'a dependant that runs goes on');
  });

  await step('tcp readiness waits for the port', async () => {
    const shut = await until('socket', 'is not ready', (socket) => isUnready(socket) && socket.reason !== '');
    await writeFile(file('socket', 'open'), '');
    t.is((await until('socket', 'is ready', isReady)).pid, shut.pid);
  });

  await step('what hangs is restarted by its liveness probe, which begins when it has started up', async () => {
    const shut = await until(
      'hanger',
      'starts up',
      ({ state, probes }) => state === 'running' && probes?.startup !== undefined,
    );
    t.deepEqual([shut.ready, shut.probes?.startup?.judgement, shut.probes?.liveness], [false, 'failing', undefined]);
    await writeFile(file('hanger', 'start'), '');
    const up = await until('hanger', 'lives', ({ probes }) => probes?.liveness?.judgement === 'passing');
    t.deepEqual([up.pid, up.ready], [shut.pid, true], 'without a readiness probe it is ready once it is up');
    await writeFile(file('hanger', 'hung'), '');
    const restarted = await until('hanger', 'runs again', ({ restarts, ready }) => restarts === 1 && ready);
    t.not(restarted.pid, up.pid);
    t.false(await isAlive(up.pid as number));
    const why = edge.daemon.events.map(({ message }) => message ?? '').filter((message) => /hanger/.test(message));
    t.true(
      why.some((message) => /liveness probe failed 2 times: exit status 1: it hangs/.test(message)),
      why.join('\n'),
    );
  });

  await step('what backs off goes on with its wait under the next daemon, which knows what was before', async () => {
    await fabric.apply(manifest(1, looper));
    const waits = await until('looper', 'backs off', ({ state, restarts }) => state === 'backingOff' && restarts >= 3);
    await edge.daemon.kill('SIGKILL');
    await edge.start();
    const later = await until('looper', 'is known again', ({ restarts }) => restarts >= waits.restarts);
    t.true((later.failures ?? 0) >= (waits.failures ?? Number.NaN), 'its failures are not forgotten');
    t.true(later.restarts <= waits.restarts + 1, 'an end that was counted is not counted again');
    t.true((later.history?.length ?? 0) > 6);
    const seen = new Set(waits.history?.filter(({ state }) => state === 'backingOff').map(({ at }) => at));
    t.true(
      later.history?.some(({ at, state }) => state === 'backingOff' && seen.has(at)),
      'nor is what happened',
    );
    // The controller may tell it before the new daemon has started so far.
    await waitFor(
      'its node to know it',
      async () => (await edge.instance('looper').catch(() => undefined)) !== undefined,
    );
    const { stdout } = await run(process.execPath, [
      ...[program, 'describe', 'instance', 'looper', '--data', edge.dataFolder],
    ]);
    t.regex(stdout, /failures in a row +\d+\n/);
    t.regex(stdout, /^[-\d]+ [:\d]+ \S* *backingOff +it exited with status 5$/m);
    for (const microservice of ['web', 'socket', 'hanger']) await toldReady(edge, microservice);
  });

  await step('a changed spec replaces that instance and no other', async () => {
    const others = ['crasher', 'socket', 'hanger', 'follower', 'once'];
    const [before, old] = [await identities(others), await edge.instance('web')];
    await fabric.apply(manifest(2, extra));
    const web = await until('web', 'is replaced', ({ ready, pid }) => ready && pid !== old.pid);
    t.true(await isAlive(web.pid as number));
    t.false(await isAlive(old.pid as number));
    await until('extra', 'runs', isReady);
    t.deepEqual(await identities(others), before);
  });

  await step('what is no longer wanted is stopped, and nothing of it is left', async () => {
    const { pid } = await edge.instance('extra');
    t.true(await isThere(folder('extra')));
    await fabric.apply(manifest(2));
    await waitFor('extra to be gone', async () => !(await isThere(folder('extra'))));
    t.false(await isAlive(pid as number));
    await waitFor('its observation to be gone', async () =>
      (await fabric.control.status()).nodes.every(({ instances }) =>
        instances.every(({ microservice }) => microservice !== 'extra'),
      ),
    );
  });

  const running = ['crasher', 'socket', 'follower', 'web'];
  const before = await identities(running);
  const once = await edge.instance('once');

  await step('the daemon is killed: instances go on, and one of them ends', async () => {
    t.is(await edge.daemon.kill('SIGKILL'), 'SIGKILL');
    await writeFile(file('once', 'finish'), '');
    await waitFor('once to end', async () => !(await isAlive(once.pid as number)));
    t.deepEqual(await stillThere(before), before);
    await waitFor('the controller to notice', async () => !(await fabric.control.status()).ok);
  });

  await step('a new daemon is the same node, adopts what runs, and knows how the other one ended', async () => {
    await edge.start();
    for (const microservice of running) await toldReady(edge, microservice);
    const done = await until('once', 'is completed', ({ state }) => state === 'completed');
    t.is(done.exit?.status, 7);
    t.deepEqual([done.restarts, done.pid], [0, undefined]);
    t.deepEqual(await identities(running), before);
    t.deepEqual(await Promise.all(running.map(async (name) => (await edge.instance(name)).restarts)), [1, 0, 0, 0]);
    for (const microservice of running) t.deepEqual(states(microservice), ['running'], microservice);
    t.is((await edge.status()).nodes[0]?.peerId, peerId);
    await waitFor('all to be well', async () => (await fabric.control.status()).ok);
    t.deepEqual(problemsOf([edge, fabric.control]), []);
  });

  await step('a daemon that is stopped leaves them running too; what died meanwhile is restarted', async () => {
    t.is(await edge.daemon.kill('SIGTERM'), 'status 0');
    t.deepEqual(await stillThere(before), before);
    const web = Number.parseInt(before.at(-1) ?? '', 10);
    process.kill(web, 'SIGKILL');
    await waitFor('web to be gone', async () => !(await isAlive(web)));
    await edge.start();
    const again = await until('web', 'runs again', ({ ready, restarts }) => ready && restarts === 1);
    t.not(again.pid, web);
    for (const microservice of running) await toldReady(edge, microservice);
    t.deepEqual(await identities(running.slice(0, -1)), before.slice(0, -1));
  });

  await step('an application that is deleted while no daemon runs is stopped by the next', async () => {
    const left = await identities(running);
    await edge.daemon.kill('SIGKILL');
    await fabric.control.daemon.client.deleteApplication('default', 'lives');
    await edge.start();
    for (const microservice of [...running, 'once']) {
      await waitFor(`${microservice} to be gone`, async () => !(await isThere(folder(microservice))));
    }
    for (const identity of left) t.false(await isAlive(Number.parseInt(identity, 10)));
    await waitFor('nothing to be left of it', async () => {
      const { ok, nodes } = await fabric.control.status();
      return ok && nodes.every(({ instances }) => instances.length === 0);
    });
    t.deepEqual(problemsOf([edge, fabric.control]), []);
  });
});

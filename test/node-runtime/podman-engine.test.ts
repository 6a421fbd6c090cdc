// The docker engine against the conformance body on Debian's podman, which speaks Docker's API too, and what differs there.

import { readlink } from 'node:fs/promises';
import test from 'ava';
import type { DockerOptions, WorkloadSpec } from '../../control/plan.ts';
import { launchOf, testEngine } from '../conformance/engine.ts';
import { skip } from '../skip.ts';
import { containersUnderTest, createContainerWorld } from './container-world.ts';
import { busyboxImage } from './dockerd.ts';
import { podmanMissing, startPodman } from './podman.ts';

const missing = await podmanMissing();
const podman = missing === undefined ? await startPodman() : undefined;
test.after.always(() => podman?.close());

/** This file's own: an engine beside it, of another test, knows nothing of the networks that are being made here. */
const range = '10.213.0.0/16';

if (podman === undefined) test('the docker engine on podman', (t) => skip(t, missing ?? ''));
else {
  testEngine(test.serial, 'podman', () => containersUnderTest(podman.host, range));

  test.serial('the next container at an address has the hardware address that its box has learnt of it', async (t) => {
    const world = await createContainerWorld(podman.host, range);
    t.teardown(world.close);
    const launch = launchOf(['/bin/sleep', '1000']);
    const { command, ...common } = launch.spec;
    const launchAs = async (specHash: string): Promise<string[]> => {
      const spec: WorkloadSpec = { ...common, engine: 'docker', image: busyboxImage, command };
      await world.launchAsIs({ ...launch, specHash, spec });
      const id = await podman.docker('ps', '--quiet', '--filter', `label=io.selvedge.instance=${launch.instance}`);
      const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.MacAddress}}{{end}}';
      const [address = '', hardware = ''] = (await podman.docker('inspect', '--format', format, id)).split(' ');
      await world.engine.terminate(launch.instance, 0);
      return [id, address, hardware];
    };
    const [first, second] = [await launchAs('first'), await launchAs('second')];
    t.not(first[0], second[0], 'it is another container');
    t.deepEqual(first.slice(1), second.slice(1));
    t.regex(first.join(' '), / 10\.213\.\S+ 02:42:0a:d5:/);
  });

  test.serial(
    'a container that shares the network of the box reads its names, which change while it runs',
    async (t) => {
      const world = await createContainerWorld(podman.host, range);
      t.teardown(world.close);
      const { engine } = world;
      const launch = launchOf(['/bin/sleep', '1000'], { hosts: [{ address: '127.9.9.9', names: ['server'] }] });
      const options: DockerOptions = { hostNetwork: true, extraHosts: { printer: '192.0.2.7' } };
      const { command, ...common } = launch.spec;
      const spec: WorkloadSpec = { ...common, engine: 'docker', image: busyboxImage, command, ...options };
      t.is(await engine.network(launch.instance, spec), undefined);
      await world.launchAsIs({ ...launch, spec });
      const run = async (...command: string[]): Promise<string> => {
        const how = { signal: AbortSignal.timeout(20_000), outputBytesMax: 10_000 };
        return (await engine.exec(launch.instance, command, how)).output;
      };
      const found = await run('cat', '/etc/hosts');
      t.regex(found, /^192\.0\.2\.7\tprinter\n127\.9\.9\.9\tserver$/m);
      await engine.writeHosts(launch.instance, [{ address: '127.9.9.8', names: ['other'] }]);
      t.is(await run('cat', '/etc/hosts'), found.replace('127.9.9.9\tserver', '127.9.9.8\tother'));
      t.is((await run('readlink', '/proc/self/ns/net')).trim(), await readlink('/proc/self/ns/net'));
    },
  );
}

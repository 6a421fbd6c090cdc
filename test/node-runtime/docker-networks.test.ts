// Networks per application on a real Docker Engine: made and removed, found again. What they keep apart: test/e2e/docker.test.ts.

import test from 'ava';
import type { WorkloadSpec } from '../../control/plan.ts';
import type { DockerClient } from '../../node-runtime/docker-client.ts';
import { createDockerNetworks } from '../../node-runtime/docker-networks.ts';
import type { Engine } from '../../node-runtime/engine.ts';
import { TooManyNetworksError } from '../../node-runtime/errors.ts';
import { DOCKER_NETWORKS_MAX } from '../../node-runtime/limits.ts';
import { launchOf } from '../conformance/engine.ts';
import { skip } from '../skip.ts';
import { createContainerWorld } from './container-world.ts';
import { busyboxImage, type Dockerd, dockerMissing, startDockerd } from './dockerd.ts';

const missing = await dockerMissing();
const dockerd: Dockerd | undefined = missing === undefined ? await startDockerd() : undefined;
test.after.always(() => dockerd?.close());

/** This file's own: an engine beside it, of another test, knows nothing of the networks that are being made here. */
const range = '10.217.0.0/16';
const { spec } = launchOf(['unused']);
const docker: WorkloadSpec = { ...spec, engine: 'docker', image: busyboxImage };

test('a node has only so many networks, and says so; one that is left makes room', async (t) => {
  const made = new Map<string, object>();
  const client = {
    network: async (name: string) => made.get(name),
    networks: async () => [...made.keys()],
    createNetwork: async (options: { Name: string }) => void made.set(options.Name, options),
    removeNetwork: async (name: string) => void made.delete(name),
  } as unknown as DockerClient;
  const owner = { fabricId: 'f'.repeat(52), node: 'box' };
  const networks = createDockerNetworks({
    ...{ docker: () => client, owner: () => owner, range: '198.18.0.0/15', onGone: async () => undefined },
  });
  for (let number = 0; number < DOCKER_NETWORKS_MAX; number++) await networks.join(`default.app-${number}.web.0`);
  await t.throwsAsync(networks.join('default.more.web.0'), { instanceOf: TooManyNetworksError });
  await networks.join('default.app-3.other.0');
  await networks.leave('default.app-3.web.0');
  await t.throwsAsync(networks.join('default.more.web.0'), { instanceOf: TooManyNetworksError });
  await networks.leave('default.app-3.other.0');
  t.is((await networks.join('default.more.web.0')).name, `selvedge-${'f'.repeat(12)}-box-default.more`);
});

if (dockerd === undefined) test('networks of containers', (t) => skip(t, missing ?? ''));
else {
  const namesOf = async (node: string): Promise<string[]> => {
    const names = await dockerd.docker(
      ...['network', 'ls', '--format', '{{.Name}}', '--filter', `label=io.selvedge.node=${node}`],
    );
    return names.split('\n').filter((name) => name !== '');
  };
  const run = async (engine: Engine, instance: string, ...command: string[]): Promise<string> => {
    const how = { signal: AbortSignal.timeout(20_000), outputBytesMax: 10_000 };
    return (await engine.exec(instance, command, how)).output.trim();
  };
  const remove = async (engine: Engine, instance: string): Promise<void> => {
    await engine.terminate(instance, 0);
    await engine.remove(instance);
  };

  test.serial('each application has a network with names of its own, until its last instance is gone', async (t) => {
    const world = await createContainerWorld(dockerd.host, range);
    t.teardown(world.close);
    const { engine, owner } = world;
    const prefix = `selvedge-${owner.fabricId.slice(0, 12)}-${owner.node}`;
    const instances = ['default.one.web.0', 'default.one.web.1', 'default.two.web.0', 'other.one.web.0'];
    for (const [index, instance] of instances.entries()) {
      const before = performance.now();
      await engine.network(instance, docker);
      t.log(`${instance}: ${Math.round(performance.now() - before)} ms for its network`);
      const hosts = [{ address: `10.217.9.${index}`, names: ['server'] }];
      await engine.launch(launchOf(['/bin/sleep', '1000'], { instance, hosts }));
    }
    const names = ['default.one', 'default.two', 'other.one'].map((application) => `${prefix}-${application}`);
    t.deepEqual((await namesOf(owner.node)).sort(), names);
    const served = await Promise.all(instances.map((instance) => engine.network(instance, docker)));
    t.is(new Set(served.map((network) => network?.serviceRange)).size, 3);
    for (const [index, instance] of instances.entries())
      t.regex(
        await run(engine, instance, 'nslookup', '-type=a', 'server'),
        new RegExp(`10\\.217\\.9\\.${index}$`, 'm'),
      );

    await engine.stop();
    const next = await world.adopt();
    t.deepEqual(await Promise.all(instances.map((instance) => next.network(instance, docker))), served);
    await remove(next, 'default.one.web.0');
    await remove(next, 'other.one.web.0');
    t.deepEqual((await namesOf(owner.node)).sort(), names.slice(0, 2));
    await remove(next, 'default.one.web.1');
    t.deepEqual(await namesOf(owner.node), names.slice(1, 2));
    const again = await next.network('default.one.web.0', docker);
    t.deepEqual(again, served[0], 'the same one again');
  });

  test.serial('what runs on the one network of an earlier version goes on there until it is replaced', async (t) => {
    const world = await createContainerWorld(dockerd.host, range);
    t.teardown(world.close);
    const { engine, owner } = world;
    const instance = 'default.app.web.0';
    const former = `selvedge-${owner.fabricId.slice(0, 12)}-${owner.node}`;
    const labels = { fabric: owner.fabricId, node: owner.node };
    const labelled = (more: Record<string, string>): string[] =>
      Object.entries({ ...labels, ...more }).flatMap(([key, value]) => ['--label', `io.selvedge.${key}=${value}`]);
    const subnet = ['--subnet', '10.217.240.0/21', '--gateway', '10.217.240.1'];
    await dockerd.docker('network', 'create', ...subnet, ...labelled({ services: '10.217.248.0/21' }), former);
    await dockerd.docker(
      ...['run', '--detach', '--name', `${former}-${instance}`, '--network', former, '--ip', '10.217.240.9'],
      ...[...labelled({ instance, spec: 'hash', variables: '' }), busyboxImage, 'sleep', '1000'],
    );
    await engine.stop();
    const next = await world.adopt();
    const network = { address: '10.217.240.9', serviceRange: '10.217.248.0/21' };
    t.deepEqual(await next.network(instance, docker), network);
    await next.writeHosts(instance, [{ address: '10.217.248.9', names: ['server'] }]);
    t.regex(await run(next, instance, 'nslookup', '-type=a', 'server', '10.217.240.1'), /10\.217\.248\.9/);
    await next.network('default.app.other.0', docker);
    t.deepEqual((await namesOf(owner.node)).sort(), [former, `${former}-default.app`]);
    await next.terminate(instance, 0);
    await next.launch(launchOf(['/bin/sleep', '1000'], { instance }));
    t.notDeepEqual(await next.network(instance, docker), network);
    t.deepEqual(await namesOf(owner.node), [`${former}-default.app`]);
  });
}

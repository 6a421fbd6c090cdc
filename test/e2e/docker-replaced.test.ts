// An engine that is replaced by an empty one on the same socket while an instance runs, and then comes back. A real daemon and real
// engines of the test's own. Numbered steps of one story.

import test from 'ava';
import { busyboxImage, dockerMissing, startDockerd } from '../node-runtime/dockerd.ts';
import { skip } from '../skip.ts';
import { createFabric, instanceOf, waitFor } from './fabric.ts';
import { tell } from './story.ts';

const manifest = `
apiVersion: selvedge/v1
kind: Application
metadata: { name: shop }
spec:
  microservices:
    - { name: web, engine: docker, image: ${busyboxImage}, command: [sleep, '100000'], pullPolicy: never }
    - { name: beside, engine: process, command: [sleep, '100000'] }
`;

const missing = await dockerMissing();

test('an empty engine in the place of another: the instance is made anew; the other comes back: there is one', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const dockerd = await step('a Docker Engine', () => startDockerd());
  t.teardown(() => dockerd.close());
  const { docker } = dockerd;
  const fabric = await step('a node that runs a container and a program', async () => {
    const made = await createFabric(t, {
      edges: 0,
      options: ['--container-range', '10.218.0.0/16'],
      envOf: () => ({ DOCKER_HOST: dockerd.host }),
    });
    await waitFor('its engine', async () => (await made.control.status()).nodes[0]?.engines.includes('docker'));
    await made.apply(manifest);
    await made.ready('shop');
    return made;
  });
  const { client } = fabric.control.daemon;
  const see = async (name: string) => instanceOf(await client.application('default', 'shop'), name);
  const all = async (): Promise<string[]> => {
    const own = 'label=io.selvedge.instance=default.shop.web.0';
    const ids = await docker('ps', '--all', '--quiet', '--no-trunc', '--filter', own);
    return ids.split('\n').filter((id) => id !== '');
  };
  const [first] = await all();
  const { pid: program } = await see('beside');
  t.truthy(first);

  await step('the engine goes: it is said', async () => {
    await dockerd.stop();
    await waitFor('the state to say so', async () => /docker cannot be used/.test((await see('web')).reason));
  });

  await step('an empty one comes: what it lacks is said, and it is made anew once it can be', async () => {
    await dockerd.start({ data: 'other' });
    t.deepEqual(await all(), []);
    await waitFor('why it does not run', async () => /not on this node/.test((await see('web')).reason));
    await dockerd.importImage();
    await waitFor('it to run', async () => (await see('web')).ready);
    t.is((await all()).length, 1);
    t.notDeepEqual(await all(), [first]);
  });

  await step('the first one comes back with its old container: one runs, and nothing is left over', async () => {
    await dockerd.stop();
    await waitFor('the state to say so', async () => /docker cannot be used/.test((await see('web')).reason));
    await dockerd.start();
    await waitFor('it to run', async () => {
      const { ready, reason } = await see('web');
      return ready && reason === '';
    });
    t.deepEqual(await all(), [first]);
    t.is(await docker('inspect', '--format', '{{.State.Running}}', first ?? ''), 'true');
    const networks = await docker('network', 'ls', '--quiet', '--filter', 'label=io.selvedge.fabric');
    t.is(networks.split('\n').length, 1);
  });

  await step('what runs on another engine of the node was not touched', async () => {
    const { pid, restarts } = await see('beside');
    t.deepEqual([pid, restarts], [program, 0]);
  });
});

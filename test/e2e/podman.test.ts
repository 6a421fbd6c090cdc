// Containers on Debian's podman under a real daemon: DOCKER_HOST names its socket, and the rest is as with Docker. Numbered steps of
// one story.

import test from 'ava';
import { busyboxImage } from '../node-runtime/dockerd.ts';
import { podmanMissing, startPodman } from '../node-runtime/podman.ts';
import { skip } from '../skip.ts';
import { createFabric, instanceOf, toldReady, waitFor } from './fabric.ts';
import { tell } from './story.ts';

const manifest = `
apiVersion: selvedge/v1
kind: Application
metadata: { name: shop }
spec:
  microservices:
    - name: server
      engine: docker
      image: ${busyboxImage}
      command: [sh, -c]
      args: ['mkdir -p /www; echo "hello from podman" > /www/index.html; exec httpd -f -p "$PORT" -h /www']
      ports: [{ name: http, port: 8080 }]
      probes: { readiness: { http: { path: /, port: http }, periodMs: 100 } }
    - name: caller
      engine: docker
      image: ${busyboxImage}
      command: [sleep, '100000']
`;

const missing = await podmanMissing();

test('containers on podman call by name, outlive the daemon and podman’s service', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const podman = await step('a podman service', () => startPodman());
  t.teardown(() => podman.close());
  const { docker } = podman;
  const fabric = await step('a node that offers it as its engine', async () => {
    const made = await createFabric(t, {
      edges: 0,
      options: ['--container-range', '10.214.0.0/16'],
      envOf: () => ({ DOCKER_HOST: podman.host }),
    });
    await waitFor('its engine', async () => (await made.control.status()).nodes[0]?.engines.includes('docker'));
    return made;
  });
  const containerOf = (microservice: string): Promise<string> =>
    docker('ps', '--quiet', '--no-trunc', '--filter', `label=io.selvedge.instance=default.shop.${microservice}.0`);
  const calls = async (): Promise<void> => {
    const words = '(printf "GET / HTTP/1.0\\r\\n\\r\\n"; sleep 0.2) | nc -w 2 server 8080 | tail -n 1';
    const caller = await containerOf('caller');
    const said = await waitFor('an answer by name', () => docker('exec', caller, 'sh', '-c', words));
    t.is(said, 'hello from podman');
  };
  const before = await step('a container calls another one by name', async () => {
    await fabric.apply(manifest);
    await fabric.ready('shop');
    await calls();
    return containerOf('server');
  });

  await step('another application has a network of its own, which goes with it', async () => {
    const networks = async () =>
      (await docker('network', 'ls', '--quiet', '--filter', 'label=io.selvedge.fabric')).split('\n').length;
    await fabric.apply(manifest.replace('name: shop', 'name: apart'));
    await fabric.ready('apart');
    t.is(await networks(), 2);
    await fabric.control.daemon.client.deleteApplication('default', 'apart');
    await waitFor('its network to be gone', async () => (await networks()) === 1);
  });

  await step('a daemon that is killed finds the same containers', async () => {
    await fabric.control.daemon.kill('SIGKILL');
    await fabric.control.start();
    await toldReady(fabric.control, 'server');
    t.is(await containerOf('server'), before);
    await calls();
  });

  await step('a container that crashes is started again', async () => {
    await docker('kill', before);
    await fabric.application('shop', (view) => instanceOf(view, 'server').restarts === 1, 'it runs again');
    await fabric.ready('shop');
    await calls();
  });

  await step('podman’s service goes and comes back: it is said, and the container runs on', async () => {
    const { client } = fabric.control.daemon;
    const reason = async () => instanceOf(await client.application('default', 'shop'), 'server').reason;
    await podman.stop();
    await waitFor('the state to say so', async () => /docker cannot be used/.test(await reason()));
    await podman.start();
    await waitFor('the state to be well', async () => (await reason()) === '');
    t.is(await containerOf('server'), before);
    t.is(instanceOf(await client.application('default', 'shop'), 'server').restarts, 1);
    await calls();
  });

  await step('what is killed right before the service goes is started once it is back, and counted once', async () => {
    const { client } = fabric.control.daemon;
    const server = async () => instanceOf(await client.application('default', 'shop'), 'server');
    await docker('kill', before);
    await podman.stop();
    // Its end was told before the service was gone, or nobody can say so until it is back: then it is believed to run, and does not answer.
    await waitFor('it to wait for its engine, or not to answer', async () => {
      const { state, reason, ready } = await server();
      return state === 'waiting' ? /docker cannot be used/.test(reason) : !ready;
    });
    await podman.start();
    await fabric.ready('shop');
    t.is((await server()).restarts, 2);
    await calls();
  });

  await step('nothing is left', async () => {
    await fabric.control.daemon.client.down(true);
    await fabric.control.daemon.ended;
    t.is(await docker('ps', '--all', '--quiet'), '');
    t.is(await docker('network', 'ls', '--quiet', '--filter', 'label=io.selvedge.fabric'), '');
  });
});

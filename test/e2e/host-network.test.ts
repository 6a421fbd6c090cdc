// Containers that share the network of their box, under a real daemon and a real Docker Engine. Numbered steps of one story.

import test from 'ava';
import { busyboxImage, dockerMissing, startDockerd } from '../node-runtime/dockerd.ts';
import { skip } from '../skip.ts';
import { createFabric, type FabricNode, instanceOf, toldReady, waitFor } from './fabric.ts';
import { tell } from './story.ts';

const microservice = (name: string, more: string): string => `
    - name: ${name}
      engine: docker
      image: ${busyboxImage}
      hostNetwork: true
      ${more}`;
const serves = (name: string): string =>
  microservice(
    name,
    `command: [sh, -c]
      args: ['mkdir -p /www; echo "hello from ${name}" > /www/index.html; exec httpd -f -p "$HOST:$PORT" -h /www']
      ports: [{ name: http, port: 8080 }]
      probes: { readiness: { http: { path: /, port: http }, periodMs: 100 } }`,
  );
const manifest = (...servers: string[]): string => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: near }
spec:
  microservices:${servers.map(serves).join('')}${microservice(
    'caller',
    `command: [sleep, '100000']
      extraHosts: { printer: 192.0.2.7 }`,
  )}
`;

const missing = await dockerMissing();

test('containers that share the network of the box: called, calling by name, refused without leave', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const dockerd = await step('a Docker Engine', () => startDockerd());
  t.teardown(() => dockerd.close());
  const { docker } = dockerd;
  const fabric = await createFabric(t, {
    edges: 1,
    options: ['--container-range', '10.216.0.0/16'],
    edgeOptions: ['--allow', 'host-network'],
    envOf: () => ({ DOCKER_HOST: dockerd.host }),
  });
  await waitFor('its engine', async () =>
    (await fabric.control.status()).nodes.every(({ engines }) => engines.includes('docker')),
  );
  const { client } = fabric.control.daemon;
  const [edge] = fabric.edges as [FabricNode];
  const pinned = (node: string, text: string): string =>
    text.replaceAll('hostNetwork: true', `hostNetwork: true\n      placement: { node: ${node} }`);
  const view = (name: string) => client.application('default', 'near').then((found) => instanceOf(found, name));
  const inside = async (name: string, ...words: string[]): Promise<string> => {
    const label = `label=io.selvedge.instance=default.near.${name}.0`;
    return docker('exec', await docker('ps', '--quiet', '--filter', label), ...words);
  };
  const calls = (name: string): Promise<string> =>
    waitFor('an answer by name', () =>
      inside(
        'caller',
        'sh',
        '-c',
        `(printf "GET / HTTP/1.0\\r\\n\\r\\n"; sleep 0.2) | nc -w 2 ${name} 8080 | tail -n 1`,
      ),
    );

  await step('a node that does not allow it says so, and starts nothing', async () => {
    await fabric.apply(pinned('control', manifest('server')));
    const { reason } = await waitFor('the refusal', async () => {
      const found = await view('server');
      return found.state === 'failed' ? found : undefined;
    });
    t.regex(reason, /does not allow the network of its box in a container; `selvedge up --allow host-network`/);
    t.is(await docker('ps', '--all', '--quiet'), '');
  });

  await step('where it is allowed, one serves at 127.0.0.1 and another one calls it by name', async () => {
    await fabric.apply(pinned('edge-1', manifest('server')));
    await fabric.ready('near');
    t.is((await view('server')).addresses?.[0]?.host, '127.0.0.1');
    t.is(await calls('server'), 'hello from server');
    const env = await inside('caller', 'env');
    t.regex(env, /^SELVEDGE_ADDRESSES=.*127\./m);
    t.regex(await inside('caller', 'cat', '/etc/hosts'), /^192\.0\.2\.7\tprinter$/m);
    t.is(await docker('network', 'ls', '--quiet', '--filter', 'label=io.selvedge.fabric'), '', 'no bridge');
  });

  await step('a service that comes later has a name in what runs already', async () => {
    const before = (await view('caller')).pid;
    await fabric.apply(pinned('edge-1', manifest('server', 'later')));
    await fabric.ready('near');
    t.is(await calls('later'), 'hello from later');
    t.is((await view('caller')).pid, before);
  });

  await step('one that crashes runs again, with the names that it had', async () => {
    for (const name of ['server', 'caller']) {
      const label = `label=io.selvedge.instance=default.near.${name}.0`;
      await docker('kill', await docker('ps', '--quiet', '--filter', label));
      await fabric.application('near', (found) => instanceOf(found, name).restarts === 1, `${name} runs again`);
    }
    await fabric.ready('near');
    t.is(await calls('server'), 'hello from server');
    t.regex(await inside('caller', 'cat', '/etc/hosts'), /^192\.0\.2\.7\tprinter$/m);
  });

  await step('a daemon that is killed finds the same containers', async () => {
    const { pid } = await view('server');
    await edge.daemon.kill('SIGKILL');
    await edge.start();
    await toldReady(edge, 'server');
    t.is((await edge.instance('server')).pid, pid);
    t.is(await calls('server'), 'hello from server');
  });
});

// Containers under real daemons and a real Docker Engine: the example as containers, calls by name between containers and
// processes of several nodes, daemons and engines that die and come back. One node has no Docker.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import type { InstanceView } from '../../control/views.ts';
import { busyboxImage, dockerMissing, serviceRoutes, startDockerd } from '../node-runtime/dockerd.ts';
import { skip } from '../skip.ts';
import { program } from './daemon.ts';
import { createFabric, type FabricNode, instanceOf, toldReady, waitFor } from './fabric.ts';
import { tell } from './story.ts';

const run = promisify(execFile);
const example = fileURLToPath(new URL('../../examples/cold-chain/', import.meta.url));
const fetchForEver = `
const ask = async () => {
  try { console.log((await (await fetch('http://server:8080/', { signal: AbortSignal.timeout(2000) })).text()).trim()); }
  catch (error) { console.log('failed', error.message); }
  setTimeout(ask, 200);
};
ask();`;

/** Of busybox: its wget is of no use without the C library's files. */
const get = (host: string): string =>
  `(printf "GET / HTTP/1.0\\r\\n\\r\\n"; sleep 0.1) | nc -w 2 ${host} 8080 | tail -n 1`;

/** `server` is a container; `caller`, a process, and `prober`, a container, call it by name from two other nodes. */
const manifest = (version: number): string => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: mixed }
spec:
  microservices:
    - name: server
      engine: docker
      image: ${busyboxImage}
      command: [sh, -c]
      args: ['mkdir -p /www; echo "version ${version}" > /www/index.html; exec httpd -f -p "$PORT" -h /www']
      ports: [{ name: http, port: 8080 }]
      placement: { node: edge-1 }
      probes: { readiness: { http: { path: /, port: http }, periodMs: 50, failureThreshold: 2 } }
    - name: caller
      engine: process
      command: [node, -e, ${JSON.stringify(fetchForEver)}]
      placement: { node: edge-2 }
    - name: prober
      engine: docker
      image: ${busyboxImage}
      command:
        - sh
        - -c
        - 'cat /selvedge/configs/greeting/text; echo; while :; do ${get('server')} || echo failed; sleep 0.2; done'
      configs: [greeting]
      placement: { node: control }
---
apiVersion: selvedge/v1
kind: Config
metadata: { name: greeting }
spec: { files: { text: { text: "hello from a config" } } }
`;

const missing = await dockerMissing();

test('containers call and are called by name, outlive daemons, and follow their plan', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const dockerd = await step('a Docker Engine', () => startDockerd({ packetFilter: true }));
  t.teardown(() => dockerd.close());
  const { docker } = dockerd;
  const bystander = await docker(
    'run',
    '--detach',
    '--restart',
    'always',
    '--network',
    'none',
    busyboxImage,
    'sleep',
    '1000',
  );

  const fabric = await step('three nodes, two of them with Docker', async () => {
    const made = await createFabric(t, {
      edges: 2,
      options: ['--container-range', '10.215.0.0/16'],
      envOf: (node): Record<string, string> => (node === 'edge-2' ? {} : { DOCKER_HOST: dockerd.host }),
    });
    await waitFor('the controller to know their engines', async () => {
      const { nodes } = await made.control.status();
      const withDocker = nodes.filter(({ engines }) => engines.includes('docker')).map(({ name }) => name);
      const withPrograms = nodes.filter(({ engines }) => engines.includes('process'));
      return withDocker.sort().join() === 'control,edge-1' && withPrograms.length === 3;
    });
    t.is(await docker('network', 'ls', '--quiet', '--filter', 'label=io.selvedge.fabric'), '', 'no network before use');
    return made;
  });
  const { client } = fabric.control.daemon;
  const edge = fabric.edges[0] as FabricNode;

  /** By the microservice: the container that Docker has of it, which is one. */
  const containerOf = async (microservice: string): Promise<string> => {
    const label = `label=io.selvedge.instance=default.mixed.${microservice}.0`;
    const ids = (await docker('ps', '--all', '--quiet', '--no-trunc', '--filter', label)).split('\n');
    t.is(ids.length, 1);
    return ids[0] ?? '';
  };
  const isReady = async (microservice: string, what: string, holds: (view: InstanceView) => boolean = () => true) =>
    instanceOf(
      await fabric.application(
        'mixed',
        (view) => instanceOf(view, microservice).ready && holds(instanceOf(view, microservice)),
        `${microservice} ${what}`,
      ),
      microservice,
    );
  /** A line that a workload has printed, or prints. */
  const said = async (microservice: string, wanted: RegExp): Promise<string> => {
    const late = AbortSignal.timeout(30_000);
    const heard: string[] = [];
    for await (const { text } of client.logs(`default.mixed.${microservice}.0`, { tail: 3, follow: true }, late)) {
      if (wanted.test(text)) return text;
      heard.push(text);
    }
    const how = late.aborted ? 'in time' : 'before its log ended';
    throw new Error(
      `${microservice} did not say ${wanted} ${how}, but ${heard.length} lines, last ${JSON.stringify(heard.slice(-5))}`,
    );
  };

  /** What busybox's own resolver prints in the container; it reads no hosts file. */
  const ask = async (container: string, name: string): Promise<string> =>
    docker('exec', container, 'sh', '-c', `nslookup -type=a ${name} 2>&1 || true`);
  const addressIn = (said: string): string => /^Name:.*\nAddress:\s+(\S+)$/m.exec(said)?.[1] ?? '';

  await step('the example runs as containers', async () => {
    const env = { ...process.env, DOCKER_HOST: dockerd.host, DOCKER_BUILDKIT: '0', NODE: process.execPath };
    await run('sh', [`${example}docker/build.sh`], { env, maxBuffer: 16 * 1024 * 1024 });
    const words = ['apply', `${example}app-docker.yaml`, '--data', fabric.control.dataFolder];
    await run(process.execPath, [program, ...words]);
    const view = await fabric.ready('cold-chain');
    for (const { node, engine } of view.instances) t.true(engine === 'docker' && node !== 'edge-2');
    const [address] = instanceOf(view, 'dashboard').addresses ?? [];
    const state = await waitFor('readings on the dashboard', async () => {
      const answer = await fetch(`http://${address?.host}:${address?.hostPort}/api`);
      const api = (await answer.json()) as { readings: number; sensorNode: string; problems: string[] };
      return api.readings > 0 ? api : undefined;
    });
    t.is(state.sensorNode, 'edge-1');
    await client.deleteApplication('default', 'cold-chain');
  });

  await step('a process and a container call a container on another node by name', async () => {
    await fabric.apply(manifest(1));
    await isReady('server', 'is ready');
    await said('caller', /^version 1$/);
    await said('prober', /^version 1$/);
    t.regex(await docker('logs', await containerOf('prober')), /^hello from a config/);
  });

  await step('a container has few rights, and its files are for reading', async () => {
    const id = await containerOf('prober');
    const [facts] = JSON.parse(await docker('inspect', id)) as [
      {
        Name: string;
        Config: { Labels: Record<string, string>; Env: string[] };
        HostConfig: { CapDrop: string[]; SecurityOpt: string[]; RestartPolicy: { Name: string } };
      },
    ];
    t.deepEqual(facts.HostConfig.CapDrop, ['NET_RAW']);
    t.deepEqual(facts.HostConfig.SecurityOpt, ['no-new-privileges']);
    t.is(facts.HostConfig.RestartPolicy.Name, 'no');
    t.is(facts.Config.Labels['io.selvedge.node'], 'control');
    t.regex(facts.Name, /^\/selvedge-[a-z2-7]{12}-control-default\.mixed\.prober\.0$/);
    t.true(facts.Config.Env.includes('SELVEDGE_MICROSERVICE=prober'));
    await t.throwsAsync(docker('exec', id, 'touch', '/selvedge/configs/x'), { message: /Read-only/ });
    await t.throwsAsync(docker('exec', id, 'ping', '-c', '1', '127.0.0.1'), {
      message: /permission denied|not permitted/i,
    });
    t.regex(await docker('exec', id, 'cat', '/selvedge/identity/certificate.pem'), /BEGIN CERTIFICATE/);
  });

  await step('names are answered by the node: known ones, unknown ones, and other containers’', async () => {
    const prober = await containerOf('prober');
    const address = addressIn(await ask(prober, 'server'));
    t.regex(address, /^10\.215\./);
    for (const name of ['server.mixed', 'server.mixed.default']) t.is(addressIn(await ask(prober, name)), address);
    for (const name of ['servr', 'other.mixed.default']) t.regex(await ask(prober, name), /NXDOMAIN/);
    const server = await containerOf('server');
    t.regex(await ask(server, 'prober'), /NXDOMAIN/, 'what serves no port has no name');
    const [network = ''] = (
      await docker('inspect', '--format', '{{range $k, $v := .NetworkSettings.Networks}}{{$k}}{{end}}', prober)
    ).split('\n');
    const gateway = await docker('network', 'inspect', '--format', '{{(index .IPAM.Config 0).Gateway}}', network);
    t.is(addressIn(await ask(prober, `server ${gateway}`)), address, 'with a resolver of its own');
    const foreign = await docker('run', '--detach', '--network', network, busyboxImage, 'sleep', '1000');
    t.regex(await ask(foreign, `server ${gateway}`), /timed out/, 'a container that is not the fabric’s');
    await docker('rm', '--force', foreign);
  });

  await step(
    'a service that comes later has a name in what runs already, and another application’s has none',
    async () => {
      const [prober, bystanders] = [await containerOf('prober'), await containerOf('server')];
      t.regex(await ask(prober, 'later'), /NXDOMAIN/);
      const later = (name: string, microservices: string) => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: ${name} }
spec:
  microservices:
${microservices}`;
      const added = `    - { name: later, engine: docker, image: ${busyboxImage}, command: [sleep, '1000'], ports: [{ name: http, port: 81 }], placement: { node: edge-1 } }\n`;
      const [mixed = '', config = ''] = manifest(1).split('---\n');
      await fabric.apply(`${mixed.trimEnd()}\n${added}---\n${config}`);
      await fabric.apply(later('apart', added));
      const address = await waitFor('the name of the new service', async () => addressIn(await ask(prober, 'later')));
      t.regex(address, /^10\.215\./);
      await fabric.ready('apart');
      t.is(addressIn(await ask(prober, 'later.apart.default')), '');
      const { host = '' } = instanceOf(await client.application('default', 'apart'), 'later').addresses?.[0] ?? {};
      const apart = await docker('ps', '--quiet', '--filter', 'label=io.selvedge.instance=default.apart.later.0');
      await docker('exec', '--detach', apart, 'httpd', '-f', '-p', '8080', '-h', '/selvedge/identity');
      const read = get(host).replace('GET / ', 'GET /certificate.pem ');
      t.regex(await waitFor('its own answer', () => docker('exec', apart, 'sh', '-c', read)), /END CERTIFICATE/);
      for (const other of [prober, bystanders])
        t.is(await docker('exec', other, 'sh', '-c', read), '', 'past the service network, of another application');
      t.deepEqual([await containerOf('prober'), await containerOf('server')], [prober, bystanders]);
      await client.deleteApplication('default', 'apart');
      await fabric.apply(manifest(1));
      await waitFor('the name to be gone', async () => /NXDOMAIN/.test(await ask(prober, 'later')));
    },
  );

  await step('nobody else may use its service addresses, nor reach it past the service network', async () => {
    const prober = await containerOf('prober');
    const [network = ''] = (
      await docker('inspect', '--format', '{{range $k, $v := .NetworkSettings.Networks}}{{$k}}{{end}}', prober)
    ).split('\n');
    const address = addressIn(await ask(prober, 'server'));
    const call = ['sh', '-c', get(address)];
    t.is(await docker('exec', prober, ...call), 'version 1');
    t.is(await docker('run', '--rm', '--network', network, busyboxImage, ...call), '', 'another container');
    await t.throwsAsync(fetch(`http://${address}:8080/`), undefined, 'the node itself');
    await docker('exec', '--detach', prober, 'httpd', '-f', '-p', '8080', '-h', '/selvedge/configs/greeting');
    const own = (await docker('exec', prober, 'hostname', '-i')).trim();
    const direct = ['sh', '-c', get(own).replace('GET / ', 'GET /text ')];
    t.is(await waitFor('its own answer', () => docker('exec', prober, ...direct)), 'hello from a config');
    t.is(await docker('run', '--rm', '--network', network, busyboxImage, ...direct), '', 'past it, on one bridge');
    const server = instanceOf(await client.application('default', 'mixed'), 'server').addresses?.[0]?.host ?? '';
    t.is(await docker('exec', prober, 'sh', '-c', get(server)), '', 'past the service network');
  });

  const first = await containerOf('server');
  await step('another specification replaces the container', async () => {
    await fabric.apply(manifest(2));
    await said('caller', /^version 2$/);
    await said('prober', /^version 2$/);
    await isReady('server', 'is ready again');
    t.not(await containerOf('server'), first);
  });

  await step('a daemon that is killed finds the same containers', async () => {
    const before = await containerOf('server');
    const { pid } = await isReady('server', 'runs');
    await edge.daemon.kill('SIGKILL');
    await edge.start();
    await toldReady(edge, 'server');
    t.is(await containerOf('server'), before);
    t.is((await edge.instance('server')).pid, pid);
    await said('prober', /^version 2$/);
  });

  await step('a container that crashes is started again, with back-off', async () => {
    const before = await containerOf('server');
    await docker('kill', before);
    const { restarts } = await isReady('server', 'runs again', (view) => view.restarts > 0);
    t.is(restarts, 1);
    t.is(await containerOf('server'), before, 'with what it had written');
    await said('caller', /^version 2$/);
  });

  await step('Docker goes and comes back: it is said, nothing is moved, all runs again', async () => {
    await dockerd.stop();
    await waitFor('the state to say so', async () => {
      const { reason } = instanceOf(await client.application('default', 'mixed'), 'server');
      return /docker cannot be used/.test(reason);
    });
    await dockerd.start();
    const { node } = await isReady('server', 'runs again', ({ reason }) => reason === '');
    t.is(node, 'edge-1');
    await isReady('prober', 'runs again', ({ reason }) => reason === '');
    await said('caller', /^version 2$/);
  });

  const routes = await serviceRoutes(docker);
  await step('what was deleted while no daemon looked is removed', async () => {
    await edge.daemon.kill('SIGKILL');
    await client.deleteApplication('default', 'mixed');
    await edge.start();
    await waitFor('its containers to be gone', async () => {
      return (await docker('ps', '--all', '--quiet', '--filter', 'label=io.selvedge.fabric')) === '';
    });
    t.is(
      (await docker('inspect', '--format', '{{.State.Running}}', bystander)).trim(),
      'true',
      'others are not touched',
    );
  });

  await step('nothing is left on the box', async () => {
    t.true(routes.length > 0);
    for (const node of [fabric.control, ...fabric.edges]) {
      await node.daemon.client.down(true);
      await node.daemon.ended;
    }
    t.is(await docker('network', 'ls', '--quiet', '--filter', 'label=io.selvedge.fabric'), '');
    const { stdout } = await run('ip', ['-4', 'route', 'show', 'table', 'local']);
    for (const route of routes) t.false(stdout.includes(route), route);
  });
});

// UDP services under real daemons: a name server that runs as a program on one node, asked by name from a program and from a container of
// another one, and through a router. All ask as they would any name server. One after the other: each has daemons of its own.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { parse } from 'yaml';
import { createNamespaces, namespacesMissing } from '../mesh/namespaces.ts';
import { busyboxImage, dockerMissing, startDockerd } from '../node-runtime/dockerd.ts';
import { skip } from '../skip.ts';
import { type Daemon, startDaemon } from './daemon.ts';
import { createFabric, type FabricNode, instanceOf, toldReady, waitFor } from './fabric.ts';
import { tell } from './story.ts';

const workload = (name: string): string => fileURLToPath(new URL(`workloads/${name}.js`, import.meta.url));

const manifest = (port: number, callers: string, node = 'edge-1'): string => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: names }
spec:
  microservices:
    - name: resolver
      engine: process
      command: [node, ${workload('resolver')}]
      ports: [{ name: dns, port: ${port}, protocol: udp }, { name: dns-tcp, port: ${port} }]
      placement: { node: ${node} }
      probes: { readiness: { tcp: { port: dns-tcp }, periodMs: 200 } }
${callers}`;

const program = (node = 'control'): string => `
    - name: client
      engine: process
      command: [node, ${workload('lookup')}]
      placement: { node: ${node} }
      dependsOn: [resolver]
`;

const container = `
    - name: client
      engine: docker
      image: ${busyboxImage}
      command: [sh, -c, 'while :; do nslookup -type=a probe.test resolver; sleep 0.2; done']
      placement: { node: control }
      dependsOn: [resolver]
`;

/** The client's last lines, with their times. */
async function lines(control: Pick<FabricNode, 'daemon'>): Promise<{ at: number; text: string }[]> {
  const heard: { at: number; text: string }[] = [];
  const query = { tail: 5, follow: false };
  for await (const { at = 0, text } of control.daemon.client.logs('default.names.client.0', query))
    heard.push({ at, text });
  return heard;
}

/** A line that the client has said later than that. */
async function said(
  t: ExecutionContext,
  control: Pick<FabricNode, 'daemon'>,
  wanted: RegExp,
  since = 0,
): Promise<void> {
  await waitFor(`the client to say ${wanted}`, async () => {
    const heard = await lines(control);
    if (heard.some(({ at, text }) => at > since && wanted.test(text))) return true;
    throw new Error(JSON.stringify(heard));
  });
  t.pass();
}

const missing = await dockerMissing();
const apart = namespacesMissing();
/** A daemon that has not ended its workloads by then is killed. */
const endMs = 30_000;

/** A daemon in a box of its own, ended with its workloads when the test ends. */
function boxes(t: ExecutionContext) {
  const daemons: Daemon[] = [];
  const folder = mkdtemp(join(tmpdir(), 'selvedge-udp-'));
  // Before the namespaces: their teardown comes last.
  const namespaces = createNamespaces(t);
  t.teardown(async () => {
    if (!t.passed) for (const daemon of daemons) t.log(daemon.output().slice(-3_000));
    await Promise.all(
      daemons.map(async (daemon) => {
        await daemon.client.down(true).catch(() => undefined);
        const late = setTimeout(() => void daemon.kill('SIGKILL'), endMs);
        await daemon.ended;
        clearTimeout(late);
      }),
    );
    await rm(await folder, { recursive: true, force: true, maxRetries: 5 });
  });
  return {
    namespaces,
    async up(name: string, namespace: string, options: readonly string[], token?: string): Promise<Daemon> {
      const dataFolder = join(await folder, name);
      const daemon = startDaemon({ name, dataFolder, options, namespace, ...(token && { token }) });
      daemons.push(daemon);
      await daemon.answers();
      return daemon;
    },
  };
}

test.serial('datagrams go through a router between two networks that do not reach each other', async (t) => {
  if (apart !== undefined) return skip(t, apart);
  const step = tell(t);
  const { namespaces, up } = boxes(t);
  const [one, two] = [namespaces.lan(), namespaces.lan()];
  const [left, middle, right] = [namespaces.box(), namespaces.box(), namespaces.box()];
  one.attach(left, 'eth0', ['10.1.0.1/24']);
  one.attach(middle, 'eth0', ['10.1.0.254/24']);
  two.attach(middle, 'eth1', ['10.2.0.254/24']);
  two.attach(right, 'eth0', ['10.2.0.1/24']);
  const router = await step('a router that founds, and a node on each of its networks', async () => {
    const founder = await up('middle', middle, ['--found', '--fabric', 'apart']);
    for (const [name, box] of Object.entries({ left, right })) {
      const { token } = await founder.client.createToken({ uses: 1, ttlMs: 600_000, labels: {}, router: 'edge' });
      await (await up(name, box, [], token)).event('linked');
    }
    return founder;
  });
  await step('the client is answered from the other network', async () => {
    await router.client.apply([parse(manifest(5300, program('left'), 'right'))], ['test.yaml']);
    await said(t, { daemon: router }, /^192\.0\.2\.7 by right$/);
  });
});

test.serial('a program asks a name server of another node by UDP, also after both daemons were killed', async (t) => {
  const step = tell(t);
  const fabric = await step('a controller and an edge node', () => createFabric(t, { edges: 1 }));
  const edge = fabric.edges[0] as FabricNode;

  await step('it asks by name, and is answered', async () => {
    await fabric.apply(manifest(5300, program()));
    await fabric.ready('names');
    await said(t, fabric.control, /^192\.0\.2\.7 by edge-1$/);
  });

  await step('services and instances say what is UDP', async () => {
    const service = (await fabric.control.daemon.client.services()).find((one) => one.service === 'resolver');
    t.deepEqual(service?.ports, [
      { name: 'dns', port: 5300, protocol: 'udp' },
      { name: 'dns-tcp', port: 5300 },
    ]);
    const { addresses = [] } = instanceOf(await fabric.ready('names'), 'resolver');
    t.like(addresses, [{ port: 'dns', protocol: 'udp' }, { port: 'dns-tcp' }]);
    t.is(addresses[0]?.hostPort, addresses[1]?.hostPort, 'one number to listen on');
  });

  await step('a killed daemon takes none of it along', async () => {
    for (const [node, microservice] of [
      [fabric.control, 'client'],
      [edge, 'resolver'],
    ] as const) {
      const before = await node.instance(microservice);
      await node.daemon.kill('SIGKILL');
      await node.start();
      await toldReady(node, microservice);
      t.is((await node.instance(microservice)).pid, before.pid);
    }
    const last = (await lines(fabric.control)).at(-1)?.at ?? 0;
    await said(t, fabric.control, /^192\.0\.2\.7 by edge-1$/, last);
  });

  await step('what is no port any more is answered by nobody', async () => {
    const last = (await lines(fabric.control)).at(-1)?.at ?? 0;
    const withoutUdp = manifest(5300, program()).replace(
      `{ name: dns, port: 5300, protocol: udp }`,
      '{ name: dns, port: 5301 }',
    );
    await fabric.apply(withoutUdp);
    await said(t, fabric.control, /^failed: /, last);
  });
});

test.serial('a container asks a name server of another node by UDP, on the port that name servers have', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const dockerd = await step('a Docker Engine', () => startDockerd({ packetFilter: true }));
  t.teardown(() => dockerd.close());
  const fabric = await step('a controller with Docker, and an edge node', async () => {
    const made = await createFabric(t, {
      edges: 1,
      options: ['--container-range', '10.226.0.0/16'],
      envOf: (node): Record<string, string> => (node === 'control' ? { DOCKER_HOST: dockerd.host } : {}),
    });
    await waitFor('the controller to know its engine', async () => {
      const { nodes } = await made.control.status();
      return nodes.some(({ engines }) => engines.includes('docker'));
    });
    return made;
  });
  await step('it asks by name, and is answered', async () => {
    await fabric.apply(manifest(53, container));
    await fabric.ready('names');
    await said(t, fabric.control, /^Address: 192\.0\.2\.7$/);
  });
});

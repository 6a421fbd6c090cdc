// UDP services under real daemons: a name server that runs as a program on one node, asked by name from a program and from a container of
// another one. Both ask as they would any name server.

import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { busyboxImage, dockerMissing, startDockerd } from '../node-runtime/dockerd.ts';
import { skip } from '../skip.ts';
import { createFabric, type Fabric, type FabricNode, instanceOf, toldReady, waitFor } from './fabric.ts';
import { tell } from './story.ts';

const workload = (name: string): string => fileURLToPath(new URL(`workloads/${name}.js`, import.meta.url));

const manifest = (port: number, callers: string): string => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: names }
spec:
  microservices:
    - name: resolver
      engine: process
      command: [node, ${workload('resolver')}]
      ports: [{ name: dns, port: ${port}, protocol: udp }, { name: dns-tcp, port: ${port} }]
      placement: { node: edge-1 }
      probes: { readiness: { tcp: { port: dns-tcp }, periodMs: 200 } }
${callers}`;

const program = `
    - name: client
      engine: process
      command: [node, ${workload('lookup')}]
      placement: { node: control }
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
async function lines({ control }: Fabric): Promise<{ at: number; text: string }[]> {
  const heard: { at: number; text: string }[] = [];
  const query = { tail: 5, follow: false };
  for await (const { at = 0, text } of control.daemon.client.logs('default.names.client.0', query))
    heard.push({ at, text });
  return heard;
}

/** A line that the client has said later than that. */
async function said(t: ExecutionContext, fabric: Fabric, wanted: RegExp, since = 0): Promise<void> {
  await waitFor(`the client to say ${wanted}`, async () => {
    const heard = await lines(fabric);
    if (heard.some(({ at, text }) => at > since && wanted.test(text))) return true;
    throw new Error(JSON.stringify(heard));
  });
  t.pass();
}

const missing = await dockerMissing();

test('a program asks a name server of another node by UDP, also after both daemons have been replaced', async (t) => {
  const step = tell(t);
  const fabric = await step('a controller and an edge node', () => createFabric(t, { edges: 1 }));
  const edge = fabric.edges[0] as FabricNode;

  await step('it asks by name, and is answered', async () => {
    await fabric.apply(manifest(5300, program));
    await fabric.ready('names');
    await said(t, fabric, /^192\.0\.2\.7 by edge-1$/);
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
    const last = (await lines(fabric)).at(-1)?.at ?? 0;
    await said(t, fabric, /^192\.0\.2\.7 by edge-1$/, last);
  });

  await step('what is no port any more is answered by nobody', async () => {
    const last = (await lines(fabric)).at(-1)?.at ?? 0;
    const withoutUdp = manifest(5300, program).replace(
      `{ name: dns, port: 5300, protocol: udp }`,
      '{ name: dns, port: 5301 }',
    );
    await fabric.apply(withoutUdp);
    await said(t, fabric, /^failed: /, last);
  });
});

test('a container asks a name server of another node by UDP, on the port that name servers have', async (t) => {
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
    await said(t, fabric, /^Address: 192\.0\.2\.7$/);
  });
});

// Gateways on real daemons: a service is published, by grants alone, and revoking closes what is open.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { createFabric, waitFor } from './fabric.ts';
import { freePort } from './free-port.ts';
import { tell } from './story.ts';

const workload = (name: string): string => fileURLToPath(new URL(`workloads/${name}.js`, import.meta.url));

const application = `
apiVersion: selvedge/v1
kind: Application
metadata: { name: store }
spec:
  microservices:
    - name: echo
      engine: process
      command: [node, ${workload('echo')}]
      ports: [{ name: echo, port: 80 }]
      placement: { node: edge-1 }
      probes: { readiness: { tcp: { port: echo }, periodMs: 50 } }
`;

async function open(port: number): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

async function echoed(socket: Socket, text: string): Promise<string> {
  socket.write(text);
  const [chunk] = (await once(socket, 'data')) as [Buffer];
  return chunk.toString();
}

test('a TCP service is published to whom a grant names, and closed when it is revoked', async (t) => {
  const step = tell(t);
  const fabric = await step('a controller and two edge nodes', () => createFabric(t, { edges: 2 }));
  const port = await freePort();
  const gateway = (grants: string): string => `
apiVersion: selvedge/v1
kind: Gateway
metadata: { name: echo }
spec:
  on: { nodes: [edge-2] }
  address: 127.0.0.1
  port: ${port}
  protocol: tcp
  to: { application: store, microservice: echo, port: 80 }
  grants: ${grants}
`;
  const gone = (): Promise<boolean> =>
    waitFor('the gateway to let nobody in', async () => {
      const socket = connect({ host: '127.0.0.1', port });
      const [error] = (await Promise.race([once(socket, 'error'), once(socket, 'data'), once(socket, 'close')])) as [
        unknown,
      ];
      socket.destroy();
      return error instanceof Error;
    });

  await step('without a grant it listens and lets nobody in', async () => {
    await fabric.apply(application);
    await fabric.ready('store');
    await fabric.apply(gateway('[]'));
    await waitFor('the gateway to listen', async () => {
      const socket = await open(port);
      socket.destroy();
      return true;
    });
    await gone();
  });

  let held: Socket | undefined;
  await step('with a grant the service answers', async () => {
    await fabric.apply(gateway('[{ name: here, cidrs: [127.0.0.0/8] }]'));
    held = await waitFor('an echo', async () => {
      const socket = await open(port);
      const text = await Promise.race([echoed(socket, 'hello'), once(socket, 'close').then(() => '')]);
      return text === 'hello' ? socket : undefined;
    });
  });

  await step('the grant is taken away: what is open is closed', async () => {
    const closed = new Promise((resolve) => held?.once('close', resolve));
    await fabric.apply(gateway('[]'));
    await closed;
    await gone();
    t.pass();
  });
});

// Gateways on real daemons: a service is published, by grants alone, over TCP, TLS, WebSocket and UDP, and revoking closes what is open. How
// long that takes is printed.

import { execFile, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { skip } from '../skip.ts';
import { selvedge } from './command.ts';
import { createFabric, waitFor } from './fabric.ts';
import { freePort } from './free-port.ts';
import { tell } from './story.ts';

const workload = (name: string): string => fileURLToPath(new URL(`workloads/${name}.js`, import.meta.url));

/** Says back what it hears. */
const ear =
  'const s = require("dgram").createSocket("udp4"); s.on("message", (m, c) => s.send(m, c.port, c.address)).bind(process.env.PORT, process.env.HOST)';

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
    - name: site
      engine: process
      command: [node, ${workload('site')}, site]
      ports: [{ name: http, port: 8080 }]
      placement: { node: edge-1 }
      probes: { readiness: { tcp: { port: http }, periodMs: 50 } }
    - name: ear
      engine: process
      command: [node, -e, '${ear}']
      ports: [{ name: sound, port: 5300, protocol: udp }]
      placement: { node: edge-1 }
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

const run = promisify(execFile);

/** Sends every few milliseconds, and knows when it was answered last. */
async function talk(t: ExecutionContext, port: number): Promise<{ answeredAt(): number; sent(): number }> {
  const socket = createSocket('udp4');
  let [at, sent] = [0, 0];
  socket.on('error', () => undefined);
  socket.on('message', () => {
    at = performance.now();
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const timer = setInterval(() => {
    sent += 1;
    socket.send('still there?', port, '127.0.0.1');
  }, 5);
  t.teardown(() => {
    clearInterval(timer);
    socket.close();
  });
  return { answeredAt: () => at, sent: () => sent };
}

/** What openssl says of the certificate, and what the service says back. */
async function throughTls(t: ExecutionContext, port: number, authority: string, text: string): Promise<string> {
  const asked = ['-connect', `127.0.0.1:${port}`, '-servername', 'echo.test', '-verify_hostname', 'echo.test'];
  const child = spawn('openssl', ['s_client', ...asked, '-CAfile', authority, '-verify_return_error']);
  const end = (): void => void child.kill('SIGKILL');
  t.teardown(end);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      said += chunk;
    });
  }
  child.stdin.on('error', () => undefined);
  child.stdin.write(`${text}\n`);
  const ended = once(child, 'close');
  try {
    await Promise.race([ended, waitFor('an answer', () => said.includes('Verify return code') && said.includes(text))]);
    return said;
  } finally {
    end();
    await ended;
  }
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

  const { control } = fabric;
  const { client } = control.daemon;
  const at = (name: string): string => join(dirname(control.dataFolder), name);
  const cli = async (...args: string[]): Promise<string> => {
    const { status, out, error } = await selvedge(control.dataFolder, ...args);
    t.is(status, 0, `${args.join(' ')}: ${error}`);
    return out.trim();
  };
  const here = ['--on', 'edge-2', '--address', '127.0.0.1', '--grant-cidr', '127.0.0.1'];
  const [webPort, earPort] = [await freePort(), await freePort()];

  await step('what is revoked is closed, by TCP, WebSocket and UDP, and the time is told', async () => {
    await cli('publish', 'store/echo:80', '--port', `${port}`, ...here);
    await cli('publish', 'store/site:8080', '--name', 'live', '--port', `${webPort}`, '--http', '/', ...here);
    await cli('publish', 'store/ear:5300', '--port', `${earPort}`, '--udp', ...here);
    const closedAt: Record<string, number> = {};
    const tcp = await waitFor('an echo', async () => {
      const socket = await open(port);
      const text = await Promise.race([echoed(socket, 'hello'), once(socket, 'close').then(() => '')]);
      return text === 'hello' ? socket : undefined;
    });
    tcp.once('close', () => {
      closedAt['echo'] = performance.now();
    });
    const web = await waitFor('a WebSocket', async () => {
      const socket = new WebSocket(`ws://127.0.0.1:${webPort}/live`);
      const { promise, resolve } = Promise.withResolvers<WebSocket | undefined>();
      socket.addEventListener('open', () => resolve(socket));
      socket.addEventListener('error', () => resolve(undefined));
      return promise;
    });
    web.addEventListener('close', () => {
      closedAt['live'] = performance.now();
    });
    const heard = await talk(t, earPort);
    await waitFor('a datagram', () => heard.answeredAt() > 0);
    const revokedAt: Record<string, number> = {};
    for (const name of ['echo', 'live', 'ear']) {
      revokedAt[name] = performance.now();
      await client.revokeGrant('default', name, 'range');
    }
    await waitFor('both connections to be closed', () => 'echo' in closedAt && 'live' in closedAt);
    await waitFor('the node to have heard', async () => (await client.gateway('default', 'ear')).nodes[0]?.current);
    const unheard = async (count: number): Promise<void> => {
      const from = heard.sent();
      await waitFor(`${count} datagrams to be sent`, () => heard.sent() > from + count);
    };
    // What was answered by then is read.
    await unheard(20);
    const last = heard.answeredAt();
    await unheard(100);
    t.is(heard.answeredAt(), last, 'nothing came since');
    closedAt['ear'] = last;
    for (const [name, kind] of Object.entries({ echo: 'TCP', live: 'WebSocket', ear: 'UDP, its last answer' })) {
      t.log(`${kind}: ${((closedAt[name] ?? 0) - (revokedAt[name] ?? 0)).toFixed(0)} ms after \`grants revoke\``);
    }
    t.is((await client.gateway('default', 'ear')).grants.length, 0);
    t.true((await cli('gateways', 'describe', 'ear')).includes(`${earPort}/udp`));
    await cli('unpublish', 'ear');
  });

  await step('TCP with TLS: by the fabric’s certificate, and then by one’s own', async () => {
    if ((await run('which', ['openssl']).catch(() => undefined)) === undefined) return skip(t, 'openssl is needed');
    await writeFile(at('root.pem'), `${await cli('gateways', 'root')}\n`);
    await cli('publish', 'store/echo:80', '--port', `${port}`, '--tls', 'echo.test', ...here);
    const verified = /Verify return code: 0 \(ok\)/;
    await waitFor('an echo under the fabric’s certificate', async () => {
      const said = await throughTls(t, port, at('root.pem'), 'by the fabric');
      return verified.test(said) && said.includes('by the fabric');
    });
    await run('openssl', [
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=echo.test'],
      ...['-addext', 'subjectAltName=DNS:echo.test', '-keyout', at('tls.key'), '-out', at('tls.crt')],
    ]);
    const files = ['tls.crt', 'tls.key'].flatMap((name) => ['--from-file', `${name}=${at(name)}`]);
    await cli('secrets', 'set', 'echo-tls', ...files);
    await cli('publish', 'store/echo:80', '--port', `${port}`, '--tls-secret', 'echo-tls', ...here);
    await waitFor('an echo under one’s own certificate', async () =>
      verified.test(await throughTls(t, port, at('tls.crt'), 'by my own')),
    );
    t.false(verified.test(await throughTls(t, port, at('root.pem'), 'by the fabric')), 'no more by the fabric’s');
    const output = fabric.edges.map((node) => node.output()).join('');
    t.false(output.includes((await readFile(at('tls.key'), 'utf8')).split('\n')[1] ?? 'none'));
  });
});

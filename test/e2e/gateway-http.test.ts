// HTTP through a gateway of real daemons: the fabric's certificate as curl and openssl see it, routes, tokens, client certificates, WebSocket,
// time that runs out, revocation, a taken port, and no controller.

import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { type RequestOptions, request } from 'node:https';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import type { GatewayView } from '../../control/views.ts';
import { skip } from '../skip.ts';
import { selvedge, selvedgeJson } from './command.ts';
import { createFabric, type FabricNode, waitFor } from './fabric.ts';
import { freePort } from './free-port.ts';
import { tell } from './story.ts';

const run = promisify(execFile);
const site = fileURLToPath(new URL('workloads/site.js', import.meta.url));

const microservice = (name: string): string => `
    - name: ${name}
      engine: process
      command: [node, ${site}, ${name}]
      ports: [{ name: http, port: 8080 }]
      placement: { node: edge-1 }
      probes: { readiness: { tcp: { port: http }, periodMs: 50 } }`;

const application = `
apiVersion: selvedge/v1
kind: Application
metadata: { name: shop }
spec:
  microservices:${microservice('web')}${microservice('api')}
`;

type Sent = Omit<RequestOptions, 'host'> & { host?: string };

interface Answer {
  status: number;
  text: string;
}

function read(response: IncomingMessage): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  let text = '';
  response.setEncoding('utf8');
  response.on('data', (chunk: string) => {
    text += chunk;
  });
  response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
  response.on('error', reject);
  return promise;
}

test('a site is published with TLS, and who is let in is revoked', async (t) => {
  const found = await Promise.all(['curl', 'openssl'].map((tool) => run('which', [tool]).catch(() => undefined)));
  if (found.includes(undefined)) {
    skip(t, 'curl and openssl are needed');
    return;
  }
  const step = tell(t);
  const fabric = await step('a controller and two edge nodes', () => createFabric(t, { edges: 2 }));
  const { control } = fabric;
  const [, two] = fabric.edges as [FabricNode, FabricNode];
  const folder = dirname(control.dataFolder);
  const at = (name: string): string => join(folder, name);
  const [port, clearPort] = [await freePort(), await freePort()];
  const cli = async (...args: string[]): Promise<string> => {
    const { status, out, error } = await selvedge(control.dataFolder, ...args);
    t.is(status, 0, `${args.join(' ')}: ${error}`);
    return out.trim();
  };
  let ca = '';

  const ask = (path: string, options: Sent = {}): Promise<Answer> => {
    const { headers = {}, host = 'shop.test', ...rest } = options;
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const sent = request({
      ...{ host: '127.0.0.1', port, path, ca, servername: 'shop.test', agent: false, ...rest },
      headers: { host, ...(headers as Record<string, string>) },
    });
    sent.on('response', (response) => read(response).then(resolve, reject));
    sent.on('error', reject);
    sent.end();
    return promise;
  };
  const bearer = (token: string): Sent => ({ headers: { authorization: `Bearer ${token}` } });
  const view = (name: string): Promise<GatewayView> => selvedgeJson(control.dataFolder, 'gateways', 'describe', name);
  const listening = (name: string): Promise<GatewayView> =>
    waitFor(`${name} to listen`, async () => {
      const now = await view(name);
      const [node] = now.nodes;
      if (node?.state !== 'listening' || !node.current) throw new Error(JSON.stringify(now.nodes));
      return now;
    });
  const answered = (what: string, status: number, attempt: () => Promise<Answer>): Promise<Answer> =>
    waitFor(what, async () => {
      const answer = await attempt();
      if (answer.status !== status) throw new Error(`${answer.status} ${answer.text}`);
      return answer;
    });

  let token = '';
  await step('publish prints a token, once', async () => {
    await fabric.apply(application);
    await fabric.ready('shop');
    token = await cli(
      ...[
        'publish',
        'shop/web:8080',
        '--name',
        'shop',
        '--on',
        'edge-2',
        '--address',
        '127.0.0.1',
        '--port',
        `${port}`,
      ],
      ...['--http', 'shop.test', '--tls', 'shop.test', '--grant-token'],
    );
    t.regex(token, /^[\w-]{43}$/);
    await listening('shop');
    t.false(JSON.stringify(await view('shop')).includes(token));
    t.false(two.output().includes(token));
  });

  await step('the fabric’s root proves it to curl and openssl, and to nobody without it', async () => {
    ca = `${await cli('gateways', 'root')}\n`;
    await writeFile(at('root.pem'), ca);
    const url = `https://shop.test:${port}/`;
    const curl = ['-sS', '--resolve', `shop.test:${port}:127.0.0.1`, '-H', `Authorization: Bearer ${token}`];
    const { stdout } = await waitFor('curl to get an answer', () =>
      run('curl', [...curl, '-f', '--cacert', at('root.pem'), url]),
    );
    t.like(JSON.parse(stdout), { name: 'web', url: '/' });
    t.false(stdout.includes(token), 'the service does not get the token');
    await t.throwsAsync(run('curl', [...curl, url]), { message: /certificate/i });
    const connect = [
      's_client',
      '-connect',
      `127.0.0.1:${port}`,
      '-CAfile',
      at('root.pem'),
      '-servername',
      'shop.test',
    ];
    const verify = (name: string) =>
      run('sh', [
        '-c',
        'exec openssl "$@" </dev/null',
        'sh',
        ...connect,
        '-verify_return_error',
        '-verify_hostname',
        name,
      ]);
    t.regex((await verify('shop.test')).stdout, /Verify return code: 0 \(ok\)/);
    await t.throwsAsync(verify('other.test'));
  });

  await step('without the token, with another one and for another host there is nothing', async () => {
    t.is((await ask('/')).status, 401);
    t.is((await ask('/', bearer('wrong'))).status, 401);
    t.is((await ask('/', { ...bearer(token), host: 'other.test' })).status, 404);
    for (const path of ['/../x', '/%2e%2e/x', '/a%2f..%2fb', '/..;/x', '/%252e%252e/x']) {
      t.is((await ask(path, bearer(token))).status, 400, path);
    }
    const { text } = await ask('/a?b=c', {
      headers: {
        authorization: `Bearer ${token}`,
        'x-forwarded-for': '192.0.2.1',
        forwarded: 'for=192.0.2.1',
        connection: 'x-mine, close',
        'x-mine': '1',
      },
    });
    const { headers, url } = JSON.parse(text) as { headers: Record<string, string>; url: string };
    t.is(url, '/a?b=c');
    t.like(headers, { host: 'shop.test', 'x-forwarded-for': '127.0.0.1', 'x-forwarded-proto': 'https' });
    t.deepEqual([headers['forwarded'], headers['x-mine'], headers['authorization']], [undefined, undefined, undefined]);
  });

  await step('a certificate of an authority lets in, and another one does not', async () => {
    const make = async (name: string, ...signed: string[]) => {
      const subject = ['-newkey', 'rsa:2048', '-nodes', '-keyout', at(`${name}.key`), '-subj', `/CN=${name}`];
      await run('openssl', ['req', '-x509', '-days', '2', ...subject, '-out', at(`${name}.pem`), ...signed]);
    };
    await make('partner-ca');
    await make('stranger');
    await make(
      'partner',
      '-CA',
      at('partner-ca.pem'),
      '-CAkey',
      at('partner-ca.key'),
      '-addext',
      'basicConstraints=critical,CA:FALSE',
    );
    await cli('grants', 'create', 'shop', '--name', 'partner', '--certificate', at('partner-ca.pem'));
    await listening('shop');
    const by = async (name: string): Promise<Sent> => ({
      cert: await readFile(at(`${name}.pem`)),
      key: await readFile(at(`${name}.key`)),
    });
    const partner = await by('partner');
    t.like(JSON.parse((await answered('the partner', 200, () => ask('/', partner))).text), { name: 'web' });
    t.not((await ask('/', await by('stranger'))).status, 200);
    t.is((await ask('/', bearer(token))).status, 200, 'the token holds beside it');
    await cli('grants', 'revoke', 'shop', 'partner');
    await answered('the partner to be refused', 401, () => ask('/', partner));
  });

  await step('what is open is closed when its grant’s time is over, and when it is revoked', async () => {
    const ticks = async (granted: string): Promise<{ closed: Promise<unknown> }> => {
      const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
      const sent = request({
        host: '127.0.0.1',
        port,
        path: '/ticks',
        ca,
        servername: 'shop.test',
        agent: false,
        headers: { host: 'shop.test', authorization: `Bearer ${granted}` },
      });
      sent.on('response', resolve);
      sent.on('error', reject);
      sent.end();
      const response = await promise;
      response.on('error', () => undefined);
      const closed = new Promise((done) => response.once('close', done));
      await once(response, 'data');
      t.is(response.statusCode, 200);
      return { closed };
    };
    const short = await cli('grants', 'create', 'shop', '--name', 'short', '--token', '--for', '20s');
    await answered('the short one', 200, () => ask('/', bearer(short)));
    const first = await ticks(short);
    await first.closed;
    t.is((await ask('/', bearer(short))).status, 401);
    const second = await ticks(token);
    t.regex(await cli('grants', 'list', 'shop'), /token-1/);
    await cli('grants', 'revoke', 'shop', 'token-1');
    await second.closed;
    // With no grant left, nobody comes as far as a request.
    await t.throwsAsync(ask('/', bearer(token)));
    await cli('grants', 'create', 'shop', '--token');
    await answered('a refusal', 401, () => ask('/', bearer(token)));
  });

  await step('a WebSocket goes through, on a gateway of several routes, and ends with its grant', async () => {
    const routed = (grants: string): string => `
apiVersion: selvedge/v1
kind: Gateway
metadata: { name: clear }
spec:
  on: { nodes: [edge-2] }
  address: 127.0.0.1
  port: ${clearPort}
  protocol: http
  routes:
    - { to: { application: shop, microservice: web, port: 8080 } }
    - { path: /api, to: { application: shop, microservice: api, port: 8080 } }
  grants: ${grants}
`;
    await fabric.apply(routed('[{ name: here, cidrs: [127.0.0.1] }]'));
    await listening('clear');
    const plain = async (path: string): Promise<string | undefined> => {
      const answer = await fetch(`http://127.0.0.1:${clearPort}${path}`);
      return answer.ok ? ((await answer.json()) as { name: string }).name : undefined;
    };
    t.is(await waitFor('the site', () => plain('/')), 'web');
    t.deepEqual([await plain('/api'), await plain('/api/x'), await plain('/apis')], ['api', 'api', 'web']);
    const posted = await fetch(`http://127.0.0.1:${clearPort}/api/x`, { method: 'POST', body: 'a body' });
    t.like((await posted.json()) as object, { name: 'api', method: 'POST', body: 'a body' });
    const socket = new WebSocket(`ws://127.0.0.1:${clearPort}/live`);
    await once(socket, 'open');
    socket.send('hello');
    const [{ data }] = (await once(socket, 'message')) as [MessageEvent];
    t.is(data, 'hello');
    const closed = once(socket, 'close');
    await fabric.apply(routed('[]'));
    await closed;
    t.pass();
  });

  const blocked = await freePort();
  await step('a taken port is said, and taken when it is free', async () => {
    const server = createServer().listen(blocked, '127.0.0.1');
    await once(server, 'listening');
    await cli(
      'publish',
      'shop/api:8080',
      '--on',
      'edge-2',
      '--address',
      '127.0.0.1',
      '--port',
      `${blocked}`,
      '--grant-cidr',
      '127.0.0.1',
    );
    const said = await waitFor('the status to say so', async () => {
      const { problems } = await control.status();
      return problems.find((problem) =>
        /Gateway default\/api on edge-2 does not listen: port \d+ of 127\.0\.0\.1 is taken/.test(problem),
      );
    });
    t.true(said.includes(`${blocked}`));
    server.close();
    await listening('api');
  });

  await step('without a controller, and after a restart, it goes on', async () => {
    await control.daemon.kill('SIGKILL');
    await two.daemon.kill('SIGKILL');
    await two.start();
    const answer = await waitFor('an answer without a controller', async () => {
      const one = await fetch(`http://127.0.0.1:${blocked}/`);
      return one.ok ? ((await one.json()) as { name: string }) : undefined;
    });
    t.is(answer.name, 'api');
    t.false((await two.status()).controllerReachable);
    t.is((await answered('a refusal', 401, () => ask('/'))).status, 401);
    await control.start();
    await waitFor('everybody to be connected', async () =>
      (await control.status()).nodes.every(({ state }) => state === 'connected'),
    );
    await cli('unpublish', 'shop');
    await waitFor('nobody to listen', () =>
      ask('/').then(
        () => false,
        () => true,
      ),
    );
    await waitFor(
      'no trace of it',
      async () => (await selvedgeJson<GatewayView[]>(control.dataFolder, 'gateways', 'list')).length === 2,
    );
  });
});

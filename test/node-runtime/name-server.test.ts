// The resolver of containers, by real questions over UDP and TCP on loopback addresses, which stand for those of containers.

import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import * as packet from 'dns-packet';
import { createContainerNames } from '../../node-runtime/container-names.ts';
import { createFrames, frameOf } from '../../node-runtime/dns-frames.ts';
import { NameServerError } from '../../node-runtime/errors.ts';
import { DNS_CONNECTIONS_EACH_MAX, DNS_FORWARDS_EACH_MAX } from '../../node-runtime/limits.ts';
import {
  boxResolvers,
  createNameForwarder,
  nameserversOf,
  reachableResolvers,
  searchOf,
} from '../../node-runtime/name-forwarder.ts';
import { createNameServer } from '../../node-runtime/name-server.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';

const clock = createSystemClock();
const asker = '127.0.0.1';
const other = '127.0.0.2';

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

/** A resolver of the box: answers every question for an address with 192.0.2.1, over both transports, or says nothing at all. */
async function createUpstream(t: ExecutionContext, host: string, port: number, silent = false) {
  const asked: string[] = [];
  const answer = (query: Buffer): Buffer => {
    const { id = 0, questions = [] } = packet.decode(query);
    const name = questions[0]?.name ?? '';
    asked.push(name);
    return packet.encode({
      ...{ type: 'response', id, questions },
      answers: [{ type: 'A', class: 'IN', name, ttl: 60, data: '192.0.2.1' }],
    });
  };
  const udp = createSocket('udp4');
  udp.on('message', (query, from) => {
    const answered = answer(query);
    if (!silent) udp.send(answered, from.port, from.address);
  });
  udp.bind(port, host);
  const tcp = createServer((socket) => {
    const frames = createFrames();
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      for (const query of frames(bytes)) socket.write(frameOf(answer(query)));
    });
  });
  tcp.listen(port, host);
  await Promise.all([once(udp, 'listening'), once(tcp, 'listening')]);
  t.teardown(() => {
    udp.close();
    tcp.close();
  });
  return { asked };
}

async function createWorld(t: ExecutionContext, { resolvers = ['127.0.0.3'], silent = false } = {}) {
  const [port, upstreamPort] = [await freePort(), await freePort()];
  const upstream = await createUpstream(t, '127.0.0.3', upstreamPort, silent);
  const names = createContainerNames();
  names.tell(asker, [{ address: '198.18.9.1', names: ['server', 'server.shop', 'server.shop.default'] }]);
  const forwarder = createNameForwarder({ clock, resolvers: async () => resolvers, port: upstreamPort });
  const server = createNameServer({ knows: names.knows, answer: names.answer, forwarder, port });
  await server.listen('127.0.0.1');
  t.teardown(() => server.close());
  /** A resolver that asks from the given address, as a container's does. */
  const from = (address: string, timeout = 5_000): Resolver => {
    const resolver = new Resolver({ timeout, tries: 1 });
    resolver.setServers([`127.0.0.1:${port}`]);
    resolver.setLocalAddress(address);
    return resolver;
  };
  return { names, server, port, upstream, from };
}

test('a container hears the address of the services that it was told, and nobody else does', async (t) => {
  const { from, names, upstream } = await createWorld(t);
  const own = from(asker);
  for (const name of ['server', 'SERVER.shop', 'server.shop.default'])
    t.deepEqual(await own.resolve4(name), ['198.18.9.1']);
  await t.throwsAsync(own.resolve6('server'), { code: 'ENODATA' });
  await t.throwsAsync(own.resolveMx('server'), { code: 'ENODATA' });
  await t.throwsAsync(from(other, 300).resolve4('server'), { code: 'ETIMEOUT' });
  names.tell(other, [{ address: '198.18.9.2', names: ['server'] }]);
  t.deepEqual(await from(other).resolve4('server'), ['198.18.9.2']);
  names.forget(asker);
  await t.throwsAsync(from(asker, 300).resolve4('server'), { code: 'ETIMEOUT' });
  t.false(upstream.asked.includes('server'));
});

test('a name that can only be a service and is none does not exist; it is asked of nobody', async (t) => {
  const { from, upstream } = await createWorld(t);
  for (const name of ['servr', 'other.shop.default', 'deep.server.shop.default']) {
    await t.throwsAsync(from(asker).resolve4(name), { code: 'ENOTFOUND' }, name);
  }
  t.deepEqual(upstream.asked, []);
});

test('a name that comes later is known at once, and one that went is gone', async (t) => {
  const { from, names } = await createWorld(t);
  names.tell(asker, [{ address: '198.18.9.7', names: ['later'] }]);
  t.deepEqual(await from(asker).resolve4('later'), ['198.18.9.7']);
  await t.throwsAsync(from(asker).resolve4('server'), { code: 'ENOTFOUND' });
});

test('other names are asked of the box’s resolvers; one that refuses or is silent is passed over', async (t) => {
  const { from, upstream } = await createWorld(t, { resolvers: ['127.0.0.4', '127.0.0.3'] });
  t.deepEqual(await from(asker).resolve4('www.example.org'), ['192.0.2.1']);
  t.deepEqual(upstream.asked, ['www.example.org']);
  const silent = await createWorld(t, { silent: true });
  await t.throwsAsync(silent.from(asker).resolve4('www.example.org'), { code: 'ESERVFAIL' });
  const none = await createWorld(t, { resolvers: [] });
  await t.throwsAsync(none.from(asker).resolve4('www.example.org'), { code: 'ESERVFAIL' });
});

test('over TCP several questions on one connection are answered in order', async (t) => {
  const { port } = await createWorld(t);
  const socket = connect({ host: '127.0.0.1', port, localAddress: asker });
  t.teardown(() => socket.destroy());
  const names = ['server', 'www.example.org', 'servr'];
  const query = (name: string, id: number) =>
    packet.encode({ type: 'query', id, flags: packet.RECURSION_DESIRED, questions: [{ type: 'A', name }] });
  const bytes = Buffer.concat(names.map((name, index) => frameOf(query(name, index))));
  // In two pieces, cut inside a message.
  socket.write(bytes.subarray(0, 7));
  socket.write(bytes.subarray(7));
  const frames = createFrames();
  const got: packet.DecodedPacket[] = [];
  for await (const chunk of socket) {
    got.push(...frames(chunk as Buffer).map((frame) => packet.decode(frame)));
    if (got.length === names.length) break;
  }
  t.deepEqual(
    got.map(({ id, answers }) => [id, answers?.map((answer) => ('data' in answer ? answer.data : undefined))]),
    [
      [0, ['198.18.9.1']],
      [1, ['192.0.2.1']],
      [2, []],
    ],
  );
});

test('what is no question is refused or dropped, and the resolver goes on', async (t) => {
  const { port, from } = await createWorld(t);
  const socket = createSocket('udp4');
  socket.bind(0, asker);
  await once(socket, 'listening');
  t.teardown(() => socket.close());
  const codeOf = async (bytes: Buffer): Promise<number> => {
    socket.send(bytes, port, '127.0.0.1');
    const [answer] = (await once(socket, 'message')) as [Buffer];
    return (answer[3] ?? 0) & 15;
  };
  const head = Buffer.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
  socket.send(Buffer.from('short'), port, '127.0.0.1');
  socket.send(packet.encode({ type: 'response', id: 1, questions: [] }), port, '127.0.0.1');
  t.is(await codeOf(head), 1, 'a question that is not there');
  t.is(await codeOf(Buffer.concat([head, Buffer.from([0xc0, 0x0c, 0, 1, 0, 1])])), 1, 'a name that points at itself');
  const two = { type: 'A', name: 'server' } as const;
  t.is(await codeOf(packet.encode({ type: 'query', id: 1, questions: [two, two] })), 1, 'two questions');
  const update = packet.encode({ type: 'query', id: 1, questions: [two] });
  update[2] = 5 << 3;
  t.is(await codeOf(update), 4, 'an update');
  // HTTPS records, which browsers and curl ask for, have no name in the library.
  const https = packet.encode({ type: 'query', id: 1, questions: [{ ...two, type: 'UNKNOWN_65' as 'A' }] });
  t.is(await codeOf(https), 0, 'a type that is not known');
  t.deepEqual(await from(asker).resolve4('server'), ['198.18.9.1']);
});

test('one container’s unanswered questions are bounded, and the others’ are answered', async (t) => {
  const { from, port, names, upstream } = await createWorld(t, { silent: true });
  names.tell(other, [{ address: '198.18.9.2', names: ['db'] }]);
  const socket = createSocket('udp4');
  socket.bind(0, asker);
  await once(socket, 'listening');
  t.teardown(() => socket.close());
  const failed = once(socket, 'message');
  for (let id = 0; id <= DNS_FORWARDS_EACH_MAX; id++) {
    socket.send(
      packet.encode({ type: 'query', id, questions: [{ type: 'A', name: `n${id}.example.org` }] }),
      port,
      '127.0.0.1',
    );
  }
  const [answer] = (await failed) as [Buffer];
  t.is((answer[3] ?? 0) & 15, 2);
  t.true(upstream.asked.length <= DNS_FORWARDS_EACH_MAX);
  t.deepEqual(await from(other).resolve4('db'), ['198.18.9.2']);
});

test('an address where somebody listens already is told with what to do; closing and listening again works', async (t) => {
  const { server, port, names, from } = await createWorld(t);
  const second = createNameServer({
    knows: names.knows,
    answer: names.answer,
    forwarder: createNameForwarder({ clock }),
    port,
  });
  const error = await t.throwsAsync(second.listen('127.0.0.1'), { instanceOf: NameServerError, message: /EADDRINUSE/ });
  t.regex((error as NameServerError).action, /bind-interfaces/);
  await server.listen('127.0.0.1');
  await server.close();
  await server.close();
  await second.listen('127.0.0.1');
  t.deepEqual(await from(asker).resolve4('server'), ['198.18.9.1']);
  await second.close();
});

test('the box’s resolvers are read from its files, bounded, without what is no address', async (t) => {
  const text =
    '# nameserver 192.0.2.9\nsearch lan\nnameserver 127.0.0.53\nnameserver x\n nameserver\t192.0.2.1\nnameserver 2001:db8::1\n';
  t.deepEqual(nameserversOf(`${text}nameserver 192.0.2.2\n`), ['127.0.0.53', '192.0.2.1', '2001:db8::1']);
  const [local, real] = [
    join(tmpdir(), `selvedge-local-${process.pid}`),
    join(tmpdir(), `selvedge-real-${process.pid}`),
  ];
  t.teardown(() => Promise.all([rm(local, { force: true }), rm(real, { force: true })]));
  await writeFile(local, 'nameserver 127.0.0.53\n');
  await writeFile(real, 'nameserver 192.0.2.1\nnameserver 2001:db8::1\n');
  t.deepEqual(await boxResolvers([local, real]), ['127.0.0.53']);
  t.deepEqual(await reachableResolvers([local, real]), ['192.0.2.1']);
  t.deepEqual(await reachableResolvers([local, `${real}-missing`]), []);
});

/** Sends datagrams from `asker`, then an ordinary question; what came back for the datagrams. */
async function answersTo(t: ExecutionContext, datagrams: Buffer[], address = asker): Promise<Buffer[]> {
  const { server, from, port } = await createWorld(t);
  t.truthy(server);
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  const answers: Buffer[] = [];
  socket.on('message', (bytes) => answers.push(bytes));
  socket.bind(0, address);
  await once(socket, 'listening');
  for (const bytes of datagrams) socket.send(bytes, port, '127.0.0.1');
  t.deepEqual(await from(asker).resolve4('server'), ['198.18.9.1'], 'it goes on');
  return answers;
}

/** One label of 63 letters a hundred times over is decoded anew for each question that points at it. */
function manyQuestions(count: number): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(7, 0);
  head.writeUInt16BE(count, 4);
  const question = Buffer.from([0xc0, 12, 0, 1, 0, 1]);
  const name = packet.encode({ type: 'query', questions: [{ type: 'A', name: `${'a.'.repeat(100)}a` }] }).subarray(12);
  return Buffer.concat([head, name, ...Array.from({ length: count - 1 }, () => question)]);
}

test('of the box’s words about short names the last count; what would ask others first is left out', (t) => {
  const text =
    'domain old.example\n search plant.example example.org\noptions rotate ndots:2 timeout:9\nnameserver 192.0.2.1\n';
  t.deepEqual(searchOf(text), ['search plant.example example.org', 'options ndots:2']);
  t.deepEqual(searchOf('# search no.example\nnameserver 192.0.2.1\n'), []);
});

test('a message of many questions is answered by its head alone, and costs nothing', async (t) => {
  const [answered] = await answersTo(t, [manyQuestions(9_000)]);
  t.is(answered?.length, 12);
  t.is((answered?.[3] ?? 0) & 0x0f, 1, 'FORMERR');
  t.is(answered?.readUInt16BE(0), 7);
});

test('a stranger gets no answer to anything, over UDP or TCP', async (t) => {
  const query = packet.encode({ type: 'query', id: 1, questions: [{ type: 'A', name: 'server' }] });
  t.deepEqual(await answersTo(t, [query, manyQuestions(50), Buffer.alloc(12)], other), []);
  const { port } = await createWorld(t);
  const socket = connect({ host: '127.0.0.1', port, localAddress: other });
  socket.on('error', () => undefined);
  await once(socket, 'close');
  t.is(socket.bytesRead, 0);
});

test('one container holds so many connections and no more; another one has its own', async (t) => {
  const { names, port } = await createWorld(t);
  names.tell(other, []);
  const open = (localAddress: string) => {
    const socket = connect({ host: '127.0.0.1', port, localAddress });
    socket.on('error', () => undefined);
    t.teardown(() => socket.destroy());
    return socket;
  };
  const held = Array.from({ length: DNS_CONNECTIONS_EACH_MAX }, () => open(asker));
  await Promise.all(held.map((socket) => once(socket, 'connect')));
  await once(open(asker), 'close');
  const socket = open(other);
  await once(socket, 'connect');
  socket.write(frameOf(packet.encode({ type: 'query', id: 1, questions: [{ type: 'A', name: 'server' }] })));
  const [bytes] = (await once(socket, 'data')) as [Buffer];
  t.is(packet.decode(bytes.subarray(2)).id, 1);
  t.true(held.every((one) => !one.destroyed));
});

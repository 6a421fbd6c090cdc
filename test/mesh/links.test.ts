import { randomBytes } from 'node:crypto';
import test from 'ava';
import { dialAny } from '../../mesh/dialler.ts';
import { FrameTooLargeError, PeerMismatchError, UnreachableError } from '../../mesh/errors.ts';
import { createFrameDecoder, encodeFrame } from '../../mesh/frame-codec.ts';
import { createFrameQueue } from '../../mesh/frame-queue.ts';
import { dialableAddresses, isOnLink, type NetworkInterface, notVirtual } from '../../mesh/interfaces.ts';
import { connectTimeoutMs, dialsInParallelMax, duplicateConnectionMs } from '../../mesh/limits.ts';
import { type LinkFacts, linkToEvict, preferredLink, redundantLinks } from '../../mesh/link-table.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';

test('frames come out of the decoder however the bytes were cut', (t) => {
  const frames = [0, 1, 3, 4, 5, 70_000].map((size) => new Uint8Array(randomBytes(size)));
  const wire = Uint8Array.from(frames.flatMap((frame) => [...encodeFrame(frame)]));
  for (const step of [1, 2, 3, 7, 1000, wire.length]) {
    const decoder = createFrameDecoder(70_000);
    const out: Uint8Array[] = [];
    for (let at = 0; at < wire.length; at += step) out.push(...decoder.push(wire.subarray(at, at + step)));
    t.deepEqual(out, frames, `pieces of ${step}`);
    t.is(decoder.pendingBytes(), 0);
  }
});

test('the decoder refuses a length beyond the limit before its bytes come, and knows of an unfinished frame', (t) => {
  t.throws(() => createFrameDecoder(10).push(Uint8Array.of(0, 0, 0, 11)), { instanceOf: FrameTooLargeError });
  const decoder = createFrameDecoder(10);
  t.deepEqual(decoder.push(Uint8Array.of(0, 0)), []);
  t.is(decoder.pendingBytes(), 2);
  t.deepEqual(decoder.push(Uint8Array.of(0, 3, 9)), []);
  t.is(decoder.pendingBytes(), 5);
});

test('a queue of frames gives what arrived before a clean end, and nothing after a failure', async (t) => {
  const queue = createFrameQueue(() => {});
  queue.push(Uint8Array.of(1));
  queue.end();
  queue.fail(new Error('too late'));
  t.deepEqual(await queue.take(), Uint8Array.of(1));
  t.is(await queue.take(), undefined);
  const failing = createFrameQueue(() => {});
  const waiting = failing.take();
  failing.push(Uint8Array.of(1));
  failing.push(Uint8Array.of(2));
  failing.fail(new Error('reset'));
  t.deepEqual(await waiting, Uint8Array.of(1));
  await t.throwsAsync(failing.take(), { message: 'reset' });
  t.is(failing.bytes(), 0);
});

const link = (facts: Partial<LinkFacts>): LinkFacts => ({
  peerId: 'B',
  direction: 'outbound',
  host: '10.0.0.1',
  routed: false,
  openedAt: 0,
  ...facts,
});

test('a direct connection is preferred to one through others, whoever dialled and whenever', (t) => {
  const direct = link({ direction: 'inbound', openedAt: 1 });
  const routed = link({ direction: 'outbound', routed: true, openedAt: 2 });
  for (const self of ['A', 'Z']) {
    t.is(preferredLink([direct, routed], self), direct);
    t.is(preferredLink([routed, direct], self), direct);
  }
  t.is(preferredLink([routed], 'A'), routed);
});

test('both ends prefer the same one of two connections', (t) => {
  const dialledByA = { openedAt: 1 };
  const dialledByB = { openedAt: 2 };
  const atA = [
    link({ peerId: 'B', direction: 'outbound', ...dialledByA }),
    link({ peerId: 'B', direction: 'inbound', ...dialledByB }),
  ];
  const atB = [
    link({ peerId: 'A', direction: 'inbound', ...dialledByA }),
    link({ peerId: 'A', direction: 'outbound', ...dialledByB }),
  ];
  for (const order of [atA, [...atA].reverse()]) t.is(preferredLink(order, 'A')?.openedAt, 1);
  for (const order of [atB, [...atB].reverse()]) t.is(preferredLink(order, 'B')?.openedAt, 1);
  t.is(preferredLink([link({ openedAt: 1 }), link({ openedAt: 5 }), link({ openedAt: 3 })], 'A')?.openedAt, 5);
  t.is(preferredLink([], 'A'), undefined);
  t.deepEqual(redundantLinks(atA, 'A', 2 + duplicateConnectionMs - 1), []);
  t.deepEqual(redundantLinks(atA, 'A', 2 + duplicateConnectionMs), [atA[1] as LinkFacts]);
  t.deepEqual(redundantLinks(atA.slice(0, 1), 'A', 1_000_000), []);
});

test('of too many strangers the one that goes is of the host that holds most', (t) => {
  const strangers = [
    link({ peerId: 'X', host: '10.0.0.1', openedAt: 1 }),
    link({ peerId: 'Y', host: '10.0.0.2', openedAt: 3 }),
    link({ peerId: 'Z', host: '10.0.0.2', openedAt: 2 }),
  ];
  t.is(linkToEvict(strangers)?.peerId, 'Z');
  t.is(linkToEvict([]), undefined);
});

const eth0: NetworkInterface = {
  name: 'eth0',
  internal: false,
  addresses: [
    { address: '192.0.2.7', family: 4, prefix: 24, zone: undefined },
    { address: '2001:db8::7', family: 6, prefix: 64, zone: undefined },
    { address: 'fe80::7', family: 6, prefix: 64, zone: 2 },
  ],
};
const lo: NetworkInterface = {
  name: 'lo',
  internal: true,
  addresses: [
    { address: '127.0.0.1', family: 4, prefix: 8, zone: undefined },
    { address: '::1', family: 6, prefix: 128, zone: undefined },
  ],
};

test('addresses of the LAN come first, loopback last, link-local ones only where there is no other', (t) => {
  const any = [
    { host: '0.0.0.0', port: 1 },
    { host: '::', port: 2 },
  ];
  t.deepEqual(dialableAddresses(any, [lo, eth0]), [
    '/ip4/192.0.2.7/tcp/1',
    '/ip6/2001:db8::7/tcp/2',
    '/ip4/127.0.0.1/tcp/1',
    '/ip6/::1/tcp/2',
  ]);
  const bare: NetworkInterface = {
    ...eth0,
    addresses: [{ address: '169.254.3.4', family: 4, prefix: 16, zone: undefined }],
  };
  t.deepEqual(dialableAddresses(any.slice(0, 1), [lo, bare]), ['/ip4/169.254.3.4/tcp/1', '/ip4/127.0.0.1/tcp/1']);
  t.false(dialableAddresses(any, [lo, eth0, bare]).some((address) => address.includes('169.254')));
  t.deepEqual(dialableAddresses([{ host: '127.0.0.1', port: 3 }], [eth0]), ['/ip4/127.0.0.1/tcp/3']);
  t.deepEqual(dialableAddresses([], [lo, eth0]), []);
});

test('what is on a link is known by its networks and zones', (t) => {
  for (const source of ['192.0.2.7', '192.0.2.200', '2001:db8::1', 'fe80::1%eth0', 'fe80::1%2'])
    t.true(isOnLink(source, eth0), source);
  for (const source of [
    '192.0.3.1',
    '10.0.0.1',
    '2001:db9::1',
    'fe80::1%eth1',
    'fe80::1',
    '::ffff:192.0.2.7',
    'nonsense',
    '',
  ]) {
    t.false(isOnLink(source, eth0), source);
  }
});

test('interfaces that lead to containers of this box are left out, those of a LAN are not', (t) => {
  for (const name of ['docker0', 'br-0123456789ab', 'veth12ab34c', 'virbr0', 'cni0', 'sv-demo'])
    t.false(notVirtual(name), name);
  for (const name of ['eth0', 'lo', 'br-lan', 'br0', 'wlan0', 'enp3s0', 'wg0', 'end0']) t.true(notVirtual(name), name);
});

test('addresses are dialled a few at a time, in order, and the first that answers wins', async (t) => {
  const clock = createSimClock(0);
  const started: [string, number][] = [];
  const aborted: string[] = [];
  const outcome = dialAny(['a', 'b', 'c', 'd', 'b'], {
    clock,
    dial: (address, signal) => {
      started.push([address, clock.now()]);
      signal.addEventListener('abort', () => aborted.push(address));
      return address === 'b' ? clock.sleep(600).then(() => address) : clock.sleep(60_000, signal).then(() => address);
    },
    discard: () => t.fail(),
  });
  await clock.advance(1_000);
  t.is(await outcome, 'b');
  t.deepEqual(started, [
    ['a', 0],
    ['b', 250],
    ['c', 500],
  ]);
  t.is(started.length, dialsInParallelMax);
  t.deepEqual(aborted, ['a', 'c']);
  t.is(clock.pending(), 0);
});

test('a dial that fails starts the next at once, one that comes too late is discarded, and nothing waits for ever', async (t) => {
  const clock = createSimClock(0);
  const discarded: string[] = [];
  const race = dialAny(['broken', 'slow', 'deaf'], {
    clock,
    dial: async (address) => {
      if (address === 'broken') throw new Error('refused');
      await clock.sleep(address === 'slow' ? 400 : 500);
      return address;
    },
    discard: (late) => discarded.push(late),
  });
  await clock.advance(2_000);
  t.is(await race, 'slow');
  t.deepEqual(discarded, ['deaf']);

  const nobody = t.throwsAsync(
    dialAny(
      Array.from({ length: 16 }, (_, n) => `silent-${n}`),
      { clock, dial: (_, signal) => clock.sleep(1e9, signal), discard: () => {} },
    ),
    { instanceOf: UnreachableError },
  );
  await clock.advance(connectTimeoutMs + 1_000);
  t.regex((await nobody)?.message ?? '', /silent-0: no answer within 5000 ms/);
});

test('somebody else at one address matters only when the peer answers at none', async (t) => {
  const clock = createSimClock(0);
  const dial = async (address: string) => {
    if (address === 'other') throw new PeerMismatchError('P', 'Q');
    if (address === 'closed') throw new Error('refused');
    return address;
  };
  const ports = { clock, dial, discard: () => {} };
  t.is(await dialAny(['other', 'right'], ports), 'right');
  await t.throwsAsync(dialAny(['closed', 'other', 'closed'], ports), { instanceOf: PeerMismatchError });
  await t.throwsAsync(dialAny(['closed'], ports), { instanceOf: UnreachableError, message: /closed: refused/ });
  const patience = new AbortController();
  const given = dialAny(
    ['silent'],
    { ...ports, dial: (_, signal) => clock.sleep(1e9, signal).then(() => '') },
    patience.signal,
  );
  patience.abort(new Error('enough'));
  await t.throwsAsync(given, { message: 'enough' });
});

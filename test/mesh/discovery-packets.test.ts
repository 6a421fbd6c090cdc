// Packets of multicast DNS that would take long to decode are not decoded: what this project and others say on a network is.

import test from 'ava';
import * as dns from 'dns-packet';
import { isCheap } from '../../mesh/discovery-packets.ts';
import { recordsOf, SERVICE } from '../../mesh/discovery-records.ts';
import { createDiscoverySocket } from '../../mesh/discovery-socket.ts';
import { discoveryPacketBytesMax, discoveryPacketsPerSecondMax, recordsPerPacketMax } from '../../mesh/limits.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';

const peerId = (index: number): string => `12D3KooW${String(index).padStart(44, '1')}`;
const answer = (addresses: string[], peers = 1): Buffer => {
  const said = Array.from({ length: peers }, (_, index) =>
    recordsOf({ peerId: peerId(index + 1), fabricId: 'a'.repeat(52), addresses }),
  );
  return dns.encode({
    type: 'response',
    answers: said.flatMap(({ answers }) => answers) as dns.Answer[],
    additionals: said.flatMap(({ additionals }) => additionals) as dns.Answer[],
  });
};

/** Names that lead through each other, one pointer after the other, and records that each begin with the last of them. */
function leading(bytes: number, records: number): Buffer {
  const packet = Buffer.alloc(bytes);
  packet.writeUInt16BE(0x8400, 2);
  packet.writeUInt16BE(records, 6);
  // The first record is of type NULL; its data is the chain.
  const chainBytes = Math.min(16_300, bytes - 23 - (records - 1) * 12);
  packet.writeUInt16BE(10, 13);
  packet.writeUInt16BE(chainBytes, 21);
  let last = 12;
  for (let at = 23; at + 1 < 23 + chainBytes; last = at, at += 2) packet.writeUInt16BE(0xc000 + last, at);
  for (let record = 1, at = 23 + chainBytes; record < records; record++, at += 12) {
    packet.writeUInt16BE(0xc000 + last, at);
    packet.writeUInt16BE(10, at + 2);
  }
  return packet;
}

test('what nodes and others on a network say is decoded', (t) => {
  const addresses = Array.from({ length: 10 }, (_, index) => `/ip6/fd00::${index + 1}/tcp/7433`);
  t.true(isCheap(answer(['/ip4/192.0.2.7/tcp/7433'])));
  t.true(isCheap(answer(addresses)));
  t.true(isCheap(answer(addresses, 5)));
  t.true(isCheap(dns.encode({ type: 'query', questions: [{ name: SERVICE, type: 'PTR' }] })));
  const printer = Array.from({ length: 40 }, (_, index) => ({
    ...({ name: `printer-${index}.local`, type: 'AAAA', ttl: 120, data: 'fe80::ffff:ffff:ffff:ffff' } as const),
  }));
  t.true(isCheap(dns.encode({ type: 'response', answers: printer })));
});

test('attack: of packets without number so many are decoded in one second, and the rest is told', async (t) => {
  const clock = createSimClock();
  const dropped: string[] = [];
  const socket = createDiscoverySocket('udp4', { clock, onDropped: (why) => dropped.push(why) });
  t.teardown(() => socket.close());
  let decoded = 0;
  socket.on('message', () => (decoded += 1));
  const packet = answer(['/ip4/192.0.2.7/tcp/7433']);
  const hear = (packets: number): void => {
    for (let heard = 0; heard < packets; heard++) socket.emit('message', packet, { address: '192.0.2.7', port: 5353 });
  };
  hear(discoveryPacketsPerSecondMax);
  t.is(decoded, discoveryPacketsPerSecondMax);
  t.deepEqual(dropped, []);
  hear(10);
  t.is(decoded, discoveryPacketsPerSecondMax);
  t.deepEqual(dropped, Array(10).fill('flood'));
  await clock.advance(1_000);
  socket.emit('message', leading(4_000, 60), { address: '192.0.2.7', port: 5353 });
  t.is(dropped.at(-1), 'junk');
  hear(1);
  t.is(decoded, discoveryPacketsPerSecondMax + 1, 'a second later they are looked at again');
});

test('attack: names that lead through each other are not decoded', (t) => {
  for (const [bytes, records] of [
    [discoveryPacketBytesMax, recordsPerPacketMax],
    [65_000, 4_000],
    [4_000, 60],
  ] as const) {
    const packet = leading(bytes, records);
    t.is(dns.decode(packet).answers?.length, records, 'dns-packet follows them');
    t.false(isCheap(packet), `${bytes} bytes, ${records} records`);
  }
  t.false(isCheap(new Uint8Array(11)));
  t.false(isCheap(Buffer.concat([answer([]), Buffer.alloc(discoveryPacketBytesMax)])));
});

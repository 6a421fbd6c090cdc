// Says names without number by multicast DNS on the loopback interface, as a process of its own in a test's network namespace. Its argument is how
// many; it ends when all are said.

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import * as dns from 'dns-packet';
import { recordsOf } from '../../mesh/discovery-records.ts';

const perPacket = 20;
const names = Number(process.argv[2]);
const socket = createSocket({ type: 'udp4', reuseAddr: true });
socket.bind(5353, '0.0.0.0');
await once(socket, 'listening');
socket.setMulticastInterface('127.0.0.1');
for (let from = 1; from <= names; from += perPacket) {
  const additionals = Array.from({ length: perPacket }, (_, index) => {
    const digits = String(from + index)
      .replaceAll('0', 'A')
      .padStart(44, 'B');
    const said = { peerId: `12D3KooW${digits}`, fabricId: undefined, addresses: ['/ip4/127.0.0.1/tcp/1'] };
    return recordsOf(said).additionals.filter(({ type }) => type === 'TXT');
  }).flat();
  const packet = dns.encode({ type: 'response', additionals: additionals as dns.Answer[] });
  await new Promise((resolve) => {
    socket.send(packet, 5353, '224.0.0.251', resolve);
  });
}
socket.close();

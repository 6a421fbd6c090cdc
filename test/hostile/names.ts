// Hostile names: questions to the resolver of containers, over its real socket, and what anybody on the network says by multicast DNS. Each beside
// a reading of the packet that is written anew.

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { isIP } from 'node:net';
import { multiaddr } from '@multiformats/multiaddr';
import * as dns from 'dns-packet';
import { isCheap } from '../../mesh/discovery-packets.ts';
import { type DnsRecord, readRecords, recordsOf } from '../../mesh/discovery-records.ts';
import { createFoundTable } from '../../mesh/found-table.ts';
import { foundPeersMax } from '../../mesh/limits.ts';
import { createContainerNames } from '../../node-runtime/container-names.ts';
import { createNameServer } from '../../node-runtime/name-server.ts';
import { freePort } from '../mesh/libp2p-world.ts';
import { mutateBytes } from './mutate.ts';
import type { HostileKind, Verdict } from './run-kind.ts';

const own = '198.18.9.1';
const told = ['server', 'server.shop', 'server.shop.default'];

/** Name and type of the one question of a packet; pointers are followed for a while. */
function readQuestion(packet: Uint8Array): { name: string; type: number } | undefined {
  const labels: string[] = [];
  let at = 12;
  let end: number | undefined;
  for (let steps = 0; steps < 300; steps++) {
    const length = packet[at];
    if (length === undefined) return undefined;
    if (length >= 0xc0) {
      end ??= at + 2;
      at = (length - 0xc0) * 256 + (packet[at + 1] ?? 0);
    } else if (length === 0) {
      end ??= at + 1;
      return { name: labels.join('.'), type: (packet[end] ?? 0) * 256 + (packet[end + 1] ?? 0) };
    } else {
      labels.push(Buffer.from(packet.subarray(at + 1, at + 1 + length)).toString('utf8'));
      at += 1 + length;
    }
  }
  return undefined;
}

const question = (name: string, type: dns.RecordType | 'ANY', id: number): Uint8Array =>
  new Uint8Array(
    dns.encode({
      type: 'query',
      id,
      flags: dns.RECURSION_DESIRED,
      questions: [{ name, type: type as dns.RecordType }],
    }),
  );

const dnsQuestions: HostileKind = {
  name: 'dns-questions',
  share: 60,
  async open(t) {
    const port = await freePort();
    const names = createContainerNames();
    names.tell('127.0.0.1', [{ address: own, names: told }]);
    const forwarded: Buffer[] = [];
    const server = createNameServer({
      knows: names.knows,
      answer: names.answer,
      forwarder: {
        async ask(query) {
          forwarded.push(query);
          return undefined;
        },
      },
      port,
    });
    await server.listen('127.0.0.1');
    const asker = createSocket('udp4');
    asker.bind(0, '127.0.0.1');
    await once(asker, 'listening');
    t.teardown(async () => {
      asker.close();
      await server.close();
    });
    const answers: Uint8Array[] = [];
    let arrived = Promise.withResolvers<void>();
    asker.on('message', (answer) => {
      answers.push(new Uint8Array(answer));
      arrived.resolve();
      arrived = Promise.withResolvers();
    });
    let probes = 0;
    const valid = [
      question('server', 'A', 7),
      question('SERVER.shop.default', 'A', 8),
      question('server.shop', 'ANY', 9),
    ];
    const other = [question('www.example.org', 'A', 10), question('server', 'MX', 11)];
    return {
      valid,
      hostile: (draw) => mutateBytes(draw.pick([...valid, ...other]), [...valid, ...other], draw).subarray(0, 9_000),
      async take(frame): Promise<Verdict> {
        answers.length = 0;
        forwarded.length = 0;
        // After it an honest question, whose answer comes last: then there is nothing more to wait for.
        const probe = question('server', 'A', 0xf000 + (probes++ % 0xfff));
        for (let tries = 0; tries < 20; tries++) {
          asker.send(frame, port, '127.0.0.1');
          asker.send(probe, port, '127.0.0.1');
          const timer = setTimeout(() => arrived.resolve(), 3_000);
          while (answers.every((answer) => answer[0] !== probe[0] || answer[1] !== probe[1])) {
            const before = answers.length;
            await arrived.promise;
            if (answers.length === before) break;
          }
          clearTimeout(timer);
          if (answers.some((answer) => answer[0] === probe[0] && answer[1] === probe[1])) break;
        }
        const served = answers.findIndex((answer) => answer[0] === probe[0] && answer[1] === probe[1]);
        if (served === -1) return { accepted: false, wrong: 'an honest question is answered no more' };
        const given = answers.slice(0, served);
        const hasAddress = given.some((answer) => answer[6] === 0 && answer[7] === 1);
        const asked = readQuestion(frame);
        for (const answer of given) {
          if (answer[0] !== frame[0] || answer[1] !== frame[1])
            return { accepted: false, wrong: 'an answer to another question' };
          if (((answer[2] ?? 0) & 0x80) === 0) return { accepted: false, wrong: 'an answer that is a question' };
          if (answer.length > 2 * frame.length + 32) return { accepted: false, wrong: 'an answer that is much longer' };
        }
        if (given.length > 20) return { accepted: hasAddress, wrong: 'many answers to one question' };
        if (hasAddress && !(asked !== undefined && told.includes(asked.name.toLowerCase().replace(/\.$/, ''))))
          return { accepted: true, wrong: 'an address for another name' };
        if (hasAddress && asked?.type !== 1 && asked?.type !== 255)
          return { accepted: true, wrong: 'an address for another type' };
        const leaked = forwarded
          .map(readQuestion)
          .find((one) => one === undefined || told.includes(one.name.toLowerCase()));
        if (forwarded.length > 0 && leaked !== undefined)
          return { accepted: hasAddress, wrong: 'a service was asked elsewhere' };
        return { accepted: hasAddress };
      },
    };
  },
};

const isAddress = (address: string): boolean => {
  try {
    const parts = multiaddr(address).getComponents();
    const [{ name: family = '', value: ip = '' } = {}, { name: transport = '', value: port = '' } = {}] = parts;
    const real = isIP(ip) === (family === 'ip4' ? 4 : 6) && !/^(0\.|2(2[4-9]|[345]\d)\.|ff|::$)/i.test(ip);
    return parts.length === 2 && real && transport === 'tcp' && Number(port) >= 1 && Number(port) <= 65_535;
  } catch {
    return false;
  }
};

const mdnsAnswers: HostileKind = {
  name: 'mdns-answers',
  share: 200,
  open() {
    const honest = {
      peerId: `12D3KooW${'1'.repeat(44)}`,
      fabricId: 'a'.repeat(52),
      addresses: ['/ip4/192.0.2.1/tcp/7433'],
    };
    const others = {
      ...honest,
      peerId: `12D3KooW${'2'.repeat(44)}`,
      addresses: ['/ip4/192.0.2.7/tcp/1', '/ip6/fd00::7/tcp/2'],
    };
    const packet = (said: typeof honest, goodbye = false): Uint8Array =>
      new Uint8Array(dns.encode({ type: 'response', ...(recordsOf(said, goodbye) as { answers: dns.Answer[] }) }));
    const valid = [packet(others), packet({ ...others, fabricId: 'b'.repeat(52) })];
    const table = createFoundTable();
    let now = 0;
    table.hear(honest, now, '192.0.2.1');
    return {
      valid,
      hostile: (draw) => mutateBytes(draw.pick([...valid, packet(others, true)]), valid, draw),
      take(frame): Verdict {
        now++;
        if (!isCheap(frame)) return { accepted: false };
        let records: DnsRecord[];
        try {
          const { answers = [], additionals = [] } = dns.decode(Buffer.from(frame));
          records = [...answers, ...additionals] as DnsRecord[];
        } catch {
          // multicast-dns drops it.
          return { accepted: false };
        }
        const heard = readRecords(records, false).flatMap((one) =>
          one.kind === 'announcement' ? [one.announcement] : [],
        );
        for (const announcement of heard) {
          const { peerId, fabricId, addresses } = announcement;
          if (!/^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/.test(peerId)) return { accepted: true, wrong: `a peer ${peerId}` };
          if (fabricId !== undefined && !/^[a-z2-7]{52}$/.test(fabricId))
            return { accepted: true, wrong: `a fabric ${fabricId}` };
          const wrong = addresses.find((address) => !isAddress(address) || /\/127\.|\/::1\//.test(address));
          if (wrong !== undefined || addresses.length === 0 || addresses.length > 10)
            return { accepted: true, wrong: `addresses ${JSON.stringify(addresses)}` };
          if (peerId !== honest.peerId) table.hear(announcement, now, '192.0.2.66');
        }
        const kept = table.list(now);
        if (kept.length > foundPeersMax) return { accepted: true, wrong: `${kept.length} peers are held` };
        if (now < 100_000 && !kept.some(({ peerId }) => peerId === honest.peerId))
          return { accepted: true, wrong: 'somebody else is forgotten' };
        return { accepted: heard.length > 0 };
      },
    };
  },
};

export const nameKinds: readonly HostileKind[] = [dnsQuestions, mdnsAnswers];

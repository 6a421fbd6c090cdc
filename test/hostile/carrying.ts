// Requests of neighbours to carry something to another node: what a proved neighbour writes on a connection of its own.

import { once } from 'node:events';
import { duplexPair } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { type CarryRequest, createCarryRequests } from '../../mesh/carry-requests.ts';
import { avoidedMax, routeHopsMax } from '../../mesh/limits.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import type { Draw } from './draw.ts';
import { mutateBytes } from './mutate.ts';
import type { HostileKind, Verdict } from './run-kind.ts';

const peer = (index: number): string => `12D3KooW${String(index).repeat(44)}`;
const head = (lines: readonly string[]): Uint8Array => Buffer.from(`${lines.join('\r\n')}\r\n\r\n`);
const lines = (via: readonly string[]): string[] => [
  `CONNECT ${peer(1)} HTTP/1.1`,
  `host: ${peer(1)}`,
  `selvedge-from: ${peer(2)}`,
  `selvedge-via: ${via.join(' ')}`,
];
const avoiding = `selvedge-avoid: ${peer(6)} ${peer(7)}`;
const valid = [head(lines([])), head([...lines([peer(3)]), avoiding]), head(lines([peer(3), peer(4), peer(5)]))];

function hostileLines(draw: Draw): Uint8Array {
  const list = [...lines([peer(3)]), avoiding];
  const values = [
    '',
    ' ',
    '\0',
    '/',
    '*',
    'x'.repeat(300),
    'y'.repeat(20_000),
    'é',
    '__proto__',
    peer(9),
    `${peer(9)} `,
  ];
  for (let changes = 1 + draw.below(3); changes > 0; changes--) {
    const at = draw.below(list.length);
    draw.pick([
      () => void list.splice(at, 1),
      () => void list.splice(at, 0, list[at] ?? ''),
      () => void list.splice(at, 1, `${(list[at] ?? '').split(':')[0]}: ${draw.pick(values)}`),
      () =>
        void list.splice(
          0,
          1,
          `${draw.pick(['CONNECT', 'GET', 'POST', 'connect', 'PRI'])} ${draw.pick(values)} HTTP/1.1`,
        ),
      () => void list.push(`selvedge-via: ${Array.from({ length: draw.below(100) }, () => peer(7)).join(' ')}`),
      () =>
        void list.push(
          draw.pick(['content-length: 5', 'transfer-encoding: chunked', 'upgrade: h2c', 'expect: 100-continue']),
        ),
      () => void list.push(...Array.from({ length: draw.below(300) }, (_, index) => `x-${index}: y`)),
    ])();
  }
  return head(list);
}

export const carryingKinds: readonly HostileKind[] = [
  {
    name: 'carry-requests',
    share: 60,
    open() {
      let asked: CarryRequest | undefined;
      let tell = (): void => undefined;
      const requests = createCarryRequests({
        clock: createSystemClock(),
        onRequest(request) {
          asked = request;
          tell();
        },
      });
      return {
        valid,
        hostile: (draw) => (draw.oneIn(2) ? hostileLines(draw) : mutateBytes(draw.pick(valid), valid, draw)),
        async take(frame): Promise<Verdict> {
          asked = undefined;
          const [near, far] = duplexPair();
          for (const end of [near, far]) end.on('error', () => undefined);
          near.resume();
          const settled = new Promise<void>((resolve) => {
            tell = resolve;
          });
          requests.read(far as TLSSocket, peer(2));
          const closed = once(far, 'close');
          near.end(frame);
          await Promise.race([settled, closed]);
          near.destroy();
          far.destroy();
          await closed;
          const { wish } = (asked as CarryRequest | undefined) ?? {};
          if (wish === undefined) return { accepted: false };
          const text = Buffer.from(frame).toString('latin1');
          const said = text.includes(`CONNECT ${wish.to} `) && text.includes(wish.from);
          const { via, avoid = [] } = wish;
          const tooMany = via.length > routeHopsMax || avoid.length > avoidedMax;
          const wrong = !said || tooMany || ![...via, ...avoid].every((each) => text.includes(each));
          return { accepted: true, ...(wrong && { wrong: 'it read something that was not said' }) };
        },
      };
    },
  },
];

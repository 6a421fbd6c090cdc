// Hostile bytes on a stream of datagrams: capsules of any type, length and context, beside a reading of RFC 9297 and RFC 9298 that is written
// anew with exact integers.

import { createCapsuleDecoder, encodeDatagram } from '../../mesh/datagram-capsules.ts';
import { CapsuleError } from '../../mesh/errors.ts';
import { capsuleSkippedBytesMax, datagramBytesMax } from '../../mesh/limits.ts';
import type { Draw } from './draw.ts';
import { mutateBytes } from './mutate.ts';
import type { HostileKind, Verdict } from './run-kind.ts';

const joined = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));

/** An integer of QUIC in so many bytes, which need not be the fewest. */
function integer(value: bigint, bytes: number): Uint8Array {
  const encoded = Buffer.alloc(8);
  encoded.writeBigUInt64BE(value);
  const cut = encoded.subarray(8 - bytes);
  cut[0] = ((cut[0] ?? 0) & 0x3f) | (Math.log2(bytes) << 6);
  return new Uint8Array(cut);
}

function readInteger(bytes: Uint8Array, at: number): { value: bigint; end: number } | undefined {
  const first = bytes[at];
  if (first === undefined) return undefined;
  const length = [1, 2, 4, 8][first >> 6] ?? 0;
  if (at + length > bytes.length) return undefined;
  let value = BigInt(first & 0x3f);
  for (let index = 1; index < length; index++) value = (value << 8n) | BigInt(bytes[at + index] ?? 0);
  return { value, end: at + length };
}

/** `end`: whole capsules, the middle of one, or what may not be. */
function readCapsules(bytes: Uint8Array): { payloads: Uint8Array[]; end: 'whole' | 'within' | 'refused' } {
  const payloads: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const type = readInteger(bytes, at);
    const length = type && readInteger(bytes, type.end);
    if (length === undefined || type === undefined) return { payloads, end: 'within' };
    const isDatagram = type.value === 0n;
    const longest = isDatagram ? BigInt(datagramBytesMax + 8) : BigInt(capsuleSkippedBytesMax);
    if (length.value > longest || (isDatagram && length.value === 0n)) return { payloads, end: 'refused' };
    const end = length.end + Number(length.value);
    if (end > bytes.length) return { payloads, end: 'within' };
    if (isDatagram) {
      const value = bytes.subarray(length.end, end);
      const context = readInteger(value, 0);
      if (context === undefined) return { payloads, end: 'refused' };
      const payload = value.subarray(context.end);
      if (context.value === 0n && payload.length > datagramBytesMax) return { payloads, end: 'refused' };
      if (context.value === 0n) payloads.push(payload);
    }
    at = end;
  }
  return { payloads, end: 'whole' };
}

function capsule(draw: Draw): Uint8Array {
  const width = (): number => draw.pick([1, 2, 4, 8]);
  const edges = [
    datagramBytesMax - 1,
    datagramBytesMax,
    datagramBytesMax + 1,
    datagramBytesMax + 8,
    datagramBytesMax + 9,
  ];
  const length = draw.oneIn(10) ? draw.pick(edges) : draw.below(draw.pick([2, 70, 300]));
  const type = draw.pick([0n, 0n, 0n, 1n, 0x2an, 2n ** 62n - 1n]);
  const context = draw.pick([0n, 0n, 0n, 1n, 2n ** 61n]);
  const fits = (value: bigint, wanted: number): number => (value < 2n ** BigInt(8 * wanted - 2) ? wanted : 8);
  const value = joined(integer(context, fits(context, width())), draw.bytes(length));
  const said = draw.oneIn(12)
    ? draw.pick([
        0n,
        1n,
        BigInt(capsuleSkippedBytesMax),
        BigInt(capsuleSkippedBytesMax + 1),
        2n ** 53n + 1n,
        2n ** 62n - 1n,
      ])
    : BigInt(value.length);
  return joined(integer(type, fits(type, width())), integer(said, fits(said, width())), value);
}

/** In pieces of any size, often of one byte. */
function pieces(bytes: Uint8Array, draw: Draw): Uint8Array[] {
  const cut: Uint8Array[] = [];
  const sizeMax = draw.pick([1, 7, 100, 20_000, 200_000]);
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + draw.below(sizeMax);
    cut.push(bytes.subarray(at, end));
    at = end;
  }
  return cut;
}

const alike = (one: readonly Uint8Array[], other: readonly Uint8Array[]): boolean =>
  one.length === other.length &&
  one.every((payload, index) => Buffer.compare(payload, other[index] as Uint8Array) === 0);

const datagramCapsules: HostileKind = {
  name: 'datagram-capsules',
  share: 60,
  open() {
    const payloads = [0, 1, 62, 63, 16_382, 16_383, datagramBytesMax].map((bytes) => new Uint8Array(bytes).fill(7));
    const unknown = joined(integer(0x1234n, 2), integer(300n, 4), new Uint8Array(300));
    const otherContext = joined(integer(0n, 1), integer(4n, 8), integer(2n, 1), new Uint8Array(3));
    const valid = [
      joined(...payloads.map(encodeDatagram)),
      joined(encodeDatagram(Buffer.from('one')), unknown, otherContext, encodeDatagram(Buffer.from('two'))),
    ];
    return {
      valid,
      hostile(draw) {
        if (draw.oneIn(3)) return mutateBytes(draw.pick(valid), valid, draw);
        return joined(...Array.from({ length: 1 + draw.below(6) }, () => capsule(draw)));
      },
      take(bytes, draw): Verdict {
        const decoder = createCapsuleDecoder();
        const got: Uint8Array[] = [];
        let end: ReturnType<typeof readCapsules>['end'] = 'refused';
        try {
          for (const piece of pieces(bytes, draw)) got.push(...decoder.push(piece).map((one) => new Uint8Array(one)));
          end = 'within';
          decoder.end();
          end = 'whole';
        } catch (error) {
          if (!(error instanceof CapsuleError)) throw error;
        }
        const expected = readCapsules(bytes);
        const accepted = end === 'whole';
        if (end !== expected.end) return { accepted, wrong: `it ends ${end} and not ${expected.end}` };
        // Of the piece in which the refusal came, the datagrams before it are lost with the stream.
        const wanted = end === 'refused' ? expected.payloads.slice(0, got.length) : expected.payloads;
        return alike(got, wanted) ? { accepted } : { accepted, wrong: 'other datagrams came out' };
      },
    };
  },
};

export const capsuleKinds: readonly HostileKind[] = [datagramCapsules];

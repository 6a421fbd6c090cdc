// `poll_oneoff` of WASI preview 1: how a module sleeps. Called by guest.ts. The one of node:wasi sleeps in the system, where a thread
// cannot be ended; this one can be at any time. Files and pipes are always ready.

import { errno } from './wasi-names.ts';

const subscriptionBytes = 48;
const eventBytes = 32;
const clockTag = 0;
const realtime = 0;
const absolute = 1;
/** Subscriptions of one call. */
const subscriptionsMax = 4_096;

const nothing = new Int32Array(new SharedArrayBuffer(4));
const nanosecondsNow = (clock: number): bigint =>
  clock === realtime
    ? BigInt(Math.round((performance.timeOrigin + performance.now()) * 1_000)) * 1_000n
    : process.hrtime.bigint();

export function pollOneoff(memory: () => DataView) {
  return (subscriptions: number, events: number, count: number, result: number): number => {
    if (count === 0 || count > subscriptionsMax) return errno.inval;
    const view = memory();
    const waits = Array.from({ length: count }, (_, index) => {
      const at = subscriptions + index * subscriptionBytes;
      const userdata = view.getBigUint64(at, true);
      const tag = view.getUint8(at + 8);
      if (tag !== clockTag) return { userdata, tag, left: 0n };
      const clock = view.getUint32(at + 16, true);
      const timeout = view.getBigUint64(at + 24, true);
      const isAbsolute = (view.getUint16(at + 40, true) & absolute) !== 0;
      const left = isAbsolute ? timeout - nanosecondsNow(clock) : timeout;
      return { userdata, tag, left: left < 0n ? 0n : left };
    });
    const shortest = waits.reduce(
      (least, { left }) => (left < least ? left : least),
      (waits[0] as { left: bigint }).left,
    );
    if (shortest > 0n) Atomics.wait(nothing, 0, 0, Number(shortest) / 1e6);
    const ready = waits.filter(({ left }) => left <= shortest);
    for (const [index, { userdata, tag }] of ready.entries()) {
      const at = events + index * eventBytes;
      new Uint8Array(view.buffer, at, eventBytes).fill(0);
      view.setBigUint64(at, userdata, true);
      view.setUint8(at + 10, tag);
    }
    view.setUint32(result, ready.length, true);
    return errno.success;
  };
}

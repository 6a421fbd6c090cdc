// Which packets of multicast DNS are decoded at all, by their head and size alone. Called by discovery.ts before dns-packet sees them: names
// that point at each other make one packet of 64 KiB cost a second, and anybody on the network may send a thousand of them.

import { discoveryPacketBytesMax, discoveryPacketStepsMax, recordsPerPacketMax } from './limits.ts';

const headBytes = 12;
/** A byte of this or more begins a pointer where a name may have one (RFC 1035, section 4.1.4). */
const pointer = 0xc0;

/** Whether it costs little to decode, whatever is in it. */
export function isCheap(packet: Uint8Array): boolean {
  if (packet.length < headBytes || packet.length > discoveryPacketBytesMax) return false;
  const count = (at: number): number => (packet[at] ?? 0) * 256 + (packet[at + 1] ?? 0);
  const records = count(4) + count(6) + count(8) + count(10);
  if (records > recordsPerPacketMax) return false;
  // Each name follows each pointer once at most: they lead backwards alone.
  let pointers = 0;
  for (const byte of packet) if (byte >= pointer) pointers++;
  return records * pointers <= discoveryPacketStepsMax;
}

// Who somebody is by where he comes from, for bounds: whoever has one IPv6 address has all of its /64. Pure; called by
// gateway-connections.ts and gateway-udp.ts. Grants are held against whole addresses, never against this.

import { isIPv6 } from 'node:net';
import { plainAddress } from './gateway-grants.ts';

/** IPv4 as it is, of IPv6 the first 64 bits. */
export function originOf(address: string): string {
  const plain = plainAddress(address);
  if (!isIPv6(plain)) return plain;
  const [head = '', tail] = plain.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = (tail ?? '') === '' ? [] : (tail ?? '').split(':');
  // Four bytes at the end may be written as IPv4.
  const afterGroups = after.length + (after.at(-1)?.includes('.') ? 1 : 0);
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - before.length - afterGroups);
  const groups = [...before, ...Array.from({ length: zeros }, () => '0'), ...after];
  return `${groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`;
}

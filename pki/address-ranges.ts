// Addresses of peers: whether one lies in a range, and which subnet it belongs to. Pure. Called by the open window and by the
// list of pending requests. An address says where packets came from, never who sent them.

import { BlockList, isIP } from 'node:net';
import { WindowRefusedError } from './errors.ts';

export interface AddressRanges {
  contains(address: string): boolean;
}

/** IPv4 addresses that a dual-stack socket shows as IPv6 (RFC 4291, section 2.5.5.2) are IPv4; a zone says nothing here. */
export function plainAddress(address: string): string {
  const [bare = ''] = address.toLowerCase().split('%');
  return /^::ffff:\d+\.\d+\.\d+\.\d+$/.test(bare) ? bare.slice('::ffff:'.length) : bare;
}

/** `/ip4/192.0.2.7/tcp/7433` → `192.0.2.7`; undefined when it has no IP address. */
export function hostOfMultiaddr(address: string): string | undefined {
  const [, family, host = ''] = address.split('/');
  return (family === 'ip4' || family === 'ip6') && isIP(host) !== 0 ? plainAddress(host) : undefined;
}

/** Reads `192.0.2.0/24` and `2001:db8::/32`; an address alone is a range of one. Throws WindowRefusedError. */
export function readAddressRanges(texts: readonly string[]): AddressRanges {
  const list = new BlockList();
  for (const text of texts) {
    const [network = '', prefix, ...more] = text.trim().split('/');
    const version = isIP(network);
    const bits = version === 4 ? 32 : 128;
    const length = prefix === undefined ? bits : /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1;
    if (version === 0 || more.length > 0 || length < 0 || length > bits) {
      throw new WindowRefusedError(`${JSON.stringify(text.slice(0, 60))} is no address range`);
    }
    list.addSubnet(network, length, version === 4 ? 'ipv4' : 'ipv6');
  }
  return {
    contains(address) {
      const plain = plainAddress(address);
      const version = isIP(plain);
      return version !== 0 && list.check(plain, version === 4 ? 'ipv4' : 'ipv6');
    },
  };
}

/** IPv4 by /24, IPv6 by /64; anything else is a subnet of its own. */
export function subnetOf(address: string): string {
  const plain = plainAddress(address);
  if (isIP(plain) === 4) return plain.split('.').slice(0, 3).join('.');
  if (isIP(plain) !== 6) return plain;
  const [head = '', tail] = plain.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  const groups = [...left, ...Array.from({ length: zeros }, () => '0'), ...right];
  return groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':');
}

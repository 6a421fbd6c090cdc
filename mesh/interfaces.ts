// The network interfaces of this box: which addresses others can dial, what is on the same link, and a watch that says
// when that changes. Called by libp2p-mesh.ts and discovery.ts. It only reads; there is no event for changes in Node.

import { BlockList, isIPv4, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Clock, TimerId } from '../node-runtime/clock.ts';
import { interfacePollMs } from './limits.ts';
import type { Address } from './mesh.ts';

export interface InterfaceAddress {
  /** Without a zone. */
  address: string;
  family: 4 | 6;
  /** Bits of the network part. */
  prefix: number;
  /** Number of the interface, of link-local IPv6 addresses. */
  zone: number | undefined;
}

export interface NetworkInterface {
  name: string;
  internal: boolean;
  addresses: InterfaceAddress[];
}

/** Says whether an interface is used, by name. */
export type InterfaceFilter = (name: string) => boolean;

/** Bridges and cables that lead to containers and virtual machines of this box, by the names that their makers give them. */
const VIRTUAL =
  /^(docker\d*|br-[0-9a-f]{12}|veth[0-9a-f]{7,}|virbr\d+|cni\d+|cali[0-9a-f]+|flannel\.\d+|podman\d+|sv-.*)$/;

export const notVirtual: InterfaceFilter = (name) => !VIRTUAL.test(name);

/** What the system has now, without interfaces that the filter leaves out; empty when the system does not say. */
export function readInterfaces(filter: InterfaceFilter = notVirtual): NetworkInterface[] {
  let all: ReturnType<typeof networkInterfaces>;
  try {
    all = networkInterfaces();
  } catch {
    return [];
  }
  return Object.entries(all)
    .filter(([name]) => filter(name))
    .map(([name, entries = []]) => ({
      name,
      internal: entries.every((entry) => entry.internal),
      addresses: entries.map((entry) => ({
        address: entry.address,
        family: entry.family === 'IPv6' ? (6 as const) : (4 as const),
        prefix: Number(entry.cidr?.split('/')[1] ?? (entry.family === 'IPv6' ? 128 : 32)),
        zone: entry.family === 'IPv6' && isLinkLocal(entry.address) ? entry.scopeid : undefined,
      })),
    }));
}

export function isLinkLocal(address: string): boolean {
  return /^fe[89ab][0-9a-f]:/i.test(address) || address.startsWith('169.254.');
}

export function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1';
}

/**
 * Where others can dial a node that listens on `listening` (host as given to `listen`, and port): addresses of the LAN
 * first, IPv4 before IPv6, loopback last, for other nodes on the same box. Link-local IPv4 is given only where there is
 * nothing better, link-local IPv6 never: it means nothing without the dialler's own zone, which TCP addresses lose.
 */
export function dialableAddresses(
  listening: readonly { host: string; port: number }[],
  interfaces: readonly NetworkInterface[],
): Address[] {
  const own = interfaces
    .flatMap(({ addresses }) => addresses)
    .filter(({ address, family }) => family === 4 || !isLinkLocal(address));
  const found: { address: string; port: number }[] = [];
  for (const { host, port } of listening) {
    if (host === '0.0.0.0' || host === '::') {
      const family = host === '::' ? 6 : 4;
      for (const entry of own) if (entry.family === family) found.push({ address: entry.address, port });
    } else {
      found.push({ address: host, port });
    }
  }
  const rank = (address: string): number => {
    if (isLoopback(address)) return 3;
    if (isLinkLocal(address)) return 2;
    return isIPv4(address) ? 0 : 1;
  };
  const ranked = found.sort((a, b) => rank(a.address) - rank(b.address));
  const better = ranked.some(({ address }) => rank(address) < 2);
  return [
    ...new Set(
      ranked
        .filter(({ address }) => !(better && rank(address) === 2))
        .map(({ address, port }) => `/${isIPv6(address) ? 'ip6' : 'ip4'}/${address}/tcp/${port}`),
    ),
  ];
}

/** Whether a packet's source lies on the interface's own link: one of its networks, or link-local with its zone. */
export function isOnLink(source: string, networkInterface: NetworkInterface): boolean {
  const [address = '', zone] = source.split('%');
  const family = isIPv4(address) ? 4 : 6;
  if (family === 6 && !isIPv6(address)) return false;
  if (family === 6 && isLinkLocal(address)) {
    return zone === networkInterface.name || networkInterface.addresses.some((own) => String(own.zone) === zone);
  }
  return networksOf(networkInterface)[family].check(address, family === 4 ? 'ipv4' : 'ipv6');
}

/** By interface as it was read: packets come by the second, changes of an interface by the day. */
const networks = new WeakMap<NetworkInterface, Record<4 | 6, BlockList>>();

function networksOf(networkInterface: NetworkInterface): Record<4 | 6, BlockList> {
  const known = networks.get(networkInterface);
  if (known !== undefined) return known;
  const lists = { 4: new BlockList(), 6: new BlockList() };
  for (const { address, prefix, family } of networkInterface.addresses)
    lists[family].addSubnet(address, prefix, family === 4 ? 'ipv4' : 'ipv6');
  networks.set(networkInterface, lists);
  return lists;
}

/** Whether the address is one of this box. */
export function isOwn(source: string, interfaces: readonly NetworkInterface[]): boolean {
  const [address] = source.split('%');
  return interfaces.some((each) => each.addresses.some((own) => own.address === address));
}

export interface InterfaceWatch {
  /** As of the last look. */
  current(): NetworkInterface[];
  /** Looks now and then every `interfacePollMs`; `changed` is called when something differs. Idempotent. */
  start(changed: () => void): void;
  stop(): void;
}

export function createInterfaceWatch({
  clock,
  read = readInterfaces,
}: {
  clock: Clock;
  read?: () => NetworkInterface[];
}): InterfaceWatch {
  let interfaces = read();
  let timer: TimerId | undefined;

  function look(changed: () => void): void {
    timer = clock.setTimeout(() => look(changed), interfacePollMs);
    const now = read();
    if (JSON.stringify(now) === JSON.stringify(interfaces)) return;
    interfaces = now;
    changed();
  }

  return {
    current: () => interfaces,
    start(changed) {
      if (timer !== undefined) return;
      interfaces = read();
      timer = clock.setTimeout(() => look(changed), interfacePollMs);
    },
    stop() {
      if (timer !== undefined) clock.clearTimeout(timer);
      timer = undefined;
    },
  };
}

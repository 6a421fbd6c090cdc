// What discovery says and reads on the local network, as functions of data: DNS-SD records (RFC 6763) of the service type
// `_selvedge._tcp.local`. Called by discovery.ts. Everything read is an outsider's word: checked, bounded, never trusted.

import { isIPv4, isIPv6 } from 'node:net';
import { isLoopback } from './interfaces.ts';
import { addressCharactersMax, announcedAddressesMax, foundExpiryMs, recordsPerPacketMax } from './limits.ts';
import type { Address, PeerId } from './mesh.ts';

export const SERVICE = '_selvedge._tcp.local';
/** What DNS-SD browsers ask to learn which services there are (RFC 6763, section 9). */
export const SERVICES = '_services._dns-sd._udp.local';

const TTL_SECONDS = foundExpiryMs / 1000;
/** Addresses that are also given as A and AAAA records, for DNS-SD browsers. */
const HOST_ADDRESSES_MAX = 4;

export interface Announcement {
  peerId: PeerId;
  addresses: Address[];
  fabricId: string | undefined;
}

/** The parts of a DNS record that we write and read; the type of dns-packet has a dozen more. */
export interface DnsRecord {
  name: string;
  type: string;
  ttl?: number;
  data?: unknown;
}

/** The answers to a question for our service; `goodbye` sets every time to live to 0 (RFC 6762, section 10.1). */
export function recordsOf(
  announcement: Announcement,
  goodbye = false,
): { answers: DnsRecord[]; additionals: DnsRecord[] } {
  const { peerId, fabricId } = announcement;
  const addresses = announcement.addresses.slice(0, announcedAddressesMax);
  const ttl = goodbye ? 0 : TTL_SECONDS;
  const instance = `${peerId}.${SERVICE}`;
  const host = `${peerId}.local`;
  const text = [
    'v=1',
    ...(fabricId === undefined ? [] : [`f=${fabricId}`]),
    ...addresses.map((address) => `a=${address}`),
  ];
  const endpoints = addresses.flatMap((address) => parseAddress(address) ?? []);
  return {
    answers: [{ name: SERVICE, type: 'PTR', ttl, data: instance }],
    additionals: [
      {
        name: instance,
        type: 'SRV',
        ttl,
        data: { port: endpoints[0]?.port ?? 0, weight: 0, priority: 0, target: host },
      },
      { name: instance, type: 'TXT', ttl, data: text },
      ...endpoints
        .filter(({ ip }) => !isLoopback(ip))
        .slice(0, HOST_ADDRESSES_MAX)
        .map(({ ip }) => ({ name: host, type: isIPv4(ip) ? 'A' : 'AAAA', ttl, data: ip })),
    ],
  };
}

/** Whether a question is about our service, one node of it, or the list of services. */
export function asksFor(question: { name: string; type: string }, peerId: PeerId): 'us' | 'services' | undefined {
  const name = question.name.toLowerCase();
  if (name === SERVICES) return 'services';
  return name === SERVICE || name === `${peerId}.${SERVICE}`.toLowerCase() ? 'us' : undefined;
}

export type Heard =
  | { kind: 'announcement'; announcement: Announcement }
  | { kind: 'goodbye'; peerId: PeerId }
  | { kind: 'junk' };

/**
 * What a packet says of our service. `fromThisBox`: only then are loopback addresses taken, since on another box they
 * would lead to whatever runs here. Records of other services are nobody's business and give nothing.
 */
export function readRecords(records: readonly DnsRecord[], fromThisBox: boolean): Heard[] {
  if (records.length > recordsPerPacketMax) return [{ kind: 'junk' }];
  const suffix = `.${SERVICE}`;
  return records
    .filter(({ name, type }) => type === 'TXT' && typeof name === 'string' && name.toLowerCase().endsWith(suffix))
    .map((record) => readText(record.name.slice(0, -suffix.length), record, fromThisBox));
}

function readText(peerId: string, { ttl, data }: DnsRecord, fromThisBox: boolean): Heard {
  // An Ed25519 peer id: base58btc of a fixed prefix and 32 bytes.
  if (!/^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/.test(peerId)) return { kind: 'junk' };
  if (ttl === 0) return { kind: 'goodbye', peerId };
  const parts = Array.isArray(data) ? data : [data];
  if (parts.length > announcedAddressesMax + 4) return { kind: 'junk' };
  let version: string | undefined;
  let fabricId: string | undefined;
  const addresses: Address[] = [];
  for (const part of parts) {
    const text = part instanceof Uint8Array ? Buffer.from(part).toString('latin1') : part;
    if (typeof text !== 'string') return { kind: 'junk' };
    const [key, value = ''] = split(text);
    if (key === 'v') version = value;
    if (key === 'f') fabricId = value;
    if (key === 'a') addresses.push(value);
  }
  if (version !== '1' || addresses.length > announcedAddressesMax) return { kind: 'junk' };
  if (fabricId !== undefined && !/^[a-z2-7]{52}$/.test(fabricId)) return { kind: 'junk' };
  const parsed = addresses.map((address) => ({ address, endpoint: parseAddress(address) }));
  if (parsed.some(({ endpoint }) => endpoint === undefined)) return { kind: 'junk' };
  const dialable = parsed
    .filter(({ endpoint }) => fromThisBox || !isLoopback(endpoint?.ip ?? ''))
    .map(({ address }) => address);
  if (dialable.length === 0) return { kind: 'junk' };
  return { kind: 'announcement', announcement: { peerId, addresses: [...new Set(dialable)], fabricId } };
}

function split(text: string): [string, string | undefined] {
  const at = text.indexOf('=');
  return at === -1 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

/** `/ip4/…/tcp/…` or `/ip6/…/tcp/…` of one host and a real port; anything else is undefined. */
export function parseAddress(address: string): { ip: string; port: number } | undefined {
  if (address.length > addressCharactersMax) return undefined;
  const match = /^\/(ip4|ip6)\/([0-9a-fA-F.:]+)\/tcp\/([1-9][0-9]{0,4})$/.exec(address);
  const [, family, ip = '', digits] = match ?? [];
  const port = Number(digits);
  if (match === null || port > 65_535) return undefined;
  if (family === 'ip4' ? !isIPv4(ip) : !isIPv6(ip)) return undefined;
  // Unspecified, multicast and broadcast are no hosts.
  if (family === 'ip4' && (ip.startsWith('0.') || Number(ip.split('.')[0]) >= 224)) return undefined;
  if (family === 'ip6' && (/^[0:]+$/.test(ip) || /^ff/i.test(ip))) return undefined;
  return { ip, port };
}

// Questions of containers that are not about services, passed on to the box's own resolvers as they are, and their answers back.
// Called by name-server.ts. It reads no names, keeps no answers, and never waits for long.

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, isIP, isIPv6 } from 'node:net';
import type { Clock } from './clock.ts';
import { createFrames, frameOf } from './dns-frames.ts';
import { DNS_FORWARD_MS, DNS_RESOLVERS_MAX } from './limits.ts';

/** systemd-resolved listens on a loopback address, and keeps what it was told in a file beside. */
const resolverFiles = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'];

export interface NameForwarder {
  /** The answer of the first resolver that gives one; undefined when none does. */
  ask(query: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer | undefined>;
}

/** `nameserver` lines of a resolv.conf(5); what is no address is passed over. */
export function nameserversOf(text: string): string[] {
  const found = [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].map(([, address = '']) => address);
  return [...new Set(found.filter((address) => isIP(address) !== 0))].slice(0, DNS_RESOLVERS_MAX);
}

const isLoopback = (address: string): boolean => address === '::1' || address.startsWith('127.');

/** The box's resolvers now: networks change, and with them this. */
export async function boxResolvers(files = resolverFiles): Promise<string[]> {
  return nameserversOf(await readFile(files[0] ?? '', 'utf8').catch(() => ''));
}

/** Those that a container can reach by itself too, for while this node's daemon is away. */
export async function reachableResolvers(files = resolverFiles): Promise<string[]> {
  for (const file of files) {
    const found = nameserversOf(await readFile(file, 'utf8').catch(() => '')).filter((address) => !isLoopback(address));
    if (found.length > 0) return found.filter((address) => !isIPv6(address));
  }
  return [];
}

/** Lines of a resolv.conf(5) about names that are no whole ones: the box's, for those who ask by way of this node. */
export function searchOf(text: string): string[] {
  const all = text.split('\n').map((line) => line.trim());
  const search = all.findLast((line) => /^(search|domain)\s/.test(line));
  const dots = all.flatMap((line) => line.match(/^options\s.*?(ndots:\d+)/)?.[1] ?? []).at(-1);
  return [...(search === undefined ? [] : [search]), ...(dots === undefined ? [] : [`options ${dots}`])];
}

export const boxSearch = async (files = resolverFiles): Promise<string[]> =>
  searchOf(await readFile(files[0] ?? '', 'utf8').catch(() => ''));

export function createNameForwarder({
  clock,
  resolvers = boxResolvers,
  port = 53,
}: {
  clock: Clock;
  resolvers?: () => Promise<string[]>;
  port?: number;
}): NameForwarder {
  const exchange = { udp: overUdp, tcp: overTcp };
  return {
    async ask(query, transport) {
      for (const host of await resolvers()) {
        const late = new AbortController();
        const timer = clock.setTimeout(() => late.abort(), DNS_FORWARD_MS);
        try {
          return await exchange[transport](query, { host, port }, late.signal);
        } catch {
          // Refused, unreachable or silent: the next one.
        } finally {
          clock.clearTimeout(timer);
        }
      }
      return undefined;
    },
  };
}

interface Resolver {
  host: string;
  port: number;
}

const answers = (query: Buffer, answer: Buffer): boolean =>
  answer.length >= 12 && answer.readUInt16BE(0) === query.readUInt16BE(0) && ((answer[2] ?? 0) & 0x80) !== 0;

/** Each question from a port of its own, connected: the kernel drops what does not come from that resolver. */
async function overUdp(query: Buffer, { host, port }: Resolver, signal: AbortSignal): Promise<Buffer> {
  const socket = createSocket({ type: isIPv6(host) ? 'udp6' : 'udp4', signal });
  try {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    promise.catch(() => undefined);
    socket.on('error', reject);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    socket.on('message', (answer) => {
      if (answers(query, answer)) resolve(answer);
    });
    socket.connect(port, host);
    await Promise.race([once(socket, 'connect'), promise]);
    socket.send(query);
    return await promise;
  } finally {
    if (!signal.aborted) socket.close();
  }
}

async function overTcp(query: Buffer, { host, port }: Resolver, signal: AbortSignal): Promise<Buffer> {
  const socket = connect({ host, port });
  const end = (): void => void socket.destroy(signal.reason as Error);
  signal.addEventListener('abort', end, { once: true });
  try {
    await once(socket, 'connect');
    socket.write(frameOf(query));
    const frames = createFrames();
    for await (const bytes of socket) {
      const answer = frames(bytes as Buffer).find((frame) => answers(query, frame));
      if (answer !== undefined) return answer;
    }
    throw new Error('the resolver closed the connection');
  } finally {
    signal.removeEventListener('abort', end);
    socket.on('error', () => undefined);
    socket.destroy();
  }
}

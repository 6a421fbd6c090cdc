// Ranges of addresses that this box takes for its own, as it does 127.0.0.0/8: one local route each (Linux's "AnyIP"), so that
// containers, whose own loopback is another one, reach service addresses. Called by tunnel-network.ts. It needs `ip` and
// CAP_NET_ADMIN, and touches no route but those that carry its mark.

import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { promisify } from 'node:util';
import { LocalRangeError } from './errors.ts';
import { localRangesMs } from './limits.ts';
import { inRange } from './service-names.ts';

export interface LocalRanges {
  /** The box answers on every address of the range from now on. Idempotent. Throws LocalRangeError. */
  claim(range: string): Promise<void>;
  /** Gives it back, unless somebody on this box (another node) listens in it. Never throws. */
  release(range: string): Promise<void>;
  /** Gives back what nobody listens in: what a killed daemon left. Nothing outside `within` is touched. Never throws. */
  sweep(within?: string): Promise<void>;
  /** Holds nothing any more, and gives nothing back: instances may live on. Never throws. */
  close(): Promise<void>;
}

/** In the routes' `proto` field; /etc/iproute2/rt_protos has no other use for the number. */
const mark = '201';

/** Addresses that something listens on, of Linux's `/proc/net/tcp`. */
export function listeningAddresses(procNetTcp: string): Set<string> {
  const addresses = procNetTcp.split('\n').flatMap((line) => {
    const [, local = '', , state] = line.trim().split(/\s+/);
    if (state !== '0A' || !/^[0-9A-F]{8}:/.test(local)) return [];
    return [[...Buffer.from(local.slice(0, 8), 'hex')].reverse().join('.')];
  });
  return new Set(addresses);
}

export function createLocalRanges(): LocalRanges {
  /** Each with a listener of its own, so that no other node of this box takes it for left while nothing else listens there. */
  const claimed = new Map<string, Server>();

  const ip = async (...words: string[]): Promise<string> =>
    (await promisify(execFile)('ip', ['-4', ...words], { timeout: localRangesMs, encoding: 'utf8' })).stdout;

  async function take(range: string): Promise<Server> {
    await ip('route', 'replace', 'local', range, 'dev', 'lo', 'table', 'local', 'proto', mark);
    const server = createServer((socket) => socket.destroy());
    server.listen(0, range.split('/')[0]);
    await once(server, 'listening');
    return server.unref();
  }

  async function isUsed(range: string): Promise<boolean> {
    const listening = listeningAddresses(await readFile('/proc/net/tcp', 'utf8'));
    return [...listening].some((address) => inRange(address, range));
  }

  async function giveBack(range: string): Promise<void> {
    if (claimed.has(range) || (await isUsed(range))) return;
    await ip('route', 'del', 'local', range, 'dev', 'lo', 'table', 'local', 'proto', mark);
  }

  async function letGo(range: string): Promise<void> {
    const server = claimed.get(range);
    claimed.delete(range);
    if (server !== undefined) await new Promise((resolve) => server.close(resolve));
  }

  return {
    async claim(range) {
      if (claimed.has(range)) return;
      try {
        claimed.set(range, await take(range));
      } catch (error) {
        throw new LocalRangeError(range, error);
      }
    },
    async release(range) {
      await letGo(range);
      await giveBack(range).catch(() => undefined);
    },
    async sweep(within = '0.0.0.0/0') {
      const listed = await ip('-o', 'route', 'show', 'table', 'local', 'proto', mark).catch(() => '');
      for (const [, range = ''] of listed.matchAll(/^local (\S+)/gm)) {
        if (inRange(range.split('/')[0] ?? '', within)) await giveBack(range).catch(() => undefined);
      }
    },
    async close() {
      await Promise.all([...claimed.keys()].map(letGo));
    },
  };
}

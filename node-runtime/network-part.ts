// The part of the container range that this node's programs have: chosen, reserved by two routes, found again after a restart, given back.
// Called by process-networks.ts. Nodes of one box share the range: who listens at its own address in a part has it, and what a node left
// that is gone is taken over. No route is touched but those with our mark.

import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { listeningAddresses } from '../mesh/local-ranges.ts';
import { NoFreeRangeError } from './errors.ts';
import { gatewayOf, hashNumber } from './instance-addresses.ts';
import type { IpBatch } from './ip-batch.ts';
import { type Ipv4Range, overlaps, parseRange, partOf, partsOf, rangeText, routedRanges } from './ipv4-range.ts';
import { NETWORK_COMMAND_MS, PROCESS_RANGE_LOCK_PORT, PROCESS_RANGE_PREFIX } from './limits.ts';

export interface NetworkPart {
  /** The one that the node has on the box by its file: left by an earlier daemon, too. */
  kept(): Promise<Ipv4Range | undefined>;
  /** Takes it for this node, or a free one where none is given. Throws NoFreeRangeError or ProcessNetworkError. */
  take(range?: Ipv4Range): Promise<Ipv4Range>;
  /** Makes its routes again, where somebody has removed them. */
  renew(range: Ipv4Range): Promise<void>;
  /** Lets others know that this daemon is going; the routes stay. */
  letGo(): Promise<void>;
  /** Nothing of it is on the box any more. */
  giveBack(range: Ipv4Range): Promise<void>;
  /** Removes what nodes left that are gone; resolves with what tells whether one is, by its interfaces or its address. */
  sweep(): Promise<(links: string, gateway: string) => boolean>;
}

export interface NetworkPartDependencies {
  ip: IpBatch;
  /** Path of ip(8). */
  ipPath: string;
  /** The engine's. */
  folder: string;
  /** CIDR to choose from. */
  range: string;
  /** Differs between nodes. */
  seed: string;
  /** What the names of the node's interfaces begin with, and of those of all nodes. */
  links: { own: string; all: string };
}

/** In the routes' `proto` field; mesh/local-ranges.ts has 201, and gives back what nobody listens in. */
const mark = '202';

const routesOf = (range: Ipv4Range, how: 'replace' | 'del'): string[] => [
  `route ${how} unreachable ${rangeText(range)} proto ${mark}`,
  `route ${how} local ${gatewayOf(range)}/32 dev lo table local proto ${mark}`,
];

/** Of lines of `/proc/net/route`. */
const rangesOf = (lines: readonly string[]): Ipv4Range[] => routedRanges(['', ...lines].join('\n'));

export function createNetworkPart(dependencies: NetworkPartDependencies): NetworkPart {
  const { ip, ipPath, folder, seed, links } = dependencies;
  const file = join(folder, '.network.json');
  let held: Server | undefined;

  async function kept(): Promise<Ipv4Range | undefined> {
    try {
      const { range = '' } = JSON.parse(await readFile(file, 'utf8')) as { range?: string };
      return parseRange(range);
    } catch {
      return undefined;
    }
  }

  /** Without those of our own programs. */
  async function otherRoutes(): Promise<string[]> {
    const text = await readFile('/proc/net/route', 'utf8').catch(() => '');
    return text.split('\n').filter((line) => !line.startsWith(links.own));
  }

  const listening = async (): Promise<Set<string>> => listeningAddresses(await readFile('/proc/net/tcp', 'utf8'));
  const isHeld = async (range: Ipv4Range): Promise<boolean> => (await listening()).has(gatewayOf(range));

  async function hold(range: Ipv4Range): Promise<boolean> {
    if (await isHeld(range)) return false;
    // Before the routes: whoever finds them finds the file.
    await writeFile(`${file}.next`, JSON.stringify({ range: rangeText(range) }), { mode: 0o600 });
    await rename(`${file}.next`, file);
    await ip(routesOf(range, 'replace'));
    const server = createServer((socket) => socket.destroy()).unref();
    server.listen({ host: gatewayOf(range), port: PROCESS_RANGE_LOCK_PORT, exclusive: true });
    try {
      await once(server, 'listening');
    } catch {
      // Another node was faster.
      return false;
    }
    server.on('error', () => undefined);
    held = server;
    return true;
  }

  async function choose(): Promise<Ipv4Range> {
    const range = parseRange(dependencies.range);
    if (range === undefined || range.prefix > PROCESS_RANGE_PREFIX) throw new NoFreeRangeError(dependencies.range);
    const count = partsOf(range, PROCESS_RANGE_PREFIX);
    const before = await kept();
    const parts = Array.from({ length: count }, (_, index) =>
      partOf(range, PROCESS_RANGE_PREFIX, (hashNumber(seed) + index) % count),
    );
    if (before !== undefined && overlaps(before, range)) parts.unshift(before);
    const routes = await otherRoutes();
    // Those that lead nowhere: a part that a node has or had, which is judged by whether the node is there.
    const [used, reserved] = [
      rangesOf(routes.filter((line) => !line.startsWith('*'))),
      rangesOf(routes.filter((line) => line.startsWith('*'))),
    ];
    for (const part of parts) {
      const taken =
        used.some((other) => overlaps(other, part)) ||
        reserved.some((other) => overlaps(other, part) && rangeText(other) !== rangeText(part));
      if (!taken && (await hold(part))) return part;
    }
    throw new NoFreeRangeError(dependencies.range);
  }

  return {
    kept,
    async take(range) {
      if (range === undefined) return choose();
      await hold(range);
      return range;
    },
    renew: (range) => ip(routesOf(range, 'replace')),
    async letGo() {
      const server = held;
      held = undefined;
      if (server !== undefined) await new Promise((resolve) => server.close(resolve));
    },
    async giveBack(range) {
      // While this node was away another one may have taken it.
      if (!(await isHeld(range))) await ip(routesOf(range, 'del'), { force: true });
      await rm(file, { force: true });
    },
    async sweep() {
      const routes = await otherRoutes();
      const used = rangesOf(routes.filter((line) => line.startsWith(links.all)));
      const listed = await promisify(execFile)(ipPath, ['-4', 'route', 'show', 'proto', mark], {
        timeout: NETWORK_COMMAND_MS,
      });
      for (const [, text = ''] of listed.stdout.matchAll(/^unreachable (\S+)/gm)) {
        const range = parseRange(text);
        if (range === undefined || used.some((one) => overlaps(one, range)) || (await isHeld(range))) continue;
        await ip(routesOf(range, 'del'), { force: true });
      }
      const addresses = await listening();
      return (own, gateway) => !addresses.has(gateway) && !routes.some((line) => line.startsWith(own));
    },
  };
}

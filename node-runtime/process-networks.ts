// The networks of this node's programs: which addresses they have, and what of the box leads there (two routes, the packet filter, the
// resolver), made when the first program needs it and gone when the daemon stops and none runs. Called by process-engine.ts. What a killed
// daemon left is found by a file in the engine's folder and by the aliases of interfaces; nobody else's is touched.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Clock, TimerId } from './clock.ts';
import { createContainerNames } from './container-names.ts';
import type { EngineOwner, InstanceNetwork, Launch } from './engine.ts';
import { NoFreeRangeError, ProcessNetworkError } from './errors.ts';
import { createInstanceAddresses, gatewayOf, hashNumber, type InstanceAddresses } from './instance-addresses.ts';
import { type Ipv4Range, overlaps, parseRange, partOf, partsOf, rangeText, routedRanges } from './ipv4-range.ts';
import { createKeyedQueue } from './keyed-queue.ts';
import { DETECTION_MS, PACKET_FILTER_BYTES_MAX, PACKET_FILTER_CHECK_MS, PROCESS_RANGE_PREFIX } from './limits.ts';
import { createNameForwarder, reachableResolvers } from './name-forwarder.ts';
import { createNameServer } from './name-server.ts';
import type { FilterFacts } from './packet-filter-rules.ts';
import type { NetworkTools, OwnNetwork } from './process-network.ts';

export interface ProcessNetworks {
  /** With what runs already. */
  start(running: ReadonlyMap<string, OwnNetwork>): Promise<void>;
  /** The network that the instance has, or will have once it is launched. Throws NoFreeRangeError, ProcessNetworkError or PacketFilterError. */
  of(instance: string): Promise<InstanceNetwork>;
  /** For one launch of an instance that `of` was asked for; undefined for any other, which shares the network of the box. */
  forLaunch(instance: string, launchId: string): OwnNetwork | undefined;
  /** What it resolves from now on. */
  tell(instance: string, hosts: Launch['hosts']): void;
  /** Text of its resolv.conf; undefined where nobody can be asked. */
  resolvers(): Promise<string | undefined>;
  /** Nothing of the launch runs: its cable goes, whoever hid from the end. Never throws. */
  cut(network: OwnNetwork): Promise<void>;
  /** Nobody has its address any more. */
  forget(instance: string): void;
  /** `inUse`: what leads to running programs stays. */
  stop(inUse: boolean): Promise<void>;
}

export interface ProcessNetworksDependencies {
  tools: NetworkTools;
  clock: Clock;
  owner: EngineOwner;
  /** The engine's, absolute. */
  folder: string;
  /** CIDR of which the node takes a part. */
  range: string;
  onProblem(message: string): void;
}

/** What is on the box on behalf of this node, as its file says. */
interface Kept {
  range: string;
}

/** In the routes' `proto` field; mesh/local-ranges.ts has 201, and gives back what nobody listens in. */
const mark = '202';
const forwardingFile = '/proc/sys/net/ipv4/ip_forward';
/** glibc reads no more. */
const resolversMax = 3;

export function createProcessNetworks(dependencies: ProcessNetworksDependencies): ProcessNetworks {
  const { tools, clock, owner, folder, onProblem } = dependencies;
  const queue = createKeyedQueue();
  const key = createHash('sha256')
    .update(JSON.stringify([owner.fabricId, owner.node, folder]))
    .digest('hex')
    .slice(0, 32);
  const tag = key.slice(0, 4);
  const links = `sv-${tag}`;
  const aliasOf = (instance: string): string => `selvedge:${key}:${instance.slice(0, 200)}`;
  const keptFile = join(folder, '.network.json');
  const names = createContainerNames();
  const nameServer = createNameServer({
    knows: names.knows,
    answer: names.answer,
    forwarder: createNameForwarder({ clock }),
  });
  let kept: Kept | undefined;
  let part: { range: Ipv4Range; addresses: InstanceAddresses; facts: FilterFacts } | undefined;
  let making: Promise<void> | undefined;
  let answersNames = false;
  let timer: TimerId | undefined;

  /** One program for all of them; with `force` what fails is passed over. */
  async function ip(lines: readonly string[], force = false): Promise<void> {
    const running = promisify(execFile)(tools.ip, [...(force ? ['-force'] : []), '-batch', '-'], {
      timeout: DETECTION_MS,
    });
    running.child.stdin?.on('error', () => undefined);
    running.child.stdin?.end(`${lines.join('\n')}\n`);
    await running.catch((error: Error & { stderr?: string }) => {
      if (!force)
        throw new ProcessNetworkError((error.stderr || error.message).trim().split('\n')[0] ?? '', { cause: error });
    });
  }

  async function keep(next: Kept | undefined): Promise<void> {
    kept = next;
    if (next === undefined) return rm(keptFile, { force: true });
    await writeFile(`${keptFile}.next`, JSON.stringify(next), { mode: 0o600 });
    await rename(`${keptFile}.next`, keptFile);
  }

  async function readKept(): Promise<Kept | undefined> {
    try {
      const { range = '' } = JSON.parse(await readFile(keptFile, 'utf8')) as Partial<Kept>;
      return parseRange(range) === undefined ? undefined : { range };
    } catch {
      return undefined;
    }
  }

  const halfOf = (range: Ipv4Range, half: 0 | 1): string => rangeText(partOf(range, range.prefix + 1, half));

  function partFrom(range: Ipv4Range) {
    const instances = partOf(range, range.prefix + 1, 0);
    const facts: FilterFacts = {
      ...{ tag, links, guard: false, gateway: gatewayOf(range) },
      instances: rangeText(instances),
      services: halfOf(range, 1),
      apart: [...new Set([dependencies.range, rangeText(range)])],
    };
    return { range, facts, addresses: createInstanceAddresses(instances) };
  }

  /** That no part is taken twice is seen to by the kernel: it adds a route of the same range once. */
  const routesOf = (range: Ipv4Range, how: 'add' | 'replace' | 'del'): string[] => [
    `route ${how} unreachable ${rangeText(range)} proto ${mark}`,
    `route ${how === 'del' ? 'del' : 'replace'} local ${gatewayOf(range)}/32 dev lo table local proto ${mark}`,
  ];

  /** Ranges of the box's networks without our own. */
  async function takenRanges(): Promise<Ipv4Range[]> {
    const text = await readFile('/proc/net/route', 'utf8').catch(() => '');
    const others = text.split('\n').filter((line) => !line.startsWith(links));
    return routedRanges(others.join('\n')).filter((range) => rangeText(range) !== kept?.range);
  }

  async function choose(): Promise<Ipv4Range> {
    const range = parseRange(dependencies.range);
    if (range === undefined || range.prefix > PROCESS_RANGE_PREFIX) throw new NoFreeRangeError(dependencies.range);
    const taken = await takenRanges();
    const isFree = (candidate: Ipv4Range): boolean => !taken.some((other) => overlaps(other, candidate));
    const before = parseRange(kept?.range ?? '');
    if (before !== undefined && overlaps(before, range) && isFree(before)) {
      await ip(routesOf(before, 'replace'));
      return before;
    }
    const count = partsOf(range, PROCESS_RANGE_PREFIX);
    let refused: unknown;
    for (let attempt = 0; attempt < count; attempt++) {
      const candidate = partOf(range, PROCESS_RANGE_PREFIX, (hashNumber(key) + attempt) % count);
      if (!isFree(candidate)) continue;
      try {
        await ip(routesOf(candidate, 'add'));
        return candidate;
      } catch (error) {
        refused = error;
      }
    }
    throw refused ?? new NoFreeRangeError(dependencies.range);
  }

  /** The rules are there before anything is forwarded. */
  async function make(range: Ipv4Range): Promise<void> {
    const forwards = (await readFile(forwardingFile, 'utf8')).trim() !== '0';
    await keep({ range: rangeText(range) });
    part ??= partFrom(range);
    // Where some node has turned forwarding on, every node sees to it that nothing else is forwarded: the last one turns it off.
    part.facts.guard = !forwards || (await tools.filter.isGuarded());
    await tools.filter.install(part.facts);
    if (!forwards) await writeFile(forwardingFile, '1');
    try {
      await nameServer.listen(part.facts.gateway);
      answersNames = true;
    } catch (error) {
      onProblem(
        `programs ask the resolvers of the box and have the names of services in /etc/hosts: ${(error as Error).message}`,
      );
    }
    timer = clock.setTimeout(() => void check(), PACKET_FILTER_CHECK_MS);
  }

  /** Once, for as long as this daemon runs; a failed one is tried again. */
  function ensure(): Promise<void> {
    making ??= (async () => make(part?.range ?? (await choose())))().catch((error: unknown) => {
      making = undefined;
      throw error;
    });
    return making;
  }

  async function check(): Promise<void> {
    await queue.run('', async () => {
      if (part === undefined || timer === undefined) return;
      try {
        if (!(await tools.filter.isWhole(part.facts))) await tools.filter.install(part.facts);
      } catch (error) {
        onProblem((error as Error).message);
      }
      if (timer !== undefined) timer = clock.setTimeout(() => void check(), PACKET_FILTER_CHECK_MS);
    });
  }

  /** Interfaces that are this node's and of no launch that runs. */
  async function strayLinks(running: ReadonlySet<string>): Promise<string[]> {
    const found = await promisify(execFile)(tools.ip, ['-j', 'link', 'show', 'type', 'veth'], {
      ...{ timeout: DETECTION_MS, maxBuffer: PACKET_FILTER_BYTES_MAX, encoding: 'utf8' },
    });
    const all = JSON.parse(found.stdout || '[]') as { ifname?: string; ifalias?: string }[];
    return all.flatMap(({ ifname = '', ifalias = '' }) =>
      ifalias.startsWith(`selvedge:${key}:`) && ifname.startsWith(links) && !running.has(ifname) ? [ifname] : [],
    );
  }

  /** All that is on the box on behalf of this node. */
  async function takeDown(): Promise<void> {
    if (kept === undefined) return;
    const range = parseRange(kept.range);
    const stray = await strayLinks(new Set());
    const lines = [
      ...stray.map((link) => `link del dev ${link}`),
      ...(range === undefined ? [] : routesOf(range, 'del')),
    ];
    const ownDoing = (await tools.filter.isGuarded(tag)) && !(await tools.filter.othersForward(tag));
    if (ownDoing) await writeFile(forwardingFile, '0');
    await tools.filter.remove(tag);
    await ip(lines, true);
    await keep(undefined);
  }

  /** Serves what runs again, and clears away what does not. */
  async function goOn(running: ReadonlyMap<string, OwnNetwork>): Promise<void> {
    const [first] = running.values();
    const range = parseRange(first?.range ?? '');
    if (range === undefined) return takeDown();
    part = partFrom(range);
    for (const [instance, { address }] of running) {
      part.addresses.hold(instance, address);
      names.tell(address, []);
    }
    await ip(routesOf(range, 'replace'));
    await ensure();
    const stray = await strayLinks(new Set([...running.values()].map(({ link }) => link)));
    if (stray.length > 0)
      await ip(
        stray.map((link) => `link del dev ${link}`),
        true,
      );
  }

  /** What is left on the box is tried again by the next daemon: it keeps nothing from starting or stopping. */
  const told = (work: Promise<void>): Promise<void> =>
    work.catch((error: unknown) => onProblem((error as Error).message));

  return {
    start: (running) =>
      queue.run('', async () => {
        kept = await readKept();
        await told(goOn(running));
      }),

    of: (instance) =>
      queue.run('', async () => {
        await ensure();
        if (part === undefined) throw new ProcessNetworkError('the engine is stopped');
        return { address: part.addresses.of(instance), serviceRange: part.facts.services };
      }),

    forLaunch(instance, launchId) {
      if (part === undefined || !part.addresses.has(instance)) return undefined;
      const launch = createHash('sha256').update(launchId).digest('hex').slice(0, 8);
      return {
        address: part.addresses.of(instance),
        serviceRange: part.facts.services,
        range: rangeText(part.range),
        gateway: part.facts.gateway,
        link: `${links}${launch}`,
        alias: aliasOf(instance),
      };
    },

    tell(instance, hosts) {
      if (part?.addresses.has(instance)) names.tell(part.addresses.of(instance), hosts);
    },

    async resolvers() {
      const all = [...(answersNames && part ? [part.facts.gateway] : []), ...(await reachableResolvers())];
      if (all.length === 0) return undefined;
      return `# By Selvedge\n${all
        .slice(0, resolversMax)
        .map((one) => `nameserver ${one}\n`)
        .join('')}`;
    },

    async cut({ link, alias }) {
      try {
        const { stdout } = await promisify(execFile)(tools.ip, ['-j', 'link', 'show', 'dev', link], {
          encoding: 'utf8',
        });
        const [found] = JSON.parse(stdout) as { ifalias?: string }[];
        if (found?.ifalias === alias) await ip([`link del dev ${link}`], true);
      } catch {
        // It is gone already, with the last process in it.
      }
    },

    forget(instance) {
      const address = part?.addresses.release(instance);
      if (address !== undefined) names.forget(address);
    },

    stop: (inUse) =>
      queue.run('', async () => {
        clock.clearTimeout(timer);
        timer = undefined;
        await nameServer.close();
        answersNames = false;
        making = undefined;
        if (!inUse) await told(takeDown());
      }),
  };
}

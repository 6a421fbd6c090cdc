// The networks of this node's programs: which addresses they have, and what of the box leads there (two routes, the packet filter, the
// resolver), made when the first program needs it and gone when the daemon stops and none runs. Called by process-engine.ts. What a killed
// daemon left is found by a file in the engine's folder and by the aliases of interfaces; nobody else's is touched.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import type { Clock, TimerId } from './clock.ts';
import { createContainerNames } from './container-names.ts';
import type { EngineOwner, InstanceNetwork, Launch } from './engine.ts';
import { ProcessNetworkError } from './errors.ts';
import { createInstanceAddresses, gatewayOf, type InstanceAddresses } from './instance-addresses.ts';
import { createIpBatch } from './ip-batch.ts';
import { boxForwards, setForwarding } from './ip-forwarding.ts';
import { type Ipv4Range, parseRange, partOf, rangeText } from './ipv4-range.ts';
import { createKeyedQueue } from './keyed-queue.ts';
import { NETWORK_COMMAND_MS, PACKET_FILTER_BYTES_MAX, PACKET_FILTER_CHECK_MS } from './limits.ts';
import { boxSearch, createNameForwarder, reachableResolvers } from './name-forwarder.ts';
import { createNameServer } from './name-server.ts';
import { createNetworkPart } from './network-part.ts';
import { keepRefusal, refusalText } from './network-refusal.ts';
import { allLinks, type FilterFacts } from './packet-filter-rules.ts';
import type { NetworkTools, OwnNetwork } from './process-network.ts';
import type { PublishedPorts } from './published-ports.ts';

export interface ProcessNetworks {
  /** With what runs already. */
  start(running: ReadonlyMap<string, OwnNetwork>): Promise<void>;
  /** The network that the instance has, or will have once it is launched; undefined where it is the box's after all. Throws NoFreeRangeError, ProcessNetworkError or PacketFilterError. */
  of(instance: string): Promise<InstanceNetwork | undefined>;
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
  /** What of the box they reach beside; nothing where it is left out. */
  published?: Pick<PublishedPorts, 'all' | 'onChange'>;
  onProblem(message: string): void;
}

/** glibc reads no more. */
const resolversMax = 3;

export function createProcessNetworks(dependencies: ProcessNetworksDependencies): ProcessNetworks {
  const { tools, clock, owner, folder, published, onProblem } = dependencies;
  const queue = createKeyedQueue();
  const key = createHash('sha256')
    .update(JSON.stringify([owner.fabricId, owner.node, folder]))
    .digest('hex')
    .slice(0, 32);
  const tag = key.slice(0, 4);
  const links = `${allLinks}${tag}`;
  const aliasOf = (instance: string): string => `selvedge:${key}:${instance.slice(0, 200)}`;
  const names = createContainerNames();
  const nameServer = createNameServer({
    knows: names.knows,
    answer: names.answer,
    forwarder: createNameForwarder({ clock }),
  });
  const ip = createIpBatch(tools.ip);
  const parts = createNetworkPart({
    ...{ ip, ipPath: tools.ip, folder, range: dependencies.range, seed: key },
    links: { own: links, all: allLinks },
  });
  let part: { range: Ipv4Range; addresses: InstanceAddresses; facts: FilterFacts } | undefined;
  let making: Promise<void> | undefined;
  let answersNames = false;
  /** Whose answer to the first program says that all share the network of the box; nothing is asked again while this daemon runs. */
  let refused = false;
  let timer: TimerId | undefined;

  const halfOf = (range: Ipv4Range, half: 0 | 1): string => rangeText(partOf(range, range.prefix + 1, half));

  function partFrom(range: Ipv4Range) {
    const instances = partOf(range, range.prefix + 1, 0);
    const facts: FilterFacts = {
      ...{ tag, links, guard: false, gateway: gatewayOf(range) },
      instances: rangeText(instances),
      services: halfOf(range, 1),
      apart: [...new Set([dependencies.range, rangeText(range)])],
      published: published?.all() ?? [],
    };
    return { range, facts, addresses: createInstanceAddresses(instances) };
  }

  async function sweep(): Promise<void> {
    const isGone = await parts.sweep();
    for (const [other, gateway] of await tools.filter.gateways())
      if (other !== tag && isGone(`${allLinks}${other}`, gateway)) await tools.filter.remove(other);
  }

  /** The rules are there before anything is forwarded. */
  async function make(range: Ipv4Range): Promise<void> {
    const forwards = await boxForwards();
    part ??= partFrom(range);
    // Where some node has turned forwarding on, every node sees to it that nothing else is forwarded: the last one turns it off.
    part.facts.guard = !forwards || (await tools.filter.isGuarded());
    await tools.filter.install(part.facts);
    if (!forwards) await setForwarding(true);
    try {
      await nameServer.listen(part.facts.gateway);
      answersNames = true;
    } catch (error) {
      onProblem(
        `programs ask the resolvers of the box and have the names of services in /etc/hosts: ${(error as Error).message}`,
      );
    }
    timer = clock.setTimeout(() => void check(), PACKET_FILTER_CHECK_MS);
    void queue.run('', sweep).catch((error: unknown) => onProblem((error as Error).message));
  }

  /** Another packet filter of the box may drop what comes from there: services would be called in vain. */
  async function tryOut(): Promise<void> {
    if (part === undefined || !answersNames || !part.addresses.empty()) return;
    const { gateway } = part.facts;
    const cable = { gateway, address: part.addresses.of(''), link: `${links}trial`, alias: aliasOf('') };
    const reason = await tools.refusal(cable, { host: gateway, port: 53 });
    part.addresses.release('');
    await keepRefusal(folder, reason);
    if (reason === undefined) return;
    refused = true;
    onProblem(`programs share the network of this box: ${refusalText(reason)}`);
    await end();
    await told(takeDown());
  }

  /** What this daemon does for them. */
  async function end(): Promise<void> {
    clock.clearTimeout(timer);
    timer = undefined;
    await nameServer.close();
    answersNames = false;
    making = undefined;
    await parts.letGo();
  }

  /** Once, for as long as this daemon runs; a failed one is tried again. */
  function ensure(): Promise<void> {
    making ??= (async () => make(part?.range ?? (await parts.take())))().catch((error: unknown) => {
      making = undefined;
      throw error;
    });
    return making;
  }

  async function check(): Promise<void> {
    await queue.run('', async () => {
      if (part === undefined || timer === undefined) return;
      try {
        await parts.renew(part.range);
        if (!(await tools.filter.isWhole(part.facts))) await tools.filter.install(part.facts);
      } catch (error) {
        onProblem((error as Error).message);
      }
      if (timer !== undefined) timer = clock.setTimeout(() => void check(), PACKET_FILTER_CHECK_MS);
    });
  }

  /** The rules follow what gateways listen on. */
  async function publish(): Promise<void> {
    await queue.run('', async () => {
      if (part === undefined || timer === undefined) return;
      part.facts.published = published?.all() ?? [];
      await told(tools.filter.install(part.facts));
    });
  }
  published?.onChange(() => void publish());

  /** Interfaces that are this node's and of no launch that runs. */
  async function strayLinks(running: ReadonlySet<string>): Promise<string[]> {
    const found = await promisify(execFile)(tools.ip, ['-j', 'link', 'show', 'type', 'veth'], {
      ...{ timeout: NETWORK_COMMAND_MS, maxBuffer: PACKET_FILTER_BYTES_MAX, encoding: 'utf8' },
    });
    const all = JSON.parse(found.stdout || '[]') as { ifname?: string; ifalias?: string }[];
    return all.flatMap(({ ifname = '', ifalias = '' }) =>
      ifalias.startsWith(`selvedge:${key}:`) && ifname.startsWith(links) && !running.has(ifname) ? [ifname] : [],
    );
  }

  /** All that is on the box on behalf of this node. */
  async function takeDown(): Promise<void> {
    const range = await parts.kept();
    if (range === undefined) return;
    const stray = await strayLinks(new Set());
    if (stray.length > 0) await cutAll(stray);
    const ownDoing = (await tools.filter.isGuarded(tag)) && !(await tools.filter.othersForward(tag));
    if (ownDoing) await setForwarding(false);
    await tools.filter.remove(tag);
    await parts.giveBack(range);
  }

  const cutAll = (stray: readonly string[]): Promise<void> =>
    ip(
      stray.map((link) => `link del dev ${link}`),
      { force: true },
    );

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
    await parts.take(range);
    await ensure();
    const stray = await strayLinks(new Set([...running.values()].map(({ link }) => link)));
    if (stray.length > 0) await cutAll(stray);
  }

  /** What is left on the box is tried again by the next daemon: it keeps nothing from starting or stopping. */
  const told = (work: Promise<void>): Promise<void> =>
    work.catch((error: unknown) => onProblem((error as Error).message));

  return {
    start: (running) =>
      queue.run('', async () => {
        await told(goOn(running));
      }),

    of: (instance) =>
      queue.run('', async () => {
        if (refused) return undefined;
        const isFirst = timer === undefined;
        await ensure();
        if (isFirst) await tryOut();
        if (refused) return undefined;
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
      const asked = all.slice(0, resolversMax).map((one) => `nameserver ${one}`);
      return ['# By Selvedge', ...asked, ...(await boxSearch()), ''].join('\n');
    },

    async cut({ link, alias }) {
      try {
        const { stdout } = await promisify(execFile)(tools.ip, ['-j', 'link', 'show', 'dev', link], {
          encoding: 'utf8',
        });
        const [found] = JSON.parse(stdout) as { ifalias?: string }[];
        if (found?.ifalias === alias) await cutAll([link]);
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
        await end();
        if (!inUse) await told(takeDown());
      }),
  };
}

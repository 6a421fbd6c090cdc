// The real service network: local addresses for the calls of this node's instances, and the tunnel to other nodes. Made by
// node-runtime/node.ts. It puts the parts together and keeps their order of start and stop; it decides nothing itself.

import { isIP } from 'node:net';
import type { ObservedCalls } from '../control/fabric.ts';
import type { Clock } from '../node-runtime/clock.ts';
import type { Random } from '../node-runtime/random.ts';
import type { VerifyChain } from '../pki/identity.ts';
import { createAllowedCalls } from './allowed-calls.ts';
import { type Authorize, sameApplication } from './authorization.ts';
import { createDatagramCalls } from './datagram-calls.ts';
import { createDatagramDrops, type DroppedDatagrams } from './datagram-drops.ts';
import { createUnsentBytes } from './datagram-ends.ts';
import { createDatagramServer } from './datagram-server.ts';
import { createDeniedCalls, type DeniedCall } from './denied-calls.ts';
import { ServiceNetworkLimitError, ServiceNetworkStoppedError } from './errors.ts';
import { attachedInstancesMax, callableServicesMax, callsToldMs, localRangesSweepMs, tunnelSweepMs } from './limits.ts';
import { createLocalInstances } from './local-instances.ts';
import { createLocalRanges } from './local-ranges.ts';
import type { FindStep, Mesh, PeerId } from './mesh.ts';
import { createOpenCalls, datagramsOf } from './open-calls.ts';
import { createServiceAddresses } from './service-addresses.ts';
import { type CallOutcome, createServiceCalls } from './service-calls.ts';
import type { AttachedInstance, ServiceNetwork, WorkloadCredential } from './service-network.ts';
import { createTunnelAdmission } from './tunnel-admission.ts';
import { createTunnelClient } from './tunnel-client.ts';
import { loadCredential } from './tunnel-credentials.ts';
import { createTunnelOverLink, inOrder } from './tunnel-over-link.ts';
import { socketEnd } from './tunnel-relay.ts';
import { createTunnelServer } from './tunnel-server.ts';
import { createTunnelThroughNodes } from './tunnel-through-nodes.ts';

export interface TunnelNetworkOptions {
  clock: Clock;
  random: Random;
  /** What local addresses are derived from: the same after each start, another one on each node (the peer id is fit). */
  node: string;
  /** `0.0.0.0` and `::` for all; port 0 for any. */
  listen: { hosts: readonly string[]; port: number };
  verifyChain: VerifyChain;
  /** For credentials of instances here; `verifyChain` when left out. */
  verifyOwnChain?: VerifyChain;
  /** Asked for each new session and each call of a caller on another node. */
  isPeerAdmitted: (peerId: PeerId) => boolean;
  /** Asked every second for the peers of open sessions, which are closed at once when it says yes. Nobody when left out. */
  isPeerRevoked?: (peerId: PeerId) => boolean;
  /** Asked for each call, and every second for those that are open, which are reset at once when it says no. `sameApplication` when left out. */
  authorize?: Authorize;
  localPeerId: PeerId;
  /** Addresses (without ports) at which other nodes may reach this one. */
  advertisedHosts: () => readonly string[];
  /** Carries sessions where nothing but a link's own connection gets through; left out, those calls fail. */
  mesh?: Pick<Mesh, 'open' | 'handle' | 'connection'>;
  /** Key and chain of this node's own authority, and which way to other nodes: with both, calls go through routers. */
  nodeCredential?: () => WorkloadCredential;
  step?: FindStep;
  onDenied: (event: DeniedCall) => void;
  /** What a call to an instance on that node costs, in microseconds; undefined where nothing is known. All cost the same when left out. */
  costOf?: (peerId: PeerId) => number | undefined;
  onCall?: (outcome: CallOutcome) => void;
  /** What is wrong with calls now, when that is something else than before; not at once. */
  onTroubles?: (troubles: ObservedCalls) => void;
  /** Datagrams that found no room, at most once a minute of each pair. */
  onDropped?: (drops: DroppedDatagrams) => void;
}

export function createTunnelNetwork(options: TunnelNetworkOptions): ServiceNetwork {
  const { clock, random, node, listen, verifyChain, isPeerAdmitted, localPeerId, advertisedHosts, onDenied } = options;
  const { verifyOwnChain = verifyChain } = options;
  const { isPeerRevoked = () => false, authorize = sameApplication, onCall = () => undefined } = options;
  const { costOf = () => undefined, onTroubles = () => undefined, onDropped = () => undefined } = options;
  const instances = createLocalInstances();
  const openCalls = createOpenCalls();
  const tellDenied = createDeniedCalls({ clock, onDenied });
  const allowedCalls = createAllowedCalls({ authorize, tellDenied });
  const admission = createTunnelAdmission({
    instances,
    openCalls,
    verifyChain,
    // Who proved to belong here a moment ago, and lost its way, may call by another one before it has proved that anew.
    isPeerAdmitted: (peerId) => isPeerAdmitted(peerId) || (client.hasLostWay(peerId) && !isPeerRevoked(peerId)),
    allowedCalls,
    tellDenied,
  });
  const drops = createDatagramDrops({ onDropped });
  const unsent = createUnsentBytes();
  const datagramServer = createDatagramServer({ openCalls, unsent, countDrop: drops.count });
  const { mesh, nodeCredential, step } = options;
  const through =
    mesh && nodeCredential && step
      ? createTunnelThroughNodes({
          ...{ clock, mesh, verifyChain, step, self: localPeerId, credential: nodeCredential },
          isPeerAdmitted: (peerId) => isPeerAdmitted(peerId) && mesh.connection(peerId)?.through === undefined,
          onArrived: (stream) => (running ? server.accept(stream) : void stream.destroy()),
        })
      : undefined;
  const server = createTunnelServer({
    datagrams: datagramServer,
    nodes: through,
    costOf,
    clock,
    instances,
    openCalls,
    admission,
    isPeerRevoked,
    allowedCalls,
    tellDenied,
  });
  const link = options.mesh && createTunnelOverLink(options.mesh);
  const overLink = link && (through === undefined ? link : inOrder(through, link));
  const client = createTunnelClient({ clock, verifyChain, isPeerRevoked, tellDenied, costOf, overLink });
  const calls = createServiceCalls({
    clock,
    random,
    localPeerId,
    instances,
    openCalls,
    client,
    allowedCalls,
    costOf,
    onCall,
  });
  const datagramCalls = createDatagramCalls({
    ...{ clock, localPeerId, instances, openCalls, client, allowedCalls, unsent },
    reach: calls.reach,
    countDrop: drops.count,
  });
  const ranges = createLocalRanges();
  const addresses = createServiceAddresses({
    seed: node,
    onConnection: (socket, instance, wanted) => calls.accept(socketEnd(socket), instance, wanted),
    listenDatagrams: datagramCalls.listen,
  });
  /** Of instances with a network of their own. */
  const rangeOf = new Map<string, string>();
  let running = false;
  let rangesTimer: unknown;
  let sweepTimer: unknown;
  let troublesTimer: unknown;
  let told = JSON.stringify(calls.troubles());
  let queue: Promise<unknown> = Promise.resolve();

  /** Start, stop, attach and detach one after the other. */
  function inTurn<T>(run: () => Promise<T>): Promise<T> {
    const turn = queue.then(run);
    queue = turn.catch(() => undefined);
    return turn;
  }

  function sweep(): void {
    allowedCalls.sweep();
    server.sweep();
    client.sweep();
    datagramServer.sweep();
    datagramCalls.sweep();
    drops.sweep();
    through?.sweep();
    sweepTimer = clock.setTimeout(sweep, tunnelSweepMs);
  }

  function tellTroubles(): void {
    const troubles = calls.troubles();
    const news = JSON.stringify(troubles) !== told;
    told = JSON.stringify(troubles);
    if (news) onTroubles(troubles);
    troublesTimer = clock.setTimeout(tellTroubles, callsToldMs);
  }

  function detachNow(name: string): void {
    addresses.take(name);
    calls.forget(name);
    const instance = instances.remove(name);
    openCalls.resetAll(name);
    openCalls.resetAll(datagramsOf(name));
    if (instance === undefined) return;
    server.refresh(instance);
    client.refresh(instance, instances.byName(instance));
  }

  async function attachNow(attached: AttachedInstance) {
    if (!running) throw new ServiceNetworkStoppedError();
    const { project, application, microservice, instance, credential, listens } = attached;
    if (attached.calls.length > callableServicesMax) {
      throw new ServiceNetworkLimitError(`${instance} calls more than ${callableServicesMax} service ports`);
    }
    const before = instances.get(instance);
    if (before === undefined && instances.size >= attachedInstancesMax) {
      throw new ServiceNetworkLimitError(`more than ${attachedInstancesMax} instances on one node`);
    }
    const loaded = loadCredential(credential, attached, verifyOwnChain);
    const range = attached.network?.serviceRange;
    if (range !== undefined && attached.calls.length > 0) await ranges.claim(range);
    const given = attached.unaddressed ? { env: {}, hosts: [] } : await addresses.give(attached);
    if (range !== undefined) rangeOf.set(instance, range);
    instances.put({ project, application, microservice, instance, calls: attached.calls, listens, credential: loaded });
    if (before !== undefined) {
      instances.renew(instance, loaded);
      server.refresh(before);
      client.refresh(before, instances.byName(before));
    }
    return given;
  }

  /** Closes everything; for `stop` and for a start that failed. */
  async function close(): Promise<void> {
    running = false;
    clock.clearTimeout(sweepTimer);
    clock.clearTimeout(troublesTimer);
    clock.clearTimeout(rangesTimer);
    // The routes stay: containers run on, and without them what they call would leave the box in clear.
    rangeOf.clear();
    for (const { instance } of instances.all()) detachNow(instance);
    openCalls.destroyAll();
    client.close();
    through?.close();
    await ranges.close();
    await server.close();
  }

  function offer(): { addresses: string[] } | undefined {
    const listening = server.listening();
    if (!running || listening.length === 0) return undefined;
    const offered = advertisedHosts().flatMap((host) => {
      const found = listening.find((one) => one.host === host || one.host === (isIP(host) === 6 ? '::' : '0.0.0.0'));
      return found === undefined ? [] : [isIP(host) === 6 ? `[${host}]:${found.port}` : `${host}:${found.port}`];
    });
    return { addresses: [...new Set(offered)] };
  }

  return {
    start: () =>
      inTurn(async () => {
        if (running) return;
        await server.listen(listen.hosts, listen.port);
        running = true;
        through?.serve();
        link?.serve((stream) => (running ? server.accept(stream) : stream.destroy()));
        sweepTimer = clock.setTimeout(sweep, tunnelSweepMs);
        troublesTimer = clock.setTimeout(tellTroubles, callsToldMs);
        rangesTimer = clock.setTimeout(() => void ranges.sweep(), localRangesSweepMs);
      }),

    stop: () => inTurn(close),

    offer,

    attach: (instance) => inTurn(() => attachNow(instance)),

    renew(name, credential) {
      const instance = instances.get(name);
      if (instance === undefined) return;
      instances.renew(name, loadCredential(credential, instance, verifyOwnChain));
      server.refresh(instance);
      client.refresh(instance, instances.byName(instance));
    },

    detach: (instance) =>
      inTurn(async () => {
        detachNow(instance);
        const range = rangeOf.get(instance);
        rangeOf.delete(instance);
        if (range !== undefined && ![...rangeOf.values()].includes(range)) await ranges.release(range);
      }),
    carry: (near, instance, wanted) => calls.accept(near, instance, wanted),
    carryDatagrams: (instance, wanted, events) => datagramCalls.carry(instance, wanted, events),
    setEndpoints: (endpoints) => calls.setEndpoints(endpoints),
    setOffer(peerId, offered) {
      // Another network may use the addresses of this one; dialled, this node itself would answer.
      const own = new Set(offer()?.addresses);
      const others = offered && { ...offered, addresses: offered.addresses.filter((one) => !own.has(one)) };
      client.setOffer(peerId, others);
      through?.setOffer(peerId, others);
      if (offered === undefined) calls.unreachable(peerId);
      else calls.reachable(peerId);
    },
    loseWay(peerId) {
      client.loseWay(peerId);
      through?.setOffer(peerId, undefined);
      calls.unreachable(peerId);
    },
    carries: (neighbour) => through?.carries(neighbour) === true,
    recheck: () => allowedCalls.sweep(),
  };
}

// The real service network: local addresses for the calls of this node's instances, and the tunnel to other nodes. Made by
// node-runtime/node.ts. It puts the parts together and keeps their order of start and stop; it decides nothing itself.

import { isIP } from 'node:net';
import type { ObservedCalls } from '../control/fabric.ts';
import type { Clock } from '../node-runtime/clock.ts';
import type { Random } from '../node-runtime/random.ts';
import type { VerifyChain } from '../pki/identity.ts';
import { createAllowedCalls } from './allowed-calls.ts';
import { type Authorize, sameApplication } from './authorization.ts';
import { createDeniedCalls, type DeniedCall } from './denied-calls.ts';
import { ServiceNetworkLimitError, ServiceNetworkStoppedError } from './errors.ts';
import { attachedInstancesMax, callableServicesMax, callsToldMs, localRangesSweepMs, tunnelSweepMs } from './limits.ts';
import { createLocalInstances } from './local-instances.ts';
import { createLocalRanges } from './local-ranges.ts';
import type { Mesh, PeerId } from './mesh.ts';
import { createOpenCalls } from './open-calls.ts';
import { createServiceAddresses } from './service-addresses.ts';
import { type CallOutcome, createServiceCalls } from './service-calls.ts';
import type { AttachedInstance, ServiceNetwork } from './service-network.ts';
import { createTunnelAdmission } from './tunnel-admission.ts';
import { createTunnelClient } from './tunnel-client.ts';
import { loadCredential } from './tunnel-credentials.ts';
import { createTunnelOverLink } from './tunnel-over-link.ts';
import { createTunnelServer } from './tunnel-server.ts';

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
  onDenied: (event: DeniedCall) => void;
  /** What a call to an instance on that node costs, in microseconds; undefined where nothing is known. All cost the same when left out. */
  costOf?: (peerId: PeerId) => number | undefined;
  onCall?: (outcome: CallOutcome) => void;
  /** What is wrong with calls now, when that is something else than before; not at once. */
  onTroubles?: (troubles: ObservedCalls) => void;
}

export function createTunnelNetwork(options: TunnelNetworkOptions): ServiceNetwork {
  const { clock, random, node, listen, verifyChain, isPeerAdmitted, localPeerId, advertisedHosts, onDenied } = options;
  const { verifyOwnChain = verifyChain } = options;
  const { isPeerRevoked = () => false, authorize = sameApplication, onCall = () => undefined } = options;
  const { costOf = () => undefined, onTroubles = () => undefined } = options;
  const instances = createLocalInstances();
  const openCalls = createOpenCalls();
  const tellDenied = createDeniedCalls({ clock, onDenied });
  const allowedCalls = createAllowedCalls({ authorize, tellDenied });
  const admission = createTunnelAdmission({
    instances,
    openCalls,
    verifyChain,
    isPeerAdmitted,
    allowedCalls,
    tellDenied,
  });
  const server = createTunnelServer({
    clock,
    instances,
    openCalls,
    admission,
    isPeerRevoked,
    allowedCalls,
    tellDenied,
  });
  const overLink = options.mesh && createTunnelOverLink(options.mesh);
  const client = createTunnelClient({ clock, verifyChain, isPeerRevoked, tellDenied, overLink });
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
  const ranges = createLocalRanges();
  const addresses = createServiceAddresses({ seed: node, onConnection: calls.accept });
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
    const given = await addresses.give(attached);
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
    await ranges.close();
    await server.close();
  }

  return {
    start: () =>
      inTurn(async () => {
        if (running) return;
        await server.listen(listen.hosts, listen.port);
        running = true;
        overLink?.serve((stream) => (running ? server.accept(stream) : stream.destroy()));
        sweepTimer = clock.setTimeout(sweep, tunnelSweepMs);
        troublesTimer = clock.setTimeout(tellTroubles, callsToldMs);
        rangesTimer = clock.setTimeout(() => void ranges.sweep(), localRangesSweepMs);
      }),

    stop: () => inTurn(close),

    offer() {
      const listening = server.listening();
      if (!running || listening.length === 0) return undefined;
      const offered = advertisedHosts().flatMap((host) => {
        const found = listening.find((one) => one.host === host || one.host === (isIP(host) === 6 ? '::' : '0.0.0.0'));
        return found === undefined ? [] : [isIP(host) === 6 ? `[${host}]:${found.port}` : `${host}:${found.port}`];
      });
      return { addresses: [...new Set(offered)] };
    },

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
    setEndpoints: (endpoints) => calls.setEndpoints(endpoints),
    setOffer(peerId, offer) {
      client.setOffer(peerId, offer);
      if (offer === undefined) calls.unreachable(peerId);
      else calls.reachable(peerId);
    },
    recheck: () => allowedCalls.sweep(),
  };
}

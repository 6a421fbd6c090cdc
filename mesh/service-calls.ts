// One call from its local address to an instance: picks an endpoint, connects, tries another when that fails, then relays. Called by
// tunnel-network.ts for each accepted connection. Until an instance has answered nothing has been read of the caller.

import type { ObservedCalls } from '../control/fabric.ts';
import type { CallableService } from '../control/plan.ts';
import type { Clock } from '../node-runtime/clock.ts';
import type { Random } from '../node-runtime/random.ts';
import type { AllowedCalls } from './allowed-calls.ts';
import { chooseEndpoint, whyNoEndpoint } from './endpoint-choice.ts';
import { createEndpointHealth } from './endpoint-health.ts';
import { TunnelRefusedError, TunnelUnreachableError } from './errors.ts';
import { createFailingCalls } from './failing-calls.ts';
import { connectInstance } from './instance-connect.ts';
import { callAttemptsMax, callAttemptsMs, callsPerInstanceMax, toldCallsMax } from './limits.ts';
import type { LocalInstance, LocalInstances } from './local-instances.ts';
import type { PeerId } from './mesh.ts';
import type { OpenCalls } from './open-calls.ts';
import { createRelinks } from './relinks.ts';
import { portText, serviceKey } from './service-names.ts';
import type { Endpoint } from './service-network.ts';
import type { TunnelClient } from './tunnel-client.ts';
import { type RelayEnd, relay, socketEnd, streamEnd } from './tunnel-relay.ts';

/** How one call began: `failed` when no instance could be reached, and the caller's connection was reset. */
export interface CallOutcome {
  instance: string;
  called: CallableService;
  outcome: 'connected' | 'failed';
  /** Instance that answered. */
  endpoint: string | undefined;
  attempts: number;
  /** Why it failed; empty when it did not. */
  reason: string;
  /** From the accepted connection to the answer. */
  tookMs: number;
}

export interface ServiceCallsOptions {
  clock: Clock;
  random: Random;
  localPeerId: PeerId;
  instances: LocalInstances;
  openCalls: OpenCalls;
  client: TunnelClient;
  allowedCalls: Pick<AllowedCalls, 'refusal' | 'watch'>;
  /** Of a call to an instance there, in microseconds; undefined where nothing is known. */
  costOf: (peerId: PeerId) => number | undefined;
  onCall: (outcome: CallOutcome) => void;
}

/** What wants an instance of a service. */
export interface Wish<Far> {
  caller: LocalInstance;
  wanted: CallableService;
  /** To an instance of this node or of another one. */
  connect(endpoint: Endpoint, signal: AbortSignal): Promise<Far>;
  /** Aborted by the caller when it goes, and here when the time is up. */
  abort: AbortController;
  /** The caller is gone: nothing is wrong with whom it called. */
  isGone(): boolean;
}

export interface Reached<Far> {
  far: Far;
  endpoint: Endpoint;
  /** The endpoint has one call less. */
  release(): void;
  /** It took no call after all. */
  failed(reason: string): void;
}

export interface ServiceCalls {
  /** Connects to an instance by the policy of the service, and tells what came of it; when none was reached, why. */
  reach<Far>(wish: Wish<Far>): Promise<Reached<Far> | { reason: string }>;
  setEndpoints(endpoints: readonly Endpoint[]): void;
  /** There is a new way to the peer: what failed before says nothing of it. */
  reachable(peerId: PeerId): void;
  /** The link to it is gone; perhaps there is another way in a moment. */
  unreachable(peerId: PeerId): void;
  /** What is wrong with calls now; bounded. */
  troubles(): ObservedCalls;
  /** Takes over the paused connection of an instance that calls: to one of its service addresses, or accepted by a gateway. */
  accept(near: RelayEnd, instance: string, wanted: CallableService): void;
  forget(instance: string): void;
}

interface Attempted<Far> {
  far: Far | undefined;
  endpoint: Endpoint | undefined;
  attempts: number;
  reason: string;
  /** The endpoint has one call less. */
  release(): void;
}

const nothingToRelease = (): void => undefined;

export function createServiceCalls(options: ServiceCallsOptions): ServiceCalls {
  const { clock, random, localPeerId, instances, openCalls, client, allowedCalls, costOf, onCall } = options;
  let byService = new Map<string, Endpoint[]>();
  /** Of each (instance, service): the endpoint of its last call. */
  const lastOf = new Map<string, Map<string, string>>();
  const health = createEndpointHealth({ clock, random });
  const failing = createFailingCalls({ clock });
  const relinks = createRelinks({ clock });
  /** Calls to each instance that are open or on their way, of all callers here. */
  const callsTo = new Map<string, number>();

  const portKey = (service: CallableService) => `${serviceKey(service)}:${portText(service)}`;

  function choose(caller: LocalInstance, wanted: CallableService, excluded: ReadonlySet<string>): Endpoint | undefined {
    const key = portKey(wanted);
    const endpoints = byService.get(key) ?? [];
    const turns = lastOf.get(caller.instance) ?? new Map<string, string>();
    lastOf.set(caller.instance, turns);
    // Callers begin at different places, so that many callers with one call each do not all meet the first instance.
    const after = turns.get(key) ?? endpoints[Math.floor(random.next() * endpoints.length)]?.instance;
    const endpoint = chooseEndpoint({
      ...{ endpoints, wanted, excluded, after, localPeerId, costOf },
      caller: caller.instance,
      // One whose way was lost may be gone as well: whoever can be reached comes first.
      isEjected: (endpoint) => health.isEjected(endpoint) || client.hasLostWay(endpoint.peerId),
      openCallsTo: (instance) => callsTo.get(instance) ?? 0,
    });
    if (endpoint !== undefined) turns.set(key, endpoint.instance);
    return endpoint;
  }

  /** From the choice on, so that calls which begin together do not all find the same instance idle. */
  function countTo(instance: string): () => void {
    callsTo.set(instance, (callsTo.get(instance) ?? 0) + 1);
    return () => {
      const left = (callsTo.get(instance) ?? 1) - 1;
      if (left > 0) callsTo.set(instance, left);
      else callsTo.delete(instance);
    };
  }

  /** To an instance of this node there is no tunnel. */
  async function connectLocal(endpoint: Endpoint, signal: AbortSignal): Promise<RelayEnd> {
    const listen = instances.get(endpoint.instance)?.listens.find((one) => portText(one) === portText(endpoint));
    if (listen === undefined) throw new TunnelUnreachableError('the instance is not attached');
    const { connected, cancel } = connectInstance(clock, listen.host, listen.hostPort);
    const onAbort = () => cancel(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    return socketEnd(await connected.finally(() => signal.removeEventListener('abort', onAbort)));
  }

  async function connectRemote(caller: LocalInstance, endpoint: Endpoint, signal: AbortSignal): Promise<RelayEnd> {
    const microservice = instances.byName(caller);
    if (microservice === undefined) throw new TunnelUnreachableError('the caller is not attached');
    return streamEnd(await client.open(microservice, endpoint, signal));
  }

  /** Whether one of them may be tried again, as there is another way to its node. */
  async function isLinkedAgain(
    unlinked: Map<string, PeerId>,
    excluded: Set<string>,
    signal: AbortSignal,
  ): Promise<boolean> {
    if (![...unlinked.values()].some(client.hasLink)) await relinks.wait(new Set(unlinked.values()), signal);
    for (const [instance, peerId] of unlinked)
      if (client.hasLink(peerId)) {
        excluded.delete(instance);
        unlinked.delete(instance);
      }
    return !signal.aborted;
  }

  async function attempt<Far>({ caller, wanted, connect, abort: { signal } }: Wish<Far>): Promise<Attempted<Far>> {
    const refusal = allowedCalls.refusal({ caller, callerPeerId: localPeerId, called: wanted });
    if (refusal !== undefined)
      return { far: undefined, endpoint: undefined, attempts: 0, reason: refusal, release: nothingToRelease };
    const excluded = new Set<string>();
    /** Instances that were not reached for want of a link. */
    const unlinked = new Map<string, PeerId>();
    let reason = whyNoEndpoint(byService.get(portKey(wanted)) ?? [], wanted);
    for (let attempts = 0; ; attempts += 1) {
      const mayTry = () => attempts < callAttemptsMax && !signal.aborted;
      let endpoint = mayTry() ? choose(caller, wanted, excluded) : undefined;
      if (endpoint === undefined && mayTry() && (await isLinkedAgain(unlinked, excluded, signal)))
        endpoint = choose(caller, wanted, excluded);
      if (endpoint === undefined) return { far: undefined, endpoint, attempts, reason, release: nothingToRelease };
      excluded.add(endpoint.instance);
      const release = countTo(endpoint.instance);
      try {
        const far = await connect(endpoint, signal);
        health.answered(endpoint);
        return { far, endpoint, attempts: attempts + 1, reason: '', release };
      } catch (error) {
        release();
        reason = error instanceof Error ? error.message : 'unknown';
        // What policy denies here it denies everywhere: asking on would only make more events. Who has no link may be a stranger there for a moment.
        const mayKnow = endpoint.peerId === localPeerId || client.hasLink(endpoint.peerId);
        if (error instanceof TunnelRefusedError && error.status === 403 && mayKnow)
          return { far: undefined, endpoint, attempts: attempts + 1, reason, release: nothingToRelease };
        // A caller that hangs up, or time that others have used, says nothing about this one.
        if (!signal.aborted) health.failed(endpoint, reason);
        if (endpoint.peerId !== localPeerId && !client.hasLink(endpoint.peerId))
          unlinked.set(endpoint.instance, endpoint.peerId);
      }
    }
  }

  async function reach<Far>(wish: Wish<Far>): Promise<Reached<Far> | { reason: string }> {
    const { caller, wanted, abort, isGone } = wish;
    const startedAt = clock.elapsed();
    const timer = clock.setTimeout(
      () => abort.abort(new TunnelUnreachableError('no instance answered in time')),
      callAttemptsMs,
    );
    const { far, endpoint, attempts, reason, release } = await attempt(wish);
    clock.clearTimeout(timer);
    const connected = far !== undefined && endpoint !== undefined;
    if (connected) failing.answered(caller.instance, wanted);
    else if (!isGone()) failing.failed(caller.instance, wanted, reason);
    onCall({
      instance: caller.instance,
      called: wanted,
      outcome: connected ? 'connected' : 'failed',
      endpoint: connected ? endpoint.instance : undefined,
      attempts,
      reason,
      tookMs: Math.round(clock.elapsed() - startedAt),
    });
    return connected ? { far, endpoint, release, failed: (why) => health.failed(endpoint, why) } : { reason };
  }

  async function carry(near: RelayEnd, caller: LocalInstance, wanted: CallableService): Promise<void> {
    const { duplex } = near;
    const abort = new AbortController();
    const onEarlyClose = () => abort.abort(new Error('the caller is gone'));
    duplex.on('error', () => undefined);
    duplex.once('close', onEarlyClose);
    const call = { caller, callerPeerId: localPeerId, called: wanted };
    duplex.once(
      'close',
      allowedCalls.watch(call, () => near.reset()),
    );
    const pending = openCalls.add([caller.instance], near);
    const reached = await reach<RelayEnd>({
      ...{ caller, wanted, abort },
      connect: (endpoint, signal) =>
        endpoint.peerId === localPeerId ? connectLocal(endpoint, signal) : connectRemote(caller, endpoint, signal),
      isGone: () => duplex.destroyed,
    });
    duplex.off('close', onEarlyClose);
    pending();
    if ('reason' in reached || duplex.destroyed) {
      if ('far' in reached) {
        reached.release();
        reached.far.reset();
      }
      near.reset();
      return;
    }
    const { far, endpoint, release } = reached;
    const isLocal = endpoint.peerId === localPeerId;
    const carried = relay(near, far, () => done());
    const closed = openCalls.add(isLocal ? [caller.instance, endpoint.instance] : [caller.instance], carried);
    const done = () => {
      closed();
      release();
    };
  }

  return {
    reach,

    setEndpoints(endpoints) {
      byService = Map.groupBy(endpoints, portKey);
      // One that is unready, gone or elsewhere by now begins anew when it is ready.
      health.forgetWhere((before) => {
        const now = byService.get(portKey(before))?.find(({ instance }) => instance === before.instance);
        return now?.ready !== true || now.peerId !== before.peerId;
      });
    },

    reachable(peerId) {
      health.forgetWhere((endpoint) => endpoint.peerId === peerId);
      relinks.linked(peerId);
    },

    unreachable: (peerId) => relinks.lost(peerId),

    troubles: () => ({
      ejected: health.ejected().slice(0, toldCallsMax),
      failing: failing.current().slice(0, toldCallsMax),
    }),

    accept(near, instance, wanted) {
      const caller = instances.get(instance);
      // As the plan says it now: with the balancing of this moment.
      const call = caller?.calls.find((one) => portKey(one) === portKey(wanted));
      if (caller === undefined || call === undefined || openCalls.count(instance) >= callsPerInstanceMax) {
        near.duplex.on('error', () => undefined);
        near.reset();
        return;
      }
      void carry(near, caller, call);
    },

    forget(instance) {
      lastOf.delete(instance);
      failing.forget(instance);
    },
  };
}

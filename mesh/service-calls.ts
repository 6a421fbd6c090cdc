// One call from its local address to an instance: picks an endpoint, connects, tries another when that fails, then relays. Called by
// tunnel-network.ts for each accepted connection. Until an instance has answered nothing has been read of the caller.

import type { Socket } from 'node:net';
import type { CallableService, MicroserviceName } from '../control/plan.ts';
import type { Clock } from '../node-runtime/clock.ts';
import type { Random } from '../node-runtime/random.ts';
import type { AllowedCalls } from './allowed-calls.ts';
import { createBoundedMap } from './bounded-map.ts';
import { chooseEndpoint, serves } from './endpoint-choice.ts';
import { TunnelRefusedError, TunnelUnreachableError } from './errors.ts';
import { connectInstance } from './instance-connect.ts';
import {
  avoidedEndpointsMax,
  callAttemptsMax,
  callAttemptsMs,
  callsPerInstanceMax,
  endpointAvoidedMs,
} from './limits.ts';
import type { LocalInstance, LocalInstances } from './local-instances.ts';
import type { PeerId } from './mesh.ts';
import type { OpenCalls } from './open-calls.ts';
import { serviceKey } from './service-names.ts';
import type { Endpoint } from './service-network.ts';
import type { TunnelClient } from './tunnel-client.ts';
import { type RelayEnd, relay, resetSocket, socketEnd, streamEnd } from './tunnel-relay.ts';

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
  onCall: (outcome: CallOutcome) => void;
}

export interface ServiceCalls {
  setEndpoints(endpoints: readonly Endpoint[]): void;
  /** Takes over a paused socket that an instance opened to one of its service addresses. */
  accept(socket: Socket, instance: string, wanted: CallableService): void;
  forget(instance: string): void;
}

interface Attempted {
  far: RelayEnd | undefined;
  endpoint: Endpoint | undefined;
  attempts: number;
  reason: string;
}

/** Usually nobody has failed. */
const nobody: ReadonlySet<string> = new Set();

export function createServiceCalls(options: ServiceCallsOptions): ServiceCalls {
  const { clock, random, localPeerId, instances, openCalls, client, allowedCalls, onCall } = options;
  let byService = new Map<string, Endpoint[]>();
  /** Of each (instance, service): the endpoint of its last call. */
  const lastOf = new Map<string, Map<string, string>>();
  const avoidedUntil = createBoundedMap<string, number>(avoidedEndpointsMax);

  const portKey = (name: MicroserviceName, port: number) => `${serviceKey(name)}:${port}`;

  function choose(caller: LocalInstance, wanted: CallableService, excluded: ReadonlySet<string>): Endpoint | undefined {
    const key = portKey(wanted, wanted.port);
    const endpoints = byService.get(key) ?? [];
    const now = clock.now();
    const avoided =
      avoidedUntil.size === 0
        ? nobody
        : new Set(endpoints.map(({ instance }) => instance).filter((name) => (avoidedUntil.get(name) ?? 0) > now));
    const turns = lastOf.get(caller.instance) ?? new Map<string, string>();
    lastOf.set(caller.instance, turns);
    // Callers begin at different places, so that many callers with one call each do not all meet the first instance.
    const after = turns.get(key) ?? endpoints[Math.floor(random.next() * endpoints.length)]?.instance;
    const endpoint = chooseEndpoint({ endpoints, wanted, excluded, avoided, after });
    if (endpoint !== undefined) turns.set(key, endpoint.instance);
    return endpoint;
  }

  /** To an instance of this node there is no tunnel. */
  async function connectLocal(_caller: LocalInstance, endpoint: Endpoint, signal: AbortSignal): Promise<RelayEnd> {
    const listen = instances.get(endpoint.instance)?.listens.find(({ port }) => port === endpoint.port);
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

  async function attempt(caller: LocalInstance, wanted: CallableService, signal: AbortSignal): Promise<Attempted> {
    const refusal = allowedCalls.refusal({ caller, callerPeerId: localPeerId, called: wanted });
    if (refusal !== undefined) return { far: undefined, endpoint: undefined, attempts: 0, reason: refusal };
    const excluded = new Set<string>();
    let reason = 'no instance of it is ready';
    for (let attempts = 0; ; attempts += 1) {
      const endpoint = attempts < callAttemptsMax && !signal.aborted ? choose(caller, wanted, excluded) : undefined;
      if (endpoint === undefined) return { far: undefined, endpoint, attempts, reason };
      excluded.add(endpoint.instance);
      try {
        const connect = endpoint.peerId === localPeerId ? connectLocal : connectRemote;
        const far = await connect(caller, endpoint, signal);
        avoidedUntil.delete(endpoint.instance);
        return { far, endpoint, attempts: attempts + 1, reason: '' };
      } catch (error) {
        reason = error instanceof Error ? error.message : 'unknown';
        // What policy denies here it denies everywhere: asking on would only make more events.
        if (error instanceof TunnelRefusedError && error.status === 403)
          return { far: undefined, endpoint, attempts: attempts + 1, reason };
        avoidedUntil.set(endpoint.instance, clock.now() + endpointAvoidedMs);
      }
    }
  }

  async function carry(socket: Socket, caller: LocalInstance, wanted: CallableService): Promise<void> {
    const startedAt = clock.now();
    const abort = new AbortController();
    const onEarlyClose = () => abort.abort(new Error('the caller is gone'));
    socket.on('error', () => undefined);
    socket.once('close', onEarlyClose);
    const call = { caller, callerPeerId: localPeerId, called: wanted };
    socket.once(
      'close',
      allowedCalls.watch(call, () => resetSocket(socket)),
    );
    const pending = openCalls.add([caller.instance], {
      reset: () => resetSocket(socket),
      destroy: () => socket.destroy(),
    });
    const timer = clock.setTimeout(
      () => abort.abort(new TunnelUnreachableError('no instance answered in time')),
      callAttemptsMs,
    );
    const { far, endpoint, attempts, reason } = await attempt(caller, wanted, abort.signal);
    clock.clearTimeout(timer);
    socket.off('close', onEarlyClose);
    pending();
    const outcome = far === undefined ? 'failed' : 'connected';
    onCall({
      instance: caller.instance,
      called: wanted,
      outcome,
      endpoint: far === undefined ? undefined : endpoint?.instance,
      attempts,
      reason,
      tookMs: clock.now() - startedAt,
    });
    if (far === undefined || endpoint === undefined || socket.destroyed) {
      far?.reset();
      resetSocket(socket);
      return;
    }
    const isLocal = endpoint.peerId === localPeerId;
    const carried = relay(socketEnd(socket), far, () => done());
    const done = openCalls.add(isLocal ? [caller.instance, endpoint.instance] : [caller.instance], carried);
  }

  return {
    setEndpoints(endpoints) {
      byService = Map.groupBy(endpoints, (endpoint) => portKey(endpoint, endpoint.port));
    },

    accept(socket, instance, wanted) {
      const caller = instances.get(instance);
      const mayCall = caller?.calls.some((call) =>
        serves({ ...call, instance, peerId: localPeerId, ready: true }, wanted),
      );
      if (caller === undefined || !mayCall || openCalls.count(instance) >= callsPerInstanceMax) {
        socket.on('error', () => undefined);
        resetSocket(socket);
        return;
      }
      void carry(socket, caller, wanted);
    },

    forget: (instance) => void lastOf.delete(instance),
  };
}

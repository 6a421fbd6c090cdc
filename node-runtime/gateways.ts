// The gateways of this node's plan: one actor for each, with the identity by which it calls services, its certificate for clients, and the
// port that it listens on. Called by member.ts. Who is let in is decided by mesh/; what is written down of grants is never a token.

import { fromPromise } from 'xstate';
import { gatewayMachine } from '../actors/gateway.ts';
import { canonicalJson } from '../control/canonical-json.ts';
import type { ObservedGateway } from '../control/gateway.ts';
import { gatewayIdentity } from '../control/gateway-plan.ts';
import type { MicroserviceName } from '../control/plan.ts';
import type { OpenGateway } from '../mesh/gateway.ts';
import type { ServiceNetwork, WorkloadCredential } from '../mesh/service-network.ts';
import type { ActorSystem } from './actor-system.ts';
import type { Clock, TimerId } from './clock.ts';
import { GatewayUnusableError } from './errors.ts';
import {
  asksForCertificates,
  type GatewayAuthority,
  type GatewayEntry,
  gatewayHeldBy,
  gatewayInstance,
  gatewayKey,
  gatewayMaterial,
  gatewayProtocol,
  isOpenedFor,
  listenKey,
  observedGateway,
} from './gateway-entry.ts';
import { gatewaysObservedMax, gatewayToldMs } from './limits.ts';
import type { ObeyedPlan } from './obeyed-plan.ts';
import type { WorkloadCertificates } from './workload-certificates.ts';

export interface Gateways {
  /** From now on these; what is not among them is closed, and what is open and no longer let in. */
  obey(obeyed: Pick<ObeyedPlan, 'plan' | 'files'>): void;
  /** The service network has started. Idempotent. */
  start(): void;
  /** The node's authority is another one. */
  recheck(): void;
  /** Another credential for a gateway; false when the instance is none. */
  renewed(instance: string, credential: WorkloadCredential): boolean;
  observed(): ObservedGateway[];
  called(): MicroserviceName[];
  stop(): Promise<void>;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export function createGateways(dependencies: {
  clock: Clock;
  actors: ActorSystem;
  jitter: () => number;
  openGateway: OpenGateway;
  serviceNetwork: Pick<ServiceNetwork, 'attach' | 'detach' | 'renew' | 'carry'>;
  certificates: Pick<WorkloadCertificates, 'issue' | 'release'>;
  authority: GatewayAuthority;
  onChanged(): void;
  /** Somebody was turned away. */
  onRefused(gateway: string, address: string, reason: string): void;
}): Gateways {
  const { clock, actors, jitter, openGateway, serviceNetwork, certificates, authority, onChanged } = dependencies;
  const entries = new Map<string, GatewayEntry>();
  /** Closing ends before the next opens: of one port there is one listener. */
  let closing: Promise<unknown> = Promise.resolve();
  const credentials = new Map<string, WorkloadCredential>();
  let started = false;
  let told = '';
  let timer: TimerId | undefined;

  async function close(entry: GatewayEntry): Promise<void> {
    const { listening } = entry;
    entry.listening = undefined;
    if (listening === undefined) return;
    closing = Promise.all([closing, listening.close()]);
    await closing;
  }

  /** Of several gateways that want one port the first has it. */
  function otherAt({ planned }: GatewayEntry): string | undefined {
    for (const [key, { planned: other, listening }] of entries) {
      if (listening !== undefined && other !== planned && other.port === planned.port) return key;
    }
    return undefined;
  }

  async function attach(entry: GatewayEntry, credential: WorkloadCredential): Promise<void> {
    const { planned } = entry;
    const calls = planned.routes.map(({ to }) => to);
    const identity = gatewayIdentity(planned);
    await serviceNetwork.attach({
      ...{ ...identity, instance: gatewayInstance(planned), credential, calls, listens: [] },
      unaddressed: true,
    });
  }

  async function open(entry: GatewayEntry, signal: AbortSignal): Promise<void> {
    await Promise.all([closing, close(entry)]);
    const { planned } = entry;
    const { address, port, routes, grants } = planned;
    const instance = gatewayInstance(planned);
    const protocol = gatewayProtocol(planned);
    const tls = gatewayMaterial(entry, authority);
    signal.throwIfAborted();
    const credential = await certificates.issue(instance, gatewayIdentity(planned));
    credentials.set(instance, credential);
    await attach(entry, credential);
    signal.throwIfAborted();
    const [opened, asks] = [listenKey(planned), asksForCertificates(planned)];
    try {
      const listening = await openGateway({
        ...{ protocol, address, port, tls, routes, grants },
        carry: (near, to) => serviceNetwork.carry(near, instance, to),
        onRefused: (from, reason) => dependencies.onRefused(gatewayKey(planned), from, reason),
      });
      if (signal.aborted) {
        closing = Promise.all([closing, listening.close()]);
        return;
      }
      Object.assign(entry, { listening, opened, asks, stale: '' });
    } catch (error) {
      const other = otherAt(entry);
      if (other === undefined || (error as { id?: unknown }).id !== 'gateway-port-taken') throw error;
      throw new GatewayUnusableError(`port ${port} of this node is Gateway ${other}’s`, { cause: error });
    }
    // The plan may have changed while it opened.
    refresh(entry);
  }

  /** Routes, grants and certificate of what listens, as the plan says them now. */
  function refresh(entry: GatewayEntry): void {
    const { listening, planned } = entry;
    if (listening === undefined) return;
    if (!isOpenedFor(entry, planned)) {
      void close(entry);
      entry.actor?.send({ type: 'REOPEN' });
      admit(entry);
      return;
    }
    const { routes, grants } = planned;
    entry.stale = '';
    const attempt = <T>(what: () => T): T | undefined => {
      try {
        return what();
      } catch (error) {
        entry.stale = messageOf(error);
        return undefined;
      }
    };
    // Who is no longer let in goes, whatever is wrong with the certificate.
    const tls = attempt(() => gatewayMaterial(entry, authority));
    attempt(() => listening.update({ tls, routes, grants }));
    const credential = credentials.get(gatewayInstance(planned));
    if (credential !== undefined) {
      attach(entry, credential).catch((error: unknown) => {
        entry.stale = messageOf(error);
        onChanged();
      });
    }
  }

  function admit(entry: GatewayEntry): void {
    if (!started) return;
    const reason = gatewayHeldBy(entry.planned, authority);
    entry.actor?.send(reason === undefined ? { type: 'ADMITTED' } : { type: 'HELD', reason });
  }

  function spawn(entry: GatewayEntry): void {
    const machine = gatewayMachine.provide({
      actors: { open: fromPromise<void, undefined>(({ signal }) => open(entry, signal)) },
    });
    entry.actor = actors.spawn(`gateway/${gatewayKey(entry.planned)}`, machine, { jitter });
    entry.actor.subscribe(onChanged);
    admit(entry);
  }

  async function end(key: string, entry: GatewayEntry): Promise<void> {
    entries.delete(key);
    entry.actor?.stop();
    const instance = gatewayInstance(entry.planned);
    certificates.release(instance);
    credentials.delete(instance);
    await close(entry);
    // Another of its name may be there by now.
    if (!entries.has(key)) await serviceNetwork.detach(instance);
  }

  const observed = (): ObservedGateway[] => [...entries.values()].slice(0, gatewaysObservedMax).map(observedGateway);

  /** Counts change all the time; they are told once in a while. */
  function tellCounts(): void {
    const now = canonicalJson(observed());
    if (now !== told) onChanged();
    told = now;
    timer = clock.setTimeout(tellCounts, gatewayToldMs);
  }

  return {
    obey({ plan, files }) {
      const wanted = new Map((plan.gateways ?? []).map((planned) => [gatewayKey(planned), planned]));
      for (const [key, entry] of [...entries]) if (!wanted.has(key)) void end(key, entry);
      for (const [key, planned] of wanted) {
        const entry = entries.get(key);
        if (entry === undefined) {
          const fresh: GatewayEntry = {
            planned,
            files,
            actor: undefined,
            listening: undefined,
            opened: '',
            asks: false,
            shown: undefined,
            stale: '',
          };
          entries.set(key, fresh);
          if (started) spawn(fresh);
          continue;
        }
        const changed = canonicalJson(entry.planned) !== canonicalJson(planned);
        Object.assign(entry, { planned, files });
        if (!changed) continue;
        if (entry.listening !== undefined) refresh(entry);
        else {
          entry.actor?.send({ type: 'REOPEN' });
          admit(entry);
        }
      }
    },
    start() {
      if (started) return;
      started = true;
      for (const entry of entries.values()) spawn(entry);
      tellCounts();
    },
    recheck() {
      for (const entry of entries.values()) {
        admit(entry);
        if (entry.stale !== '') refresh(entry);
      }
    },
    renewed(instance, credential) {
      const entry = [...entries.values()].find(({ planned }) => gatewayInstance(planned) === instance);
      if (entry === undefined) return false;
      credentials.set(instance, credential);
      serviceNetwork.renew(instance, credential);
      // Its certificate for clients lives as long.
      entry.shown = undefined;
      refresh(entry);
      return true;
    },
    observed,
    called: () => [...entries.values()].flatMap(({ planned }) => planned.routes.map(({ to }) => to)),
    async stop() {
      started = false;
      clock.clearTimeout(timer);
      await Promise.all([...entries].map(([key, entry]) => end(key, entry)));
      await closing;
    },
  };
}

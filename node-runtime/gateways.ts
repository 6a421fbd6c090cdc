// The gateways of this node's plan: one actor for each, with the identity by which it calls services, its certificate for clients, and the
// port that it listens on. Called by member.ts. Who is let in is decided by mesh/; what is written down of grants is never a token.

import { type Actor, fromPromise } from 'xstate';
import { gatewayMachine } from '../actors/gateway.ts';
import { canonicalJson } from '../control/canonical-json.ts';
import type { ObservedGateway, PlannedGateway } from '../control/gateway.ts';
import { gatewayIdentity } from '../control/gateway-plan.ts';
import type { FileReference, MicroserviceName } from '../control/plan.ts';
import { unsaltContent } from '../control/salted-content.ts';
import type { GatewayOptions, GatewayTlsMaterial, ListeningGateway, OpenGateway } from '../mesh/gateway.ts';
import type { ServiceNetwork, WorkloadCredential } from '../mesh/service-network.ts';
import type { ActorSystem } from './actor-system.ts';
import type { NodeAuthority } from './authority.ts';
import type { Clock, TimerId } from './clock.ts';
import { GatewayUnusableError } from './errors.ts';
import { gatewayReasonCharactersMax, gatewaysObservedMax, gatewayToldMs } from './limits.ts';
import type { ObeyedPlan } from './obeyed-plan.ts';
import type { WorkloadCertificates } from './workload-certificates.ts';
import type { PlanFiles } from './workload-content.ts';

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

interface Entry {
  planned: PlannedGateway;
  files: PlanFiles;
  actor: Actor<typeof gatewayMachine> | undefined;
  listening: ListeningGateway | undefined;
  /** What of the plan it was opened for. */
  opened: string;
  /** Its own certificate for clients, and for which names. */
  shown: { names: string; material: GatewayTlsMaterial } | undefined;
  /** Why it goes on with an older certificate. */
  stale: string;
}

/** What cannot change while it listens. */
const listenKey = ({ address, port, protocol, tls, grants }: PlannedGateway): string =>
  canonicalJson([address ?? null, port, protocol, tls !== undefined, grants.some(({ certificate }) => certificate)]);

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const keyOf = ({ project, name }: Pick<PlannedGateway, 'project' | 'name'>): string => `${project}/${name}`;

/** No instance of an application has such a name. */
const instanceOf = ({ project, name }: PlannedGateway): string => `gateway/${project}/${name}`;

export function createGateways(dependencies: {
  clock: Clock;
  actors: ActorSystem;
  jitter: () => number;
  openGateway: OpenGateway;
  serviceNetwork: Pick<ServiceNetwork, 'attach' | 'detach' | 'renew' | 'carry'>;
  certificates: Pick<WorkloadCertificates, 'issue' | 'release'>;
  authority: Pick<NodeAuthority, 'covers' | 'allows' | 'issuePublic'>;
  onChanged(): void;
  /** Somebody was turned away. */
  onRefused(gateway: string, address: string, reason: string): void;
}): Gateways {
  const { clock, actors, jitter, openGateway, serviceNetwork, certificates, authority, onChanged } = dependencies;
  const entries = new Map<string, Entry>();
  /** Closing ends before the next opens: of one port there is one listener. */
  let closing: Promise<unknown> = Promise.resolve();
  const credentials = new Map<string, WorkloadCredential>();
  let started = false;
  let told = '';
  let timer: TimerId | undefined;

  function heldBy({ planned }: Entry): string | undefined {
    const { tls } = planned;
    const covered = authority.covers(gatewayIdentity(planned));
    const allowed = tls === undefined || !('names' in tls) || authority.allows(tls.names);
    return covered && allowed ? undefined : 'waiting for an authority that covers it';
  }

  function contentOf({ files }: Entry, { sha256 }: FileReference): string {
    const content = files.get(sha256);
    if (content === undefined) throw new GatewayUnusableError('its certificate is not in the plan');
    return Buffer.from(unsaltContent(content)).toString('utf8');
  }

  /** Throws where there is none. */
  function materialOf(entry: Entry): GatewayTlsMaterial | undefined {
    const { tls } = entry.planned;
    if (tls === undefined) return undefined;
    if ('missing' in tls) throw new GatewayUnusableError(tls.missing);
    if ('certificate' in tls) return { chainPem: contentOf(entry, tls.certificate), keyPem: contentOf(entry, tls.key) };
    const names = tls.names.join(' ');
    if (entry.shown?.names !== names) {
      if (!authority.allows(tls.names)) throw new GatewayUnusableError('its new names are not in the authority yet');
      entry.shown = { names, material: authority.issuePublic(tls.names) };
    }
    return entry.shown.material;
  }

  async function close(entry: Entry): Promise<void> {
    const { listening } = entry;
    entry.listening = undefined;
    if (listening === undefined) return;
    closing = Promise.all([closing, listening.close()]);
    await closing;
  }

  function protocolOf({ protocol }: PlannedGateway): GatewayOptions['protocol'] {
    if (protocol === 'tcp' || protocol === 'http') return protocol;
    throw new GatewayUnusableError(`this version does not publish the protocol ${protocol}`);
  }

  /** Of several gateways that want one port the first has it. */
  function otherAt({ planned }: Entry): string | undefined {
    for (const [key, { planned: other, listening }] of entries) {
      if (listening !== undefined && other !== planned && other.port === planned.port) return key;
    }
    return undefined;
  }

  async function attach(entry: Entry, credential: WorkloadCredential): Promise<void> {
    const { planned } = entry;
    const calls = planned.routes.map(({ to }) => to);
    const identity = gatewayIdentity(planned);
    await serviceNetwork.attach({
      ...{ ...identity, instance: instanceOf(planned), credential, calls, listens: [] },
      unaddressed: true,
    });
  }

  async function open(entry: Entry, signal: AbortSignal): Promise<void> {
    await Promise.all([closing, close(entry)]);
    const { planned } = entry;
    const { address, port, routes, grants } = planned;
    const instance = instanceOf(planned);
    const protocol = protocolOf(planned);
    const tls = materialOf(entry);
    signal.throwIfAborted();
    const credential = await certificates.issue(instance, gatewayIdentity(planned));
    credentials.set(instance, credential);
    await attach(entry, credential);
    signal.throwIfAborted();
    const opened = listenKey(planned);
    try {
      const listening = await openGateway({
        ...{ protocol, address, port, tls, routes, grants },
        carry: (near, to) => serviceNetwork.carry(near, instance, to),
        onRefused: (from, reason) => dependencies.onRefused(keyOf(planned), from, reason),
      });
      if (signal.aborted) {
        closing = Promise.all([closing, listening.close()]);
        return;
      }
      Object.assign(entry, { listening, opened, stale: '' });
    } catch (error) {
      const other = otherAt(entry);
      if (other === undefined || (error as { id?: unknown }).id !== 'gateway-port-taken') throw error;
      throw new GatewayUnusableError(`port ${port} of this node is Gateway ${other}’s`, { cause: error });
    }
    // The plan may have changed while it opened.
    refresh(entry);
  }

  /** Routes, grants and certificate of what listens, as the plan says them now. */
  function refresh(entry: Entry): void {
    const { listening, planned } = entry;
    if (listening === undefined) return;
    if (entry.opened !== listenKey(planned)) {
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
    const tls = attempt(() => materialOf(entry));
    attempt(() => listening.update({ tls, routes, grants }));
    const credential = credentials.get(instanceOf(planned));
    if (credential !== undefined) {
      attach(entry, credential).catch((error: unknown) => {
        entry.stale = messageOf(error);
        onChanged();
      });
    }
  }

  function admit(entry: Entry): void {
    if (!started) return;
    const reason = heldBy(entry);
    entry.actor?.send(reason === undefined ? { type: 'ADMITTED' } : { type: 'HELD', reason });
  }

  function spawn(entry: Entry): void {
    const machine = gatewayMachine.provide({
      actors: { open: fromPromise<void, undefined>(({ signal }) => open(entry, signal)) },
    });
    entry.actor = actors.spawn(`gateway/${keyOf(entry.planned)}`, machine, { jitter });
    entry.actor.subscribe(onChanged);
    admit(entry);
  }

  async function end(key: string, entry: Entry): Promise<void> {
    entries.delete(key);
    entry.actor?.stop();
    const instance = instanceOf(entry.planned);
    certificates.release(instance);
    credentials.delete(instance);
    await close(entry);
    // Another of its name may be there by now.
    if (!entries.has(key)) await serviceNetwork.detach(instance);
  }

  const observed = (): ObservedGateway[] =>
    [...entries.values()].slice(0, gatewaysObservedMax).map(({ planned, actor, listening, stale }) => {
      const snapshot = actor?.getSnapshot();
      const state = snapshot?.matches('listening')
        ? 'listening'
        : snapshot?.matches('backingOff')
          ? 'failed'
          : 'waiting';
      const reason = (state === 'listening' ? stale : (snapshot?.context.reason ?? '')).slice(
        0,
        gatewayReasonCharactersMax,
      );
      const { project, name, generation } = planned;
      const counts = { connections: listening?.connections ?? 0, refused: listening?.refused ?? 0 };
      return { project, name, generation, state, reason, ...counts };
    });

  /** Counts change all the time; they are told once in a while. */
  function tellCounts(): void {
    const now = canonicalJson(observed());
    if (now !== told) onChanged();
    told = now;
    timer = clock.setTimeout(tellCounts, gatewayToldMs);
  }

  return {
    obey({ plan, files }) {
      const wanted = new Map((plan.gateways ?? []).map((planned) => [keyOf(planned), planned]));
      for (const [key, entry] of [...entries]) if (!wanted.has(key)) void end(key, entry);
      for (const [key, planned] of wanted) {
        const entry = entries.get(key);
        if (entry === undefined) {
          const fresh: Entry = {
            planned,
            files,
            actor: undefined,
            listening: undefined,
            opened: '',
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
      const entry = [...entries.values()].find(({ planned }) => instanceOf(planned) === instance);
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

// All instances of this node: one actor for each that the obeyed plan names or that an earlier daemon left. Gives the
// actors their effects (engine, service network, certificates, probes) and turns their snapshots into observations.
// Called by node.ts. It decides nothing about a life: actors/instance.ts does.

import type { Actor, SnapshotFrom } from 'xstate';
import type { instanceMachine } from '../actors/instance.ts';
import { instanceState } from '../actors/instance-state.ts';
import type { InstanceTransition, ObservedInstance } from '../control/fabric.ts';
import type { MicroserviceName, PlannedInstance, PlanVersion } from '../control/plan.ts';
import type { ServiceNetwork, WorkloadCredential } from '../mesh/service-network.ts';
import type { ActorSystem } from './actor-system.ts';
import type { Clock } from './clock.ts';
import { createContentUpdates } from './content-updates.ts';
import type { EngineInstance } from './engine.ts';
import type { Engines } from './engines.ts';
import type { DeviceClaims } from './hardware/device-claims.ts';
import { createInstanceEffects, type InstancePlace, type Probe } from './instance-effects.ts';
import { isPassing, observationOf } from './instance-observation.ts';
import { hostPortsOf, identityFiles } from './launch.ts';
import { renameRetryMs, stopKillMarginMs } from './limits.ts';
import type { ObeyedPlan } from './obeyed-plan.ts';
import type { Observer } from './observer.ts';
import { endsNow } from './stop-order.ts';
import type { WorkloadCertificates } from './workload-certificates.ts';

export interface InstancesDependencies {
  node: string;
  clock: Clock;
  jitter: () => number;
  actors: ActorSystem;
  engines: Engines;
  serviceNetwork: ServiceNetwork;
  certificates: WorkloadCertificates;
  observer: Observer;
  probe: Probe;
  freePort: (taken: ReadonlySet<number>) => Promise<number>;
  bundlePem: string;
  devices: DeviceClaims;
  /** What an earlier daemon of this node said of its instances last. */
  observedBefore(): Promise<readonly ObservedInstance[]>;
  /** Why the instance must wait (certificate cover, dependencies), or undefined. */
  heldBy(planned: PlannedInstance): string | undefined;
  /** Readiness of some instance changed. */
  onReadiness(): void;
  onChanged(observed: ObservedInstance): void;
  onProblem(message: string): void;
}

export interface Instances {
  /** Finds what an earlier daemon left, then runs the plan; call `obey` before and it starts with that plan. */
  start(): Promise<void>;
  obey(obeyed: ObeyedPlan): void;
  /** What held instances back may be gone. */
  recheck(): void;
  /** Devices came or went: who lost one stops, who waits for one looks again. */
  devicesChanged(): void;
  /** Those that run, with the ticket to announce. */
  announced(): { instance: string; ready: boolean; ticket: string }[];
  /** Microservices that have a ready instance here: `<project>.<application>.<microservice>`. */
  readyHere(): Set<string>;
  /** A new credential was made for it. */
  renewed(instance: string, credential: WorkloadCredential): Promise<void>;
  /** Microservices that instances here call, as `<project>.<application>.<microservice>`. */
  calledHere(): Set<string>;
  /** Those, and what instances here depend on. */
  wantedHere(): Set<string>;
  /** Leaves every workload running. */
  stop(): Promise<void>;
  /** Ends every workload, for `down --workloads`; the plan stays. */
  terminateAll(): Promise<void>;
}

/** `<project>.<application>.<microservice>` */
export const microserviceKey = ({ project, application, microservice }: MicroserviceName): string =>
  `${project}.${application}.${microservice}`;

interface Supervised extends InstancePlace {
  actor: Actor<typeof instanceMachine>;
  ready: boolean;
  /** As last told. */
  observed: ObservedInstance | undefined;
  history: InstanceTransition[];
  /** Which engine has it, or will: the one that is asked to end it until that is done. */
  engine: string;
  /** The engine that may have it from before this daemon, until that engine has said what it runs. */
  formerEngine: string | undefined;
}

const unknown = {
  network: undefined,
  ready: false,
  credential: undefined,
  observed: undefined,
  content: undefined,
  calls: undefined,
};

export function createInstances(dependencies: InstancesDependencies): Instances {
  const { node, clock, jitter, actors, engines, serviceNetwork, certificates, observer } = dependencies;
  const supervised = new Map<string, Supervised>();
  let obeyed: ObeyedPlan | undefined;
  let found: Map<string, EngineInstance> | undefined;
  /** What an earlier daemon said of instances that have no actor yet. */
  let before: Map<string, ObservedInstance> = new Map();
  let stopped = false;
  /** Those that are being given other service names. */
  const renaming = new Set<string>();
  let unsubscribe: () => void = () => undefined;
  /** Engines that can be used and have said what they run. */
  const listed = new Set<string>();

  const version = (): PlanVersion => {
    const { epoch = 0, term = 0, generation = 0 } = obeyed?.plan ?? {};
    return { epoch, term, generation };
  };

  const { machine, rename, terminate, layContent } = createInstanceEffects({
    ...dependencies,
    files: () => obeyed?.files ?? new Map(),
    plannedNow(planned) {
      const newest = supervised.get(planned.name)?.actor.getSnapshot().context.planned;
      return newest?.specHash === planned.specHash ? newest : planned;
    },
    placeOf: (instance) => supervised.get(instance),
    places: () => supervised.values(),
    onProgress: (instance, progress) => supervised.get(instance)?.actor.send({ type: 'PROGRESS', progress }),
    awayReason: (instance) => formerAway(supervised.get(instance)?.formerEngine),
    onRunningAlready: (engine) => void findAgain(engine),
  });

  const contents = createContentUpdates({
    clock,
    running(instance) {
      const { actor, content } = supervised.get(instance) ?? {};
      const snapshot = actor?.getSnapshot();
      if (snapshot === undefined || content === undefined || stopped || !snapshot.matches('running')) return undefined;
      return { planned: snapshot.context.planned, content };
    },
    lay: layContent,
    onLaid(instance) {
      const entry = supervised.get(instance);
      if (entry !== undefined) follow(instance, entry.actor.getSnapshot());
    },
    onProblem: (message) => dependencies.onProblem(message),
  });

  function spawn(planned: PlannedInstance, left: EngineInstance | undefined): void {
    const earlier = before.get(planned.name);
    before.delete(planned.name);
    const actor = actors.spawn(`instance/${planned.name}`, machine, {
      planned,
      found: left,
      now: clock.now,
      jitter,
      before: earlier && {
        restarts: earlier.restarts,
        failures: earlier.failures ?? 0,
        nextTryAt: earlier.nextTryAt,
        exitAt: earlier.exit?.at,
      },
    });
    const hostPorts = left === undefined ? {} : hostPortsOf(planned, left.env);
    const { engine } = planned.spec;
    const formerEngine = left === undefined ? earlier?.engine : undefined;
    const history = earlier?.history ?? [];
    supervised.set(planned.name, { actor, hostPorts, ...unknown, history, engine, formerEngine });
    actor.subscribe((snapshot) => follow(planned.name, snapshot));
    follow(planned.name, actor.getSnapshot());
  }

  function follow(instance: string, snapshot: SnapshotFrom<typeof instanceMachine>): void {
    const entry = supervised.get(instance);
    if (entry === undefined) return;
    if (snapshot.status === 'done') {
      supervised.delete(instance);
      observer.forget(`observed/instance/${instance}`);
      dependencies.devices.release(instance);
      if (entry.ready) dependencies.onReadiness();
      // It may have come back into the plan while it was being removed.
      queueMicrotask(reconcile);
      return;
    }
    const { context } = snapshot;
    contents.look(instance);
    void renameServices(instance);
    if (snapshot.matches('waiting')) admitOrHold(entry, context.planned, context.reason);
    if (snapshot.matches('completed') || snapshot.matches('failed')) dependencies.devices.release(instance);
    const state = instanceState(snapshot.value);
    // An end that it was asked for while that engine was away is none there.
    if (state !== 'waiting' && state !== 'stopping') entry.formerEngine = undefined;
    if (state !== 'stopping') entry.engine = context.planned.spec.engine;
    const away = engineAway(context.planned.spec.engine);
    const { history } = entry;
    const notHeld = engines.notHeld(context.planned.spec);
    const place = entry;
    const observed = observationOf(snapshot, {
      node,
      version: version(),
      place,
      away,
      notHeld,
      history,
      engine: entry.formerEngine ?? entry.engine,
    });
    entry.history = observed.history ?? [];
    // A probe that went well again is no news.
    if (JSON.stringify(observed) !== JSON.stringify(entry.observed)) {
      observer.observe({ ...observed }, { passing: isPassing(observed, entry.observed) });
      entry.observed = observed;
      dependencies.onChanged(observed);
    }
    if (entry.ready !== context.ready) {
      entry.ready = context.ready;
      dependencies.onReadiness();
    }
  }

  function admitOrHold({ actor, formerEngine }: Supervised, planned: PlannedInstance, reason: string): void {
    const held =
      engineAway(planned.spec.engine) ??
      formerAway(formerEngine) ??
      dependencies.heldBy(planned) ??
      dependencies.devices.claim(planned.name, planned.spec.deviceNeeds);
    // Sent later: an actor that is just telling its snapshot must not be sent to from inside it.
    queueMicrotask(() => {
      if (stopped) return;
      if (held === undefined) actor.send({ type: 'ADMITTED' });
      else if (held !== reason) actor.send({ type: 'HELD', reason: held });
    });
  }

  /** Why an engine's instances cannot be seen to: it does not answer, or has not said yet what it runs. */
  function engineAway(engine: string): string | undefined {
    const reason = engines.unavailable(engine);
    if (reason !== undefined) return `the engine ${engine} cannot be used: ${reason}`;
    return listed.has(engine) ? undefined : `finding out what the engine ${engine} runs`;
  }

  /** It may still run where it ran before: it is not started elsewhere until that can be ended. */
  function formerAway(engine: string | undefined): string | undefined {
    if (engine === undefined || !engines.states().some(({ name }) => name === engine)) return undefined;
    const away = engineAway(engine);
    return away && `it may still run where it ran before: ${away}`;
  }

  /** What an engine runs, once it can be used: what ran on while it was away is found as at a start. */
  async function findAgain(engine: string): Promise<void> {
    if (found === undefined || stopped) return;
    try {
      const lefts = await engines.list(engine);
      for (const entry of supervised.values()) if (entry.formerEngine === engine) entry.formerEngine = undefined;
      for (const left of lefts) {
        const entry = supervised.get(left.instance);
        if (entry === undefined) found.set(left.instance, left);
        else {
          keepDevices(entry.actor.getSnapshot().context.planned, left);
          entry.actor.send({ type: 'FOUND', found: left });
        }
      }
      listed.add(engine);
      reconcile();
    } catch (error) {
      // It went again; its coming back brings us here.
      if (engines.unavailable(engine) === undefined) {
        dependencies.onProblem(`what the engine ${engine} runs is not known: ${String(error)}`);
        clock.setTimeout(() => void findAgain(engine), renameRetryMs);
      }
    }
    tellAll();
  }

  function onEngine(engine: string): void {
    if (stopped) return;
    if (engines.unavailable(engine) === undefined) void findAgain(engine);
    else listed.delete(engine);
    tellAll();
  }

  /** An engine that is away is why nothing of its instances is known, also of those that run. */
  function tellAll(): void {
    for (const [instance, { actor }] of supervised) follow(instance, actor.getSnapshot());
  }

  /** What runs on goes on with the devices that it was given. */
  function keepDevices(planned: PlannedInstance | undefined, { env, exit, specHash }: EngineInstance): void {
    if (exit === undefined && planned?.specHash === specHash)
      dependencies.devices.adopt(planned.name, planned.spec.deviceNeeds, env);
  }

  function withdrawLost(): void {
    if (stopped) return;
    for (const [instance, { actor }] of supervised) {
      const reason = dependencies.devices.lost(instance);
      if (reason !== undefined) actor.send({ type: 'WITHDRAWN', reason });
    }
  }

  function recheck(): void {
    for (const [instance, { actor, observed }] of supervised) {
      if (observed?.state === 'waiting') follow(instance, actor.getSnapshot());
    }
  }

  /** A running instance gets what it may call by its newest plan; that may have changed while it started, too. */
  async function renameServices(instance: string): Promise<void> {
    const { actor, calls } = supervised.get(instance) ?? {};
    const snapshot = actor?.getSnapshot();
    if (calls === undefined || stopped || renaming.has(instance) || !snapshot?.matches('running')) return;
    const { planned } = snapshot.context;
    if (calls === planned.calls || JSON.stringify(calls) === JSON.stringify(planned.calls)) return;
    renaming.add(instance);
    try {
      await rename(planned);
      renaming.delete(instance);
      // The plan may be another by now.
      if (supervised.get(instance)?.calls === planned.calls) void renameServices(instance);
    } catch (error) {
      dependencies.onProblem(`${instance} does not have its new service names yet: ${String(error)}`);
      clock.setTimeout(() => {
        renaming.delete(instance);
        void renameServices(instance);
      }, renameRetryMs);
    }
  }

  /** What the plan has no longer. Each one that is gone brings the next ones, through `reconcile`. */
  function deleteInOrder(planned: ReadonlyMap<string, PlannedInstance>): void {
    const unwanted = [...supervised].filter(([instance]) => !planned.has(instance));
    const plannedOf = ([, { actor }]: (typeof unwanted)[number]) => actor.getSnapshot().context.planned;
    // What cannot be ended while its engine is away keeps nothing else from ending.
    const going = unwanted.map(plannedOf).filter(({ spec }) => engines.unavailable(spec.engine) === undefined);
    const now = new Set(endsNow(going));
    for (const entry of unwanted) {
      const one = plannedOf(entry);
      if (now.has(one) || !going.includes(one)) entry[1].actor.send({ type: 'DELETE' });
    }
  }

  /** Brings the set of actors in line with plan and findings. */
  function reconcile(): void {
    if (found === undefined || obeyed === undefined || stopped) return;
    const planned = new Map(obeyed.plan.instances.map((instance) => [instance.name, instance]));
    deleteInOrder(planned);
    for (const [instance, { actor }] of supervised) {
      const next = planned.get(instance);
      if (next !== undefined) actor.send({ type: 'UPDATE', planned: next });
    }
    // Those that ran on have their devices before anybody new may choose.
    for (const [instance, left] of found) keepDevices(planned.get(instance), left);
    for (const [instance, next] of planned) {
      if (supervised.has(instance)) continue;
      spawn(next, found.get(instance));
      found.delete(instance);
    }
    // What the engine has and the plan has not was removed while no daemon looked.
    for (const left of [...found.keys()]) {
      found.delete(left);
      void removeLeft(left);
    }
    withdrawLost();
  }

  async function removeLeft(instance: string): Promise<void> {
    try {
      await engines.terminate(instance, stopKillMarginMs);
      await engines.remove(instance);
      observer.forget(`observed/instance/${instance}`);
    } catch (error) {
      dependencies.onProblem(`${instance} is no longer wanted and cannot be removed: ${String(error)}`);
      clock.setTimeout(() => void (stopped || supervised.has(instance) || removeLeft(instance)), renameRetryMs);
    }
  }

  return {
    async start() {
      const observed = await dependencies.observedBefore();
      before = new Map(observed.map((one) => [one.instance, one]));
      unsubscribe = engines.subscribe(onEngine);
      for (const name of engines.offered()) listed.add(name);
      found = new Map((await engines.list()).map((left) => [left.instance, left]));
      reconcile();
      // It may have been killed after it removed an instance and before it forgot it.
      for (const { instance } of observed) {
        if (!supervised.has(instance)) observer.forget(`observed/instance/${instance}`);
      }
    },
    obey(next) {
      obeyed = next;
      engines.want(
        next.plan.instances,
        (next.plan.stage ?? []).map(({ spec }) => spec),
      );
      reconcile();
    },
    recheck,
    devicesChanged() {
      withdrawLost();
      recheck();
    },
    announced: () =>
      [...supervised.values()].flatMap(({ actor, ready }) => {
        const { planned } = actor.getSnapshot().context;
        return planned.spec.ports.length > 0 || ready
          ? [{ instance: planned.name, ready, ticket: planned.ticket }]
          : [];
      }),
    readyHere: () =>
      new Set(
        [...supervised.values()].flatMap(({ actor, ready }) =>
          ready ? [microserviceKey(actor.getSnapshot().context.planned)] : [],
        ),
      ),
    async renewed(instance, credential) {
      const entry = supervised.get(instance);
      if (entry) entry.credential = credential;
      serviceNetwork.renew(instance, credential);
      await engines.writeFiles(instance, identityFiles(credential, dependencies.bundlePem));
    },
    calledHere: () => new Set(obeyed?.plan.instances.flatMap(({ calls }) => calls.map(microserviceKey))),
    wantedHere: () =>
      new Set(
        obeyed?.plan.instances.flatMap(({ calls, dependsOn, ...of }) => [
          ...calls.map(microserviceKey),
          ...dependsOn.map((microservice) => microserviceKey({ ...of, microservice })),
        ]),
      ),
    async stop() {
      stopped = true;
      unsubscribe();
      for (const { actor } of supervised.values()) actor.stop();
      certificates.stop();
    },
    async terminateAll() {
      stopped = true;
      unsubscribe();
      let left = [...supervised.values()].map(({ actor }) => actor.getSnapshot().context.planned);
      for (const { actor } of supervised.values()) actor.stop();
      const end = async (one: PlannedInstance): Promise<void> => {
        try {
          await terminate(one);
          await engines.remove(one.name);
        } catch (error) {
          // The others end all the same; the next start finds this one.
          dependencies.onProblem(`${one.name} was not ended: ${String(error)}`);
        }
      };
      while (left.length > 0) {
        const now = endsNow(left);
        await Promise.all(now.map(end));
        left = left.filter((one) => !now.includes(one));
      }
    },
  };
}

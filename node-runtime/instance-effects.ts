// What an instance's actor has done for it: certificate, service addresses, ports, files, the engine. Made by instances.ts, which owns
// the places; actors/instance.ts says when. It decides nothing about a life.

import { fromPromise } from 'xstate';
import { instanceMachine } from '../actors/instance.ts';
import { type ProbeOutcome, probeMachine } from '../actors/probe.ts';
import type { CallableService, PlannedInstance, ProbeSpec } from '../control/plan.ts';
import { contentKey } from '../control/workload-spec.ts';
import type { ServiceNetwork, WorkloadCredential } from '../mesh/service-network.ts';
import type { EngineInstance, Exit, InstanceNetwork, Launch } from './engine.ts';
import type { Engines } from './engines.ts';
import { InstanceAwayError, InstanceRunningError } from './errors.ts';
import type { DeviceClaims } from './hardware/device-claims.ts';
import { type HostPorts, hostPortsOf, identityFiles, launchOf, listenHost, listensOf } from './launch.ts';
import type { ProbeTarget } from './probe.ts';
import type { WorkloadCertificates } from './workload-certificates.ts';
import { mountsOf } from './workload-content.ts';

export type Probe = (spec: ProbeSpec, target: ProbeTarget, signal: AbortSignal) => Promise<ProbeOutcome>;

/** Where an instance is reached, and who it is; filled when it is prepared or adopted. */
export interface InstancePlace {
  hostPorts: HostPorts;
  /** Of an instance with a network of its own. */
  network: InstanceNetwork | undefined;
  credential: WorkloadCredential | undefined;
  /** Which content of configs and secrets it has (`contentKey`); undefined while it has none. */
  content: string | undefined;
  /** What it may call, as it was given last. */
  calls: readonly CallableService[] | undefined;
}

export interface InstanceEffectsDependencies {
  node: string;
  engines: Engines;
  serviceNetwork: ServiceNetwork;
  certificates: WorkloadCertificates;
  probe: Probe;
  freePort: (taken: ReadonlySet<number>) => Promise<number>;
  bundlePem: string;
  /** Of the plan that is obeyed, by their SHA-256. */
  files(): ReadonlyMap<string, Uint8Array>;
  /** As the newest plan says: content may have changed since the machine was told. */
  plannedNow(planned: PlannedInstance): PlannedInstance;
  /** Undefined when the instance is gone meanwhile. */
  placeOf(instance: string): InstancePlace | undefined;
  devices: Pick<DeviceClaims, 'given'>;
  places(): Iterable<InstancePlace>;
  onProgress(instance: string, progress: string): void;
  /** Why it may run where nobody can end it now, from before this daemon; undefined when it does not. */
  awayReason(instance: string): string | undefined;
  /** Its engine runs an instance already, from before it was away. */
  onRunningAlready(engine: string): void;
}

export interface InstanceEffects {
  /** The instance machine with these effects. */
  readonly machine: typeof instanceMachine;
  /** A service that it may call has come or gone, or is balanced otherwise: that changes while it runs. */
  rename(planned: PlannedInstance): Promise<void>;
  /** Gives a running instance the content that its plan says now. */
  layContent(instance: string, planned: PlannedInstance): Promise<void>;
  /** Resolves when nothing of it runs and nobody reaches it. */
  terminate(planned: PlannedInstance): Promise<Exit | undefined>;
}

export function createInstanceEffects(dependencies: InstanceEffectsDependencies): InstanceEffects {
  const { node, engines, serviceNetwork, certificates, bundlePem, placeOf } = dependencies;

  function attach(
    planned: PlannedInstance,
    { hostPorts, network, credential }: Omit<InstancePlace, 'content' | 'calls'> & { credential: WorkloadCredential },
    adoptedEnv?: Record<string, string>,
  ) {
    const { name: instance, project, application, microservice, calls } = planned;
    return serviceNetwork.attach({
      ...{ instance, project, application, microservice, calls, credential },
      listens: listensOf(planned, hostPorts, network),
      ...(network && { network }),
      ...(adoptedEnv && { adoptedEnv }),
    });
  }

  function noteCalls({ name, calls }: PlannedInstance): void {
    const entry = placeOf(name);
    if (entry) entry.calls = calls;
  }

  /** What both beginnings share; the place is filled at once, so that others see its ports. */
  async function settle(planned: PlannedInstance, hostPorts: HostPorts) {
    const credential = await certificates.issue(planned.name, planned);
    const network = await engines.network(planned.name, planned.spec);
    const place = { hostPorts, credential, network };
    const entry = placeOf(planned.name);
    if (entry) Object.assign(entry, place);
    return place;
  }

  async function prepare(planned: PlannedInstance): Promise<Launch> {
    const place = await settle(planned, {});
    const { hostPorts, network, credential } = place;
    const { ports } = planned.spec;
    for (const [index, { name: port, port: number }] of ports.entries()) {
      // One number of both protocols, as a name server has it, is one number to listen on as well.
      const twin = ports.slice(0, index).find((one) => one.port === number);
      const given = network === undefined ? hostPorts[twin?.name ?? ''] : number;
      if (given !== undefined) {
        hostPorts[port] = given;
        continue;
      }
      const taken = new Set([...dependencies.places()].flatMap((one) => Object.values(one.hostPorts)));
      hostPorts[port] = await dependencies.freePort(taken);
    }
    const attached = await attach(planned, place);
    noteCalls(planned);
    const newest = dependencies.plannedNow(planned);
    const launch = launchOf({
      ...{ planned: newest, node, hostPorts, network, attached, credential, bundlePem },
      files: dependencies.files(),
      given: dependencies.devices.given(planned.name, planned.spec.engine),
    });
    note(newest);
    return launch;
  }

  /** An adopted workload holds its addresses and ports already: the same ones are served again. */
  async function adopt(planned: PlannedInstance, { env }: EngineInstance): Promise<void> {
    const place = await settle(planned, hostPortsOf(planned, env));
    const { hosts } = await attach(planned, place, env);
    await engines.writeHosts(planned.name, hosts);
    noteCalls(planned);
    await engines.writeFiles(planned.name, identityFiles(place.credential, bundlePem));
    await layContent(planned.name, planned);
  }

  function note({ name, spec }: PlannedInstance): void {
    const entry = placeOf(name);
    if (entry) entry.content = contentKey(spec);
  }

  async function layContent(instance: string, planned: PlannedInstance): Promise<void> {
    const newest = dependencies.plannedNow(planned);
    if (contentKey(newest.spec) === '') return;
    await engines.writeMounts(instance, mountsOf(newest.spec, dependencies.files()));
    note(newest);
  }

  /** One that its engine runs already, from before it was away, is found as at a start. */
  async function launch(input: Launch): Promise<EngineInstance> {
    try {
      return await engines.launch(input);
    } catch (error) {
      if (error instanceof InstanceRunningError) dependencies.onRunningAlready(input.spec.engine);
      throw error;
    }
  }

  function ask({ name }: PlannedInstance, spec: ProbeSpec, signal: AbortSignal): Promise<ProbeOutcome> {
    const { hostPorts: ports = {}, network } = placeOf(name) ?? {};
    const target: ProbeTarget = {
      host: network?.address ?? listenHost,
      ports,
      exec: (command, options) => engines.exec(name, command, options),
    };
    return dependencies.probe(spec, target, signal);
  }

  async function terminate({ name, spec }: PlannedInstance): Promise<Exit | undefined> {
    const exit = await engines.terminate(name, spec.stopTimeoutMs);
    await serviceNetwork.detach(name);
    return exit;
  }

  async function cleanUp(instance: string): Promise<void> {
    await serviceNetwork.detach(instance);
    await engines.remove(instance);
  }

  return {
    terminate,
    layContent,
    async rename(planned) {
      const { hostPorts, network, credential } = placeOf(planned.name) ?? {};
      if (hostPorts === undefined || credential === undefined) return;
      const { hosts } = await attach(planned, { hostPorts, network, credential });
      await engines.writeHosts(planned.name, hosts);
      noteCalls(planned);
    },
    machine: instanceMachine.provide({
      actors: {
        stage: fromPromise<void, PlannedInstance>(({ input, signal }) =>
          engines.stage(input.spec, (progress) => dependencies.onProgress(input.name, progress), signal),
        ),
        prepare: fromPromise<Launch, PlannedInstance>(({ input }) => prepare(input)),
        adopt: fromPromise<void, { planned: PlannedInstance; found: EngineInstance }>(({ input }) =>
          adopt(input.planned, input.found),
        ),
        launch: fromPromise<EngineInstance, Launch>(({ input }) => launch(input)),
        watchExit: fromPromise<Exit, { instance: string }>(({ input, signal }) =>
          engines.waitForExit(input.instance, signal),
        ),
        probe: probeMachine.provide({
          actors: {
            ask: fromPromise<ProbeOutcome, { planned: PlannedInstance; spec: ProbeSpec }>(({ input, signal }) =>
              ask(input.planned, input.spec, signal),
            ),
          },
        }),
        terminate: fromPromise<Exit | undefined, PlannedInstance>(async ({ input }) => {
          // Callers stop first, then the workload gets its time to finish.
          certificates.release(input.name);
          const away = dependencies.awayReason(input.name);
          if (away !== undefined) throw new InstanceAwayError(away);
          return terminate(input);
        }),
        cleanUp: fromPromise<void, PlannedInstance>(({ input }) => cleanUp(input.name)),
      },
    }),
  };
}

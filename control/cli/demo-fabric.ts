// The demo's story: three nodes come up, find each other, join, link, run the example and answer. Called by demo.ts.
// What it starts it puts into `state` at once, so that whoever called it can end it whatever happens.

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DaemonEvent } from '../../node-runtime/daemon.ts';
import type { ApplicationView, InstanceView, StatusView } from '../views.ts';
import { applyFiles } from './apply.ts';
import { checkDashboard, type Requests, urlOf } from './demo-check.ts';
import { type DaemonStart, type DemoDaemon, startDemoDaemon } from './demo-daemon.ts';
import type { DemoFolder } from './demo-folder.ts';
import { type Progress, type Steps, until } from './demo-step.ts';
import { formatDuration } from './durations.ts';
import { DemoStepError } from './errors.ts';
import type { Host } from './host.ts';
import {
  demoCheckMs,
  demoEveryMs,
  demoJoinMs,
  demoLinkMs,
  demoReadyMs,
  demoStartMs,
  demoStepMarginMs,
  demoTokenTtlMs,
} from './limits.ts';
import { printable } from './table.ts';
import { waitReady } from './wait.ts';

const exampleFile = fileURLToPath(new URL('../../examples/cold-chain/app.yaml', import.meta.url));
const example = { project: 'default', name: 'cold-chain' };
const edgeNames = ['edge-1', 'edge-2'];
const nodesWithWorkMin = 2;

/** What of a node's events is a step of the story. */
const told = new Set<DaemonEvent['type']>(['listening', 'founded', 'found', 'joined', 'linked', 'refused', 'problem']);

export interface DemoState {
  daemons: DemoDaemon[];
  /** Events of nodes are no longer printed, and their ends no longer a surprise. */
  quiet: boolean;
  joinMs: number[];
  applyToReadyMs: number;
  requests: Requests;
  instances: InstanceView[];
  dashboard: string;
}

export function newDemoState(): DemoState {
  return {
    daemons: [],
    quiet: false,
    joinMs: [],
    applyToReadyMs: 0,
    requests: { sent: 0, ok: 0 },
    instances: [],
    dashboard: '',
  };
}

export interface Demo {
  host: Host;
  folder: DemoFolder;
  progress: Progress;
  steps: Steps;
  state: DemoState;
}

/** Starts a node and prints what it does. */
export function startNode(
  demo: Pick<Demo, 'host' | 'folder' | 'progress' | 'state'>,
  name: string,
  more: Pick<DaemonStart, 'arguments' | 'token'>,
): DemoDaemon {
  const { host, folder, progress, state } = demo;
  const onEvent = (event: DaemonEvent): void => {
    if (!state.quiet && told.has(event.type)) progress.line(name, `${event.type}: ${printable(event.message)}`);
  };
  return startDemoDaemon({ host, name, dataFolder: join(folder.path, name), onEvent, ...more });
}

/** Rejects as soon as one of the nodes ends: nothing that is waited for will come then. */
async function whileAllRun<T>(daemons: readonly DemoDaemon[], work: Promise<T>): Promise<T> {
  const ends = daemons.map(async (daemon) => {
    const why = await daemon.ended;
    throw new Error(`${daemon.name} ${why}`);
  });
  return await Promise.race([work, ...ends]);
}

async function ready({ host }: Demo, daemon: DemoDaemon, signal: AbortSignal): Promise<void> {
  await until(
    async () =>
      await daemon.client.ping().then(
        () => true,
        () => undefined,
      ),
    { host, signal, everyMs: demoEveryMs },
  );
}

async function foundFabric(demo: Demo, signal: AbortSignal): Promise<DemoDaemon> {
  const found = ['--found', '--fabric', demo.folder.fabricName];
  const control = startNode(demo, 'control', { arguments: found });
  demo.state.daemons.push(control);
  await whileAllRun([control], control.event('founded'));
  await whileAllRun([control], ready(demo, control, signal));
  return control;
}

async function joinEdges(demo: Demo, tokens: string[]): Promise<void> {
  const { host, progress, state } = demo;
  const edges = edgeNames.map((name, index) =>
    startNode(demo, name, { arguments: ['--router', 'edge'], token: tokens[index] ?? '' }),
  );
  state.daemons.push(...edges);
  const joins = edges.map(async (edge) => {
    // A refusal is not the end: another fabric on this LAN may have been asked first.
    await edge.event('joined');
    const joinMs = Math.round(host.clock.now() - edge.startedAt);
    progress.line(edge.name, `joined ${host.style('green', formatDuration(joinMs))} after its start`);
    return joinMs;
  });
  state.joinMs = await whileAllRun(state.daemons, Promise.all(joins));
}

/** What is not linked yet; undefined when all is. */
function unlinked(status: StatusView): string | undefined {
  const expected = edgeNames.length + 1;
  if (status.nodes.length !== expected) return `${status.nodes.length} of ${expected} nodes are known`;
  const node = status.nodes.find(({ state, links }) => state !== 'connected' || links.length === 0);
  return node && `${node.name} is ${node.state} and has told of ${node.links.length} links`;
}

async function linkAll({ host, state }: Demo, control: DemoDaemon, signal: AbortSignal): Promise<void> {
  let why: string | undefined;
  const linked = async (): Promise<true | undefined> => {
    why = unlinked(await control.client.status());
    return why === undefined ? true : undefined;
  };
  try {
    await whileAllRun(state.daemons, until(linked, { host, signal, everyMs: demoEveryMs }));
  } catch (error) {
    throw signal.aborted ? new Error(`${(signal.reason as Error).message}; ${why}`, { cause: error }) : error;
  }
}

/** The instance of a microservice; the example has one of each. */
function instanceOf(application: ApplicationView, microservice: string): InstanceView {
  const found = application.instances.find((instance) => instance.microservice === microservice);
  if (found === undefined) throw new Error(`there is no instance of ${microservice}`);
  return found;
}

async function applyExample(demo: Demo, control: DemoDaemon, signal: AbortSignal): Promise<ApplicationView> {
  const { host, state, progress } = demo;
  await applyFiles([exampleFile], { client: control.client, host });
  const acceptedAt = host.clock.now();
  progress.line('demo', `${example.name} accepted`);
  const wait = { client: control.client, host, ...example, timeoutMs: demoReadyMs, everyMs: demoEveryMs, signal };
  const application = await whileAllRun(state.daemons, waitReady(wait));
  state.applyToReadyMs = Math.round(host.clock.now() - acceptedAt);
  progress.line('demo', `ready ${host.style('green', formatDuration(state.applyToReadyMs))} after that`);
  const nodes = new Set(application.instances.map((instance) => instance.node));
  if (nodes.size < nodesWithWorkMin)
    throw new Error(`all instances run on ${[...nodes].join()}; they should be on two nodes or more`);
  return application;
}

async function lookFromOutside(demo: Demo, control: DemoDaemon, signal: AbortSignal): Promise<void> {
  const { host, state } = demo;
  const { url, application } = await until(
    async () => {
      const seen = await control.client.application(example.project, example.name);
      const dashboard = urlOf(instanceOf(seen, 'dashboard'));
      const complete = seen.instances.every((instance) => instance.pid !== undefined);
      return dashboard !== undefined && complete ? { url: dashboard, application: seen } : undefined;
    },
    { host, signal, everyMs: demoEveryMs },
  );
  state.dashboard = url;
  state.instances = application.instances;
  const sensor = instanceOf(application, 'sensor');
  if (sensor.node === 'control') throw new Error('the sensor runs on control; it belongs on an edge node');
  const { requests } = state;
  await whileAllRun(state.daemons, checkDashboard({ host, url, sensor, requests, signal }));
}

/** Brings everything up and checks it. Rejects with DemoStepError; `state` holds what came of it either way. */
export async function bringUp(demo: Demo): Promise<void> {
  const { steps, state } = demo;
  const control = await steps.run('found a fabric', demoStartMs, async (signal) => await foundFabric(demo, signal));
  const tokens = await steps.run('mint two tokens, each for one use', demoStartMs, async () => {
    const wanted = { uses: 1, ttlMs: demoTokenTtlMs, labels: {}, router: 'edge' as const };
    return await Promise.all(edgeNames.map(async () => (await control.client.createToken(wanted)).token));
  });
  await steps.run('find it by mDNS and join, two edge nodes', demoJoinMs, async () => await joinEdges(demo, tokens));
  await steps.run('link all nodes', demoLinkMs, async (signal) => await linkAll(demo, control, signal));
  const applied = demoReadyMs + demoStepMarginMs;
  await steps.run(
    'apply cold-chain, and wait until it is ready',
    applied,
    async (signal) => void (await applyExample(demo, control, signal)),
  );
  await steps.run(
    'call the dashboard, whose readings come from the sensor by way of the monitor',
    demoCheckMs,
    async (signal) => {
      await lookFromOutside(demo, control, signal);
    },
  );
  for (const daemon of state.daemons)
    if (daemon.end !== undefined) throw new DemoStepError(steps.current, `${daemon.name} ${daemon.end}`);
}

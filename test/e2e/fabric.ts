// A real fabric for one end-to-end test: a controller and edge nodes, each a daemon of its own in a temporary folder, joined
// by tokens and mDNS. Everything is ended and removed when the test ends, also when it fails. Many fabrics live side by side
// on one box: a token pins its fabric.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { parseAllDocuments } from 'yaml';
import { processesOf } from '../../control/cli/demo-folder.ts';
import type { ApplicationView, InstanceView, StatusView } from '../../control/views.ts';
import { eventually } from '../eventually.ts';
import { type Daemon, deadlineMs, startDaemon } from './daemon.ts';

/** A daemon and its workloads end within this, or are killed. */
const endMs = 20_000;

export interface FabricNode {
  readonly name: string;
  readonly dataFolder: string;
  /** The one that was started last. */
  readonly daemon: Daemon;
  /** Of all its daemons so far. */
  output(): string;
  status(): Promise<StatusView>;
  /** One of its own instances by the microservice's name; throws when it has none. */
  instance(microservice: string): Promise<InstanceView>;
  /** Starts a daemon again on the same folder, with no token; resolves when it answers. A network namespace needs root. */
  start(place?: { namespace: string }): Promise<void>;
}

export interface Fabric {
  readonly control: FabricNode;
  readonly edges: FabricNode[];
  /** The tokens that the edge nodes joined with. */
  readonly tokens: string[];
  /** YAML text. */
  apply(manifest: string): Promise<void>;
  /** The application as the controller sees it, once `holds` does. */
  application(name: string, holds: (application: ApplicationView) => boolean, what: string): Promise<ApplicationView>;
  ready(name: string): Promise<ApplicationView>;
}

/** Waits for a condition, with the deadline of these tests; a failure says what the last look threw. */
export async function waitFor<T>(what: string, probe: () => T | Promise<T>): Promise<NonNullable<T>> {
  try {
    return await eventually(probe, { deadlineMs, everyMs: 100, what });
  } catch (error) {
    const { message, cause } = error as Error;
    throw new Error(cause instanceof Error ? `${message}: ${cause.message}` : message, { cause });
  }
}

export function instanceOf({ instances }: ApplicationView, microservice: string): InstanceView {
  const found = instances.find((instance) => instance.microservice === microservice);
  if (found === undefined) throw new Error(`there is no instance of ${microservice}`);
  return found;
}

/**
 * Problems that the daemons which run now have told of. Boxes of other tests look for a fabric on the same network and ask this one:
 * what is about them alone is left out.
 */
export function problemsOf(nodes: readonly FabricNode[]): string[] {
  const events = nodes.flatMap(({ daemon }) => daemon.events);
  const own = new Set(events.flatMap(({ type, peerId }) => (type === 'listening' ? [String(peerId)] : [])));
  const isForeign = (message: string): boolean => {
    const named = message.match(/\b12D3Koo\w+/g) ?? [];
    return named.length > 0 && named.every((peerId) => !own.has(peerId));
  };
  return events.flatMap(({ type, message }) => (type === 'problem' && !isForeign(message) ? [message] : []));
}

/** Ready by the word of the daemon that runs now: a status may still show what its predecessor wrote, until that is replaced. */
export async function toldReady(node: FabricNode, microservice: string): Promise<void> {
  const { events } = node.daemon;
  await waitFor(`${microservice} to be ready, and the status of ${node.name} to say so`, async () => {
    // The last word at each look: what was ready may have been replaced since.
    const told = events.findLast(
      ({ instance, ready }) => ready === true && String(instance).split('.')[2] === microservice,
    );
    if (told === undefined) return false;
    const { ready, pid } = await node.instance(microservice);
    return ready && pid === told['pid'];
  });
}

interface Starting extends FabricNode {
  first(options: readonly string[], token?: string): void;
}

function createNode(
  name: string,
  dataFolder: string,
  env: Record<string, string>,
  own: readonly string[] = [],
): Starting {
  const daemons: Daemon[] = [];
  const daemon = (): Daemon => {
    const last = daemons.at(-1);
    if (last === undefined) throw new Error(`${name} has not been started`);
    return last;
  };
  return {
    name,
    dataFolder,
    get daemon() {
      return daemon();
    },
    output: () => daemons.map((one) => one.output()).join('\n'),
    status: () => daemon().client.status(),
    async instance(microservice) {
      const { nodes } = await daemon().client.status();
      const own = nodes.flatMap((node) => (node.name === name ? node.instances : []));
      const found = own.find((instance) => instance.microservice === microservice);
      if (found === undefined) throw new Error(`${name} has no instance of ${microservice}`);
      return found;
    },
    first: (options, token) =>
      void daemons.push(startDaemon({ name, dataFolder, options: [...options, ...own], token, env })),
    async start(place) {
      if (daemon().end === undefined) throw new Error(`${name} runs already`);
      daemons.push(startDaemon({ name, dataFolder, options: own, env, ...place }));
      await daemon().answers();
    },
  };
}

/** Ends a daemon with its workloads; by force when it does not do so by itself. */
async function endNode({ daemon }: FabricNode): Promise<void> {
  if (daemon.end !== undefined) return;
  await daemon.client.down(true).catch(() => undefined);
  const timer = setTimeout(() => void daemon.kill('SIGKILL'), endMs);
  await daemon.ended;
  clearTimeout(timer);
}

async function endAll(folder: string, nodes: readonly FabricNode[]): Promise<void> {
  await Promise.all(nodes.map(endNode));
  // Of daemons that a test killed the workloads are left; whatever names this folder belongs to it.
  for (const pid of await processesOf(folder)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended by itself in between.
    }
  }
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
}

/** Resolves when all nodes are joined and linked. */
export async function createFabric(
  t: ExecutionContext,
  {
    edges: count,
    envOf = () => ({}),
    edgeOptions = [],
    options,
  }: {
    edges: number;
    envOf?: (node: string) => Record<string, string>;
    /** Further arguments of `up` on the edge nodes, at their first start. */
    edgeOptions?: readonly string[];
    /** Of `selvedge up` on every node, at each start. */
    options?: readonly string[];
  },
): Promise<Fabric> {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-e2e-'));
  const control = createNode('control', join(folder, 'control'), envOf('control'), options);
  const edges = Array.from({ length: count }, (_, index) =>
    createNode(`edge-${index + 1}`, join(folder, `edge-${index + 1}`), envOf(`edge-${index + 1}`), options),
  );
  const started: FabricNode[] = [];
  t.teardown(async () => {
    if (!t.passed) for (const node of started) t.log(`${node.name}:\n${node.output().slice(-4_000)}`);
    await endAll(folder, started);
  });

  control.first(['--found', '--fabric', 'e2e']);
  started.push(control);
  await control.daemon.answers();
  const { client } = control.daemon;
  const tokens: string[] = [];
  for (const edge of edges) {
    const { token } = await client.createToken({ uses: 1, ttlMs: 600_000, labels: {}, router: 'edge' });
    tokens.push(token);
    edge.first(edgeOptions, token);
    started.push(edge);
  }
  await Promise.all(edges.map((edge) => edge.daemon.event('joined')));
  await waitFor('every node to be linked', async () => {
    const { nodes } = await client.status();
    return (
      nodes.length === count + 1 &&
      nodes.every(({ state, links }) => state === 'connected' && (count === 0 || links.length > 0))
    );
  });

  const application: Fabric['application'] = (name, holds, what) =>
    waitFor(`${name}: ${what}`, async () => {
      const view = await control.daemon.client.application('default', name);
      if (!holds(view)) throw new Error(`${view.reason}; ${JSON.stringify(view.instances)}`);
      return view;
    });

  return {
    control,
    edges,
    tokens,
    async apply(manifest) {
      const documents = parseAllDocuments(manifest).map((document) => document.toJS() as unknown);
      await control.daemon.client.apply(
        documents,
        documents.map(() => 'test.yaml'),
      );
    },
    application,
    ready: (name) => application(name, ({ ready }) => ready, 'ready'),
  };
}

// A fabric of real nodes for a bench: a controller, and workers that join it by tokens. Called by the benches.

import { type HeardEvent, type NodeProcess, startNode } from './node-process.ts';
import type { BenchRun } from './run.ts';

export interface BenchFabric {
  readonly control: NodeProcess;
  readonly workers: NodeProcess[];
  /** Controller and workers. */
  readonly nodes: NodeProcess[];
  readonly folder: string;
  token(): Promise<string>;
  /** Resolves when the instance is ready on one of the nodes. */
  ready(instance: string): Promise<HeardEvent>;
}

export const isReady =
  (instance: string) =>
  (event: HeardEvent): boolean =>
    event.type === 'instance' && event['instance'] === instance && event['ready'] === true;

/** Resolves when every worker obeys its first plan and is linked to the controller. */
export async function startFabric(
  run: BenchRun,
  {
    workers: count,
    env = {},
    allow = [],
  }: {
    workers: number;
    env?: Readonly<Record<string, string>>;
    /** What each node allows its instances. */
    allow?: string[];
  },
): Promise<BenchFabric> {
  const folder = await run.folder();
  const allowed = allow.flatMap((what) => ['--allow', what]);
  const founds = ['--found', '--fabric', 'bench', ...allowed];
  const control = startNode(run, { name: 'control', folder, options: founds, env });
  await control.event('its first plan', ({ type }) => type === 'plan-obeyed');
  await answers(control);
  const token = async (): Promise<string> =>
    (await control.client.createToken({ uses: 1, ttlMs: 600_000, labels: {}, router: 'edge' })).token;
  const workers: NodeProcess[] = [];
  for (let number = 1; number <= count; number++) {
    const worker = startNode(run, { name: `worker-${number}`, folder, options: allowed, token: await token(), env });
    workers.push(worker);
    await worker.event('its first plan', ({ type }) => type === 'plan-obeyed');
  }
  const nodes = [control, ...workers];
  return {
    control,
    workers,
    nodes,
    folder,
    token,
    ready: (instance) =>
      Promise.any(nodes.map((node) => node.event(`${instance} to be ready`, isReady(instance)))).catch(
        (failed: AggregateError) => {
          throw failed.errors[0];
        },
      ),
  };
}

/** Its socket comes a moment after its first events. */
async function answers(node: NodeProcess): Promise<void> {
  for (let tries = 400; ; tries--) {
    try {
      return await node.client.ping();
    } catch (error) {
      if (tries <= 0) throw error;
      // Nothing tells when the daemon's socket is there; ten seconds at most.
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
}

// Boxes with a daemon each, on networks of their own: what the tests of isolated networks have in common. Daemons end with their workloads when
// the test ends, and the namespaces after them.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { createNamespaces, type Namespaces } from '../mesh/namespaces.ts';
import { selvedge } from './command.ts';
import { type Daemon, startDaemon } from './daemon.ts';

/** A daemon that has not ended its workloads by then is killed. */
const endMs = 30_000;

export interface Place {
  readonly namespaces: Namespaces;
  /** The data folder of a node. */
  data(name: string): string;
  /** `selvedge up` in a box. */
  up(
    name: string,
    box: string,
    more?: { options?: readonly string[]; token?: string; env?: Record<string, string> },
  ): Daemon;
  /** On a controller, by its command line. */
  apply(name: string, manifest: string): Promise<void>;
  /** What an instance has printed so far on the node, line by line. */
  printed(name: string, microservice: string, application?: string): Promise<string[]>;
}

export async function createPlace(t: ExecutionContext): Promise<Place> {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-place-'));
  const daemons: Daemon[] = [];
  // Before the namespaces: their teardown comes last.
  const namespaces = createNamespaces(t);
  t.teardown(async () => {
    if (!t.passed) for (const daemon of daemons) t.log(daemon.output().slice(-3_000));
    await Promise.all(
      daemons.map(async (daemon) => {
        await daemon.client.down(true).catch(() => undefined);
        const late = setTimeout(() => void daemon.kill('SIGKILL'), endMs);
        await daemon.ended;
        clearTimeout(late);
      }),
    );
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  const data = (name: string): string => join(folder, name);
  return {
    namespaces,
    data,
    up(name, box, more = {}) {
      const daemon = startDaemon({ name, dataFolder: data(name), namespace: box, ...more });
      daemons.push(daemon);
      return daemon;
    },
    async apply(name, manifest) {
      const file = join(folder, `${name}.yaml`);
      await writeFile(file, manifest);
      const { status, error } = await selvedge(data(name), 'apply', file);
      if (status !== 0) throw new Error(error);
    },
    async printed(name, microservice, application = 'apart') {
      const log = join(data(name), 'instances', `default.${application}.${microservice}.0`, 'stdout.log');
      return (await readFile(log, 'utf8')).trim().split('\n');
    },
  };
}

export const tokenFor = async (
  controller: Daemon,
  router: 'interior' | 'edge',
  labels: Record<string, string> = {},
): Promise<string> => (await controller.client.createToken({ uses: 1, ttlMs: 600_000, labels, router })).token;

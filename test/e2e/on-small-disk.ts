// A daemon whose data folder is on a small volume of its own, and an application for it. Called by full-disk.test.ts and
// read-only-disk.test.ts.

import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { createFailingDisk, createSmallDisk, type FailingDisk, type SmallDisk } from '../small-disk.ts';
import { type Daemon, startDaemon } from './daemon.ts';
import { waitFor } from './fabric.ts';

const bytes = 48 * 1024 * 1024;

export const application = (name: string, node: string): unknown => ({
  apiVersion: 'selvedge/v1',
  kind: 'Application',
  metadata: { name },
  spec: {
    microservices: [{ name: 'sleeper', engine: 'process', command: ['sleep', '1000'], placement: { node } }],
  },
});

export const apply = (daemon: Daemon, ...documents: unknown[]) =>
  daemon.client.apply(
    documents,
    documents.map(() => 'test.yaml'),
  );

export const ready = (daemon: Daemon, name: string) =>
  waitFor(`${name} to be ready`, async () => {
    const view = await daemon.client.application('default', name);
    if (!view.ready) throw new Error(view.reason);
    return view.instances[0];
  });

export interface OnDisk<Disk> {
  disk: Disk;
  start(options?: string[], token?: string): Daemon;
}

function on<Disk extends Pick<SmallDisk, 'enter' | 'inside' | 'folder'>>(
  t: ExecutionContext,
  name: string,
  disk: Disk,
): OnDisk<Disk> {
  return {
    disk,
    start(options = [], token) {
      const daemon = startDaemon({
        ...{ name, token, options, enter: disk.enter },
        dataFolder: join(disk.inside, 'data'),
        socketFolder: join(disk.folder, 'data'),
      });
      t.teardown(async () => {
        if (!t.passed) t.log(`${name}:\n${daemon.output().slice(-4_000)}`);
        if (daemon.end !== undefined) return;
        await daemon.client.down(true).catch(() => daemon.kill('SIGKILL'));
        await daemon.ended;
      });
      return daemon;
    },
  };
}

export const onSmallDisk = async (t: ExecutionContext, name: string): Promise<OnDisk<SmallDisk>> =>
  on(t, name, await createSmallDisk(t, { bytes }));

export const onFailingDisk = async (t: ExecutionContext, name: string): Promise<OnDisk<FailingDisk>> =>
  on(t, name, await createFailingDisk(t, { bytes }));

// What a support bundle consists of: each part is asked for alone, and one that cannot be had says why. Called by support-bundle.ts, which
// takes the secrets out. Nothing here reads the content of a key, a Config or a store.

import { execFile } from 'node:child_process';
import { open, readFile } from 'node:fs/promises';
import { arch, cpus, freemem, loadavg, release, totalmem, uptime } from 'node:os';
import { join } from 'node:path';
import type { StatusView } from '../views.ts';
import type { Context } from './context.ts';
import { folderListing } from './folder-listing.ts';
import {
  bundleCommandMs,
  bundleEvents,
  bundleFilesMax,
  bundleFolderFilesMax,
  bundleLogLines,
  bundlePartBytesMax,
} from './limits.ts';
import { unitName } from './systemd-unit.ts';

export interface Part {
  /** In the bundle. */
  name: string;
  content: unknown;
}

/** The end of a file; undefined when there is none. */
async function tailOf(path: string): Promise<string | undefined> {
  const file = await open(path, 'r').catch(() => undefined);
  if (file === undefined) return undefined;
  try {
    const { size } = await file.stat();
    const bytes = Buffer.alloc(Math.min(size, bundlePartBytesMax));
    await file.read(bytes, 0, bytes.length, size - bytes.length);
    return bytes.toString('utf8');
  } finally {
    await file.close();
  }
}

/** What a command of the box prints; what went wrong, where it fails. */
function printed(command: string, ...args: string[]): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const options = { timeout: bundleCommandMs, maxBuffer: bundlePartBytesMax };
  execFile(command, args, options, (error, out, said) =>
    resolve(out !== '' ? out : error === null ? said : `${command} failed: ${said || error.message}`),
  );
  return promise;
}

async function daemonLog(dataFolder: string): Promise<string> {
  const own = await tailOf(join(dataFolder, 'selvedge.log'));
  const journal = await printed('journalctl', '--unit', unitName, '--lines', String(bundleLogLines), '--no-pager');
  return own === undefined ? journal : `${own}\n--- journal ---\n${journal}`;
}

const platform = (version: string, dataFolder: string) => ({
  selvedge: version,
  node: process.version,
  dataFolder,
  ...{ os: process.platform, release: release(), arch: arch(), processors: cpus().length },
  ...{ memoryBytes: totalmem(), memoryFreeBytes: freemem(), load: loadavg(), uptimeS: Math.round(uptime()) },
});

/** Rejections become words. */
async function asked<T>(ask: () => Promise<T>): Promise<T | { notThere: string }> {
  try {
    return await ask();
  } catch (error) {
    return { notThere: (error as Error).message };
  }
}

/** Of this box alone: which values are secret on another one is not known here. */
async function workloadLogs({ client }: Context, status: StatusView): Promise<Part[]> {
  const own = status.nodes.filter(({ name }) => name === status.node);
  const names = own.flatMap(({ instances }) => instances.map(({ name }) => name));
  const parts: Part[] = [];
  for (const name of names.slice(0, 64)) {
    const content = await asked(async () => {
      const lines: string[] = [];
      const query = { tail: bundleLogLines / 4, follow: false };
      for await (const { at, text } of client.logs(name, query)) {
        lines.push(`${at === undefined ? '' : new Date(at).toISOString()} ${text}`);
      }
      return lines.join('\n');
    });
    parts.push({ name: `logs/${name}.log`, content });
  }
  return parts;
}

/** All parts; `logs` says whether what workloads print is one of them. */
export async function bundleParts(
  context: Context,
  { version, logs }: { version: string; logs: boolean },
): Promise<Part[]> {
  const { client, dataFolder, host } = context;
  const status = await asked(() => client.status());
  const { examine } = await import('../../node-runtime/doctor/doctor.ts');
  const daemon =
    'notThere' in status
      ? ({ kind: 'silent', reason: status.notThere } as const)
      : ({ kind: 'answers', status } as const);
  const parts: Part[] = [
    { name: 'box.json', content: platform(version, dataFolder) },
    { name: 'doctor.json', content: await asked(() => examine({ dataFolder, clock: host.clock, daemon })) },
    { name: 'status.json', content: status },
    { name: 'nodes.json', content: await asked(() => client.nodes()) },
    { name: 'applications.json', content: await asked(() => client.applications()) },
    { name: 'events.json', content: await asked(() => client.events({ limit: bundleEvents })) },
    { name: 'daemon.log', content: await daemonLog(dataFolder) },
    { name: 'unit.txt', content: await printed('systemctl', 'cat', unitName, '--no-pager') },
    {
      name: 'data-folder.json',
      content: await folderListing(dataFolder, { filesMax: bundleFilesMax, folderFilesMax: bundleFolderFilesMax }),
    },
    { name: 'volumes.txt', content: await printed('df', '-Pk', dataFolder) },
    { name: 'mounts.txt', content: await asked(() => readFile('/proc/mounts', 'utf8')) },
    { name: 'docker.txt', content: await printed('docker', 'info') },
  ];
  if (logs && !('notThere' in status)) parts.push(...(await workloadLogs(context, status)));
  return parts;
}

// `selvedge up --detach`: starts the same command again in the background and waits until its socket answers.

import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, closeSync, mkdirSync, openSync, readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { boxOptionNames } from '../box-options.ts';
import type { Context } from './context.ts';
import type { DaemonSettings } from './daemon-options.ts';
import { defaultDataFolder } from './data-folder.ts';
import { DaemonFailedError } from './errors.ts';
import { plainReason } from './file-reasons.ts';
import { detachedLogBytesMax, detachedLogLinesShown, detachMs, waitEveryMs } from './limits.ts';
import { withProgress } from './progress.ts';
import { mustBeMendedStatus, withMendedStatus } from './up-failure.ts';

/** The program's own script: what another process of it is started with. */
export const scriptPath = fileURLToPath(new URL('../../bin/selvedge.js', import.meta.url));

/**
 * Of Node.js, for a daemon. V8's young generation may grow to 3 × 16 MiB, which a daemon that is mostly idle never gives back.
 * Measured: 7 MB less, and the same throughput of HTTP/2 streams.
 */
export const daemonNodeOptions = ['--max-semi-space-size=1'];

/** For the same reason: each thread of glibc's malloc keeps an arena of its own (mallopt(3)). Measured: 3 MB less. */
export const daemonEnvironment = { MALLOC_ARENA_MAX: '1' };

/** The arguments that say the same as `options`, without the token: it travels by the environment. */
export function upArguments(options: DaemonSettings, dataFolder: string): string[] {
  const given: [string, string | undefined][] = [
    ['--fabric', options.fabric],
    ['--name', options.name],
    ['--router', options.router],
    ...options.join.map((address): [string, string] => ['--join', address]),
    ...Object.entries(options.label).map(([key, value]): [string, string] => ['--label', `${key}=${value}`]),
    ['--location', options.location],
    ...[...(options.linkCost ?? [])].map(([node, costMs]): [string, string] => ['--link-cost', `${node}=${costMs}ms`]),
    ...[...(options.keepAlive ?? [])].map(([node, silentMs]): [string, string] => [
      '--keep-alive',
      `${node === '*' ? '' : `${node}=`}${silentMs}ms`,
    ]),
    ['--port', String(options.port)],
    ['--container-range', options.containerRange],
    ...(options.allow ?? []).map((right): [string, string] => ['--allow', right]),
    ...(options.allowImage ?? []).map((pattern): [string, string] => ['--allow-image', pattern]),
    ['--registry-auth', options.registryAuth],
    ['--process-user', options.processUser],
    ...(options.forget ?? []).map((option): [string, string] => ['--forget', boxOptionNames[option]]),
    ['--data', dataFolder],
  ];
  const values = given.flatMap(([option, value]) => (value === undefined ? [] : [`${option}=${value}`]));
  const flags = [...(options.found === true ? ['--found'] : []), ...(options.trustLan === true ? ['--trust-lan'] : [])];
  return ['up', ...flags, ...values];
}

/** Opens the log for appending, mode 0600; a large one is moved aside first. */
function openLog(dataFolder: string): { path: string; descriptor: number } {
  const path = join(dataFolder, 'selvedge.log');
  try {
    mkdirSync(dataFolder, { recursive: true, mode: 0o700 });
    if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > detachedLogBytesMax) renameSync(path, `${path}.1`);
    const descriptor = openSync(path, 'a', 0o600);
    chmodSync(path, 0o600);
    return { path, descriptor };
  } catch (error) {
    const failure = new DaemonFailedError(`cannot write ${path}: ${plainReason(error)}`, {
      action: 'See that the data folder is one, and that this user may write into it.',
    });
    throw withMendedStatus(failure);
  }
}

function lastLines(path: string, from: number): string {
  const lines = readFileSync(path).subarray(from).toString('utf8').trimEnd().split('\n');
  return lines.slice(-detachedLogLinesShown).join('\n');
}

async function answers({ client, host }: Context, child: ChildProcess): Promise<'answers' | 'ended' | 'silent'> {
  const deadline = host.clock.now() + detachMs;
  while (host.clock.now() < deadline) {
    if (child.exitCode !== null || child.signalCode !== null) return 'ended';
    const answered = await client.ping().then(
      () => true,
      () => false,
    );
    if (answered) return 'answers';
    await host.clock.sleep(waitEveryMs);
  }
  return 'silent';
}

export async function startDetached(start: {
  options: DaemonSettings;
  token: string | undefined;
  context: Context;
}): Promise<void> {
  const { options, token, context } = start;
  const { host, dataFolder, json } = context;
  const log = openLog(dataFolder);
  const from = statSync(log.path).size;
  const env = { ...daemonEnvironment, ...host.env, ...(token !== undefined && { SELVEDGE_TOKEN: token }) };
  const child = spawn(process.execPath, [...daemonNodeOptions, scriptPath, ...upArguments(options, dataFolder)], {
    detached: true,
    stdio: ['ignore', log.descriptor, log.descriptor],
    cwd: '/',
    env,
  });
  child.on('error', () => {});
  child.unref();
  closeSync(log.descriptor);

  const outcome = await withProgress(host, 'starting the daemon', () => answers(context, child));
  if (outcome !== 'answers') {
    const what = outcome === 'ended' ? 'ended at once' : 'does not answer yet';
    const lines = lastLines(log.path, from);
    const failure = new DaemonFailedError(
      `the daemon ${what}${lines === '' ? '' : `; the end of its log:\n${lines}`}`,
      {
        action: `Its log is ${log.path}${outcome === 'silent' ? `, its process ${child.pid}` : ''}.`,
      },
    );
    // As `up` itself would have ended: whoever starts it must know whether starting again helps.
    throw child.exitCode === mustBeMendedStatus ? withMendedStatus(failure) : failure;
  }
  if (json) return host.out(JSON.stringify({ pid: child.pid, dataFolder, log: log.path }));
  host.out(`The daemon runs as process ${child.pid}; its log is ${log.path}.`);
  host.out(`Next: selvedge${dataFolder === defaultDataFolder(host) ? '' : ` --data ${dataFolder}`} status`);
}

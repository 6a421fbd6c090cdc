// `selvedge demo` and `npm start` as a user runs them, looked at from outside: what the last line says, and that nothing is left.

import { type ChildProcess, spawn } from 'node:child_process';
import { chown, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { processesOf } from '../../control/cli/demo-folder.ts';
import { skip } from '../skip.ts';
import { program } from './daemon.ts';
import { waitFor } from './fabric.ts';
import { findOtherUser, otherUserId } from './other-user.ts';
import { isAlive } from './processes.ts';

const checkout = dirname(dirname(program));
/** Three daemons start, join and end; two demos at once share two cores. */
const runMs = 240_000;

interface Demo {
  child: ChildProcess;
  /** Its temporary folder: whatever the demo makes is in here. */
  folder: string;
  stdout(): string;
  stderr(): string;
  ended: Promise<{ status: number | null; signal: NodeJS.Signals | null }>;
}

/** Runs a command of the demo with a temporary folder of its own, which the test removes. */
async function startDemo(t: ExecutionContext, command: [string, ...string[]], owner?: number): Promise<Demo> {
  t.timeout(runMs);
  // Root's own temporary folder may be closed to others.
  const folder = await mkdtemp(join(owner === undefined ? tmpdir() : '/tmp', 'sv-demo-'));
  if (owner !== undefined) await chown(folder, owner, owner);
  const [file, ...rest] = command;
  const child = spawn(file, rest, {
    cwd: checkout,
    // npm keeps a compile cache in TMPDIR on Node 24: that is not ours to leave or to remove.
    env: {
      ...process.env,
      TMPDIR: folder,
      NODE_DISABLE_COMPILE_CACHE: '1',
      ...(owner !== undefined && { HOME: folder }),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      texts[name] += text;
    });
  }
  const { promise: ended, resolve, reject } = Promise.withResolvers<Awaited<Demo['ended']>>();
  child.on('error', reject);
  child.on('close', (status, signal) => resolve({ status, signal }));
  t.teardown(async () => {
    if (!t.passed) t.log(`${texts.stdout}\n${texts.stderr}`);
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    for (const pid of await processesOf(folder)) process.kill(pid, 'SIGKILL');
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  return { child, folder, stdout: () => texts.stdout, stderr: () => texts.stderr, ended };
}

interface Result {
  ok: boolean;
  nodes: number;
  joinMs: number[];
  applyToReadyMs: number;
  requests: { sent: number; ok: number };
  instances: { name: string; node: string; engine: string; state: string; pid: number }[];
  dashboard: string;
  teardownMs: number;
}

const keys = ['applyToReadyMs', 'dashboard', 'instances', 'joinMs', 'nodes', 'ok', 'requests', 'teardownMs'];

/** Holds the last line against what it is promised to be. */
function checkResult(t: ExecutionContext, stdout: string): Result {
  const result = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as Result;
  t.deepEqual(Object.keys(result).sort(), keys);
  t.deepEqual([result.ok, result.nodes], [true, 3]);
  t.is(result.joinMs.length, 2);
  for (const ms of [...result.joinMs, result.applyToReadyMs, result.teardownMs]) t.true(Number.isInteger(ms) && ms > 0);
  t.true(result.requests.ok > 0 && result.requests.ok === result.requests.sent);
  t.deepEqual(
    result.instances.map(({ name, engine, state }) => [name, engine, state]).sort(),
    ['dashboard', 'monitor', 'sensor'].map((name) => [`default.cold-chain.${name}.0`, 'process', 'running']),
  );
  t.true(new Set(result.instances.map(({ node }) => node)).size >= 2, 'on at least two nodes');
  t.regex(result.instances.find(({ name }) => name.includes('sensor'))?.node ?? '', /^edge-[12]$/);
  // Under root the program has a network of its own.
  t.regex(result.dashboard, /^http:\/\/(127\.0\.0\.1|198\.1[89]\.\d+\.\d+):\d+$/);
  return result;
}

/** An address as `/proc/net/route` has it. */
const routeOf = (address: string): string =>
  Buffer.from(address.split('.').map(Number).reverse()).toString('hex').toUpperCase();

async function checkNothingLeft(t: ExecutionContext, { folder }: Demo): Promise<void> {
  t.deepEqual(await processesOf(folder), [], 'no process');
  t.deepEqual(await readdir(folder), [], 'no file');
}

const once: [string, ...string[]] = [process.execPath, program, 'demo', '--once', '--json'];

test.serial('the demo runs, says what came of it in its last line, and leaves nothing behind', async (t) => {
  const demo = await startDemo(t, once);
  t.deepEqual(await demo.ended, { status: 0, signal: null });
  const { instances, dashboard } = checkResult(t, demo.stdout());
  for (const { pid } of instances) t.false(await isAlive(pid));
  const { hostname } = new URL(dashboard);
  if (hostname === '127.0.0.1') await t.throwsAsync(fetch(dashboard), undefined, 'no port');
  // Who answers there now is somebody outside of this box.
  else t.false((await readFile('/proc/net/route', 'utf8')).includes(routeOf(hostname)), 'no route');
  await checkNothingLeft(t, demo);
  for (const step of [
    'found a fabric',
    'mint two tokens',
    'find it by mDNS and join',
    'link all nodes',
    'apply cold-chain',
    'call the dashboard',
    'stop everything',
  ]) {
    t.regex(demo.stderr(), new RegExp(`${step}.*: \\d.*s\n`), `${step} is told with its time`);
  }
});

test.serial('npm start stays up, and ends everything when npm alone gets SIGTERM', async (t) => {
  const demo = await startDemo(t, ['npm', 'start', '--', '--json', '--keep', '--once']);
  const line = await waitFor('its result', () => /^\{"ok".*\}$/m.exec(demo.stdout())?.[0]);
  const { instances, dashboard } = JSON.parse(line) as Result;
  for (const { pid } of instances) t.true(await isAlive(pid));
  t.true((await fetch(`${dashboard}/api`)).ok);
  t.true((await processesOf(demo.folder)).length >= 9, 'three daemons, three workloads with their shims');
  demo.child.kill('SIGTERM');
  await demo.ended;
  // npm itself may be gone before what it started has ended.
  await waitFor('nothing to be left', async () => (await processesOf(demo.folder)).length === 0);
  for (const { pid } of instances) t.false(await isAlive(pid));
  let left: string[] = [];
  const isEmpty = async () => {
    left = await readdir(demo.folder, { recursive: true });
    return left.length === 0;
  };
  await waitFor('the folder to be empty', isEmpty).catch(() => undefined);
  t.deepEqual(left, []);
});

test.serial('SIGTERM in the middle cleans up, and the interrupted step is named', async (t) => {
  const demo = await startDemo(t, once);
  await waitFor('the edge nodes to be started', async () => /edge-2 +listening/.test(demo.stderr()));
  t.true((await processesOf(demo.folder)).length >= 3);
  demo.child.kill('SIGTERM');
  const { status } = await demo.ended;
  t.true(status !== 0);
  const result = JSON.parse(demo.stdout().trimEnd().split('\n').at(-1) ?? '') as { ok: boolean; failedStep: string };
  t.false(result.ok);
  // On a busy box the demo is further by the time that the signal comes.
  t.regex(result.failedStep, /find it by mDNS and join|link all nodes|apply cold-chain|call the dashboard/);
  await checkNothingLeft(t, demo);
});

test.serial('the demo works as an ordinary user', async (t) => {
  const other = await findOtherUser();
  if (typeof other === 'string') return skip(t, other);
  const demo = await startDemo(t, other.command(once), otherUserId);
  t.deepEqual(await demo.ended, { status: 0, signal: null });
  for (const { pid } of checkResult(t, demo.stdout()).instances) t.false(await isAlive(pid));
  await checkNothingLeft(t, demo);
});

// Real daemons under libfaketime, whose wall clock is set while they run, as by an operator or NTP; the monotonic clock stays. What runs goes
// on, status says what is wrong with the clock and what to do, and all is well again by itself when the clock is right.

import { accessSync } from 'node:fs';
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { skip } from '../skip.ts';
import { startDaemon } from './daemon.ts';
import { waitFor } from './fabric.ts';
import { isAlive } from './processes.ts';

const candidates = ['x86_64-linux-gnu', 'aarch64-linux-gnu'].map(
  (triple) => `/usr/lib/${triple}/faketime/libfaketimeMT.so.1`,
);
const library = candidates.find((path) => {
  try {
    accessSync(path);
    return true;
  } catch {
    return false;
  }
});
const missing = library === undefined ? 'libfaketime is not installed (apt-get install faketime)' : undefined;

/** A clock of a daemon's own, and the environment that gives it that clock. */
async function createWrongClock(t: ExecutionContext) {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-clock-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'offset');
  async function set(offset: string): Promise<void> {
    await writeFile(`${file}.new`, `${offset}\n`);
    await rename(`${file}.new`, file);
  }
  await set('+0');
  const env = {
    LD_PRELOAD: library ?? '',
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    DONT_FAKE_MONOTONIC: '1',
  };
  return { folder, set, env };
}

const application = (name: string, node: string) => ({
  apiVersion: 'selvedge/v1',
  kind: 'Application',
  metadata: { name },
  spec: {
    microservices: [{ name: 'sleeper', engine: 'process', command: ['sleep', '1000'], placement: { node } }],
  },
});

async function createWorld(t: ExecutionContext) {
  const clocks = { control: await createWrongClock(t), edge: await createWrongClock(t) };
  const folder = clocks.control.folder;
  const start = (name: 'control' | 'edge', options: string[] = [], token?: string) => {
    const daemon = startDaemon({ name, dataFolder: join(folder, name), options, token, env: clocks[name].env });
    t.teardown(async () => {
      if (!t.passed) t.log(`${name}:\n${daemon.output().slice(-5_000)}`);
      if (daemon.end !== undefined) return;
      await daemon.client.down(true).catch(() => daemon.kill('SIGKILL'));
      await daemon.ended;
    });
    return daemon;
  };
  return { clocks, start };
}

type Started = ReturnType<typeof startDaemon>;

const ready = (daemon: Started, name: string) =>
  waitFor(`${name} to be ready`, async () => {
    const view = await daemon.client.application('default', name);
    if (!view.ready) throw new Error(view.reason);
    return view.instances[0]?.pid ?? 0;
  });
const says = (daemon: Started, pattern: RegExp) =>
  waitFor(`${pattern}`, async () => {
    const { problems } = await daemon.client.status();
    const found = problems.find((problem) => pattern.test(problem));
    if (found === undefined) throw new Error(problems.join('\n'));
    return found;
  });
const well = (daemon: Started) =>
  waitFor('all to be well', async () => {
    const { ok, problems } = await daemon.client.status();
    if (!ok) throw new Error(problems.join('\n'));
    return true;
  });

test('clocks that are set ten years ahead, and a day back: what runs goes on, status says it, and all mends itself', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const { clocks, start } = await createWorld(t);
  const control = start('control', ['--found']);
  await control.answers();
  const { token } = await control.client.createToken({ uses: 1, ttlMs: 600_000, labels: {}, router: 'edge' });
  const edge = start('edge', [], token);
  await edge.event('joined');
  for (const name of ['control', 'edge'] as const)
    await control.client.apply([application(`on-${name}`, name)], ['test.yaml']);
  const pids = [await ready(control, 'on-control'), await ready(control, 'on-edge')];
  await well(control);

  await clocks.edge.set('+3650d');
  t.log(await says(edge, /clock of this box says .* UTC.*timedatectl/));
  t.log((await control.client.status()).problems);
  await clocks.edge.set('+0');
  await well(edge);
  await well(control);

  await clocks.control.set('+3650d');
  t.log(await says(control, /clock of this box says .* UTC.*timedatectl/));
  await clocks.control.set('+0');
  await well(control);
  await well(edge);

  for (const name of ['control', 'edge'] as const) {
    await clocks[name].set('-1d');
    for (const pid of pids) t.true(await isAlive(pid ?? 0));
    await control.client.apply([application(`back-${name}`, name)], ['test.yaml']);
    await ready(control, `back-${name}`);
    await clocks[name].set('+0');
    await well(control);
  }

  t.is(await ready(control, 'on-control'), pids[0] ?? 0);
  t.is(await ready(control, 'on-edge'), pids[1] ?? 0);
  for (const name of ['control', 'edge'] as const) {
    await control.client.apply([application(`after-${name}`, name)], ['test.yaml']);
    await ready(control, `after-${name}`);
  }
});

for (const [ahead, offset] of [
  ['ten years', '+3650d'],
  // Certificates are valid and half over: new ones are issued, which are of the future once the clock is right.
  ['twenty days', '+20d'],
] as const)
  test(`daemons that start with a clock ${ahead} ahead are well when it is right`, async (t) => {
    if (missing !== undefined) return skip(t, missing);
    const { clocks, start } = await createWorld(t);
    const first = start('control', ['--found']);
    await first.answers();
    const { token } = await first.client.createToken({ uses: 1, ttlMs: 600_000, labels: {}, router: 'edge' });
    const joined = start('edge', [], token);
    await joined.event('joined');
    for (const name of ['control', 'edge'] as const)
      await first.client.apply([application(`on-${name}`, name)], ['test.yaml']);
    const pids = [await ready(first, 'on-control'), await ready(first, 'on-edge')];
    await first.kill('SIGTERM');
    await joined.kill('SIGTERM');
    const chains = () =>
      Promise.all(
        ['control', 'edge'].map(async (name) => {
          const path = join(clocks.control.folder, name, 'membership.json');
          return (JSON.parse(await readFile(path, 'utf8')) as { chain: string[] }).chain[0];
        }),
      );
    const before = await chains();
    for (const clock of Object.values(clocks)) await clock.set(offset);
    const control = start('control');
    let edge = start('edge');
    await control.answers();
    await edge.answers();
    if (offset === '+20d')
      await waitFor('new certificates', async () => (await chains()).every((chain, index) => chain !== before[index]));
    else for (const daemon of [control, edge]) t.log(await says(daemon, /clock of this box/));
    for (const pid of pids) t.true(await isAlive(pid ?? 0));
    // No link that is there already helps it.
    await edge.kill('SIGTERM');
    for (const clock of Object.values(clocks)) await clock.set('+0');
    edge = start('edge');
    await edge.answers();
    await well(control);
    await well(edge);
    t.is(await ready(control, 'on-control'), pids[0] ?? 0);
    t.is(await ready(control, 'on-edge'), pids[1] ?? 0);
    for (const name of ['control', 'edge'] as const) {
      await control.client.apply([application(`after-${name}`, name)], ['test.yaml']);
      await ready(control, `after-${name}`);
    }
    // Once more, from what is on disk now.
    await control.kill('SIGTERM');
    const again = start('control');
    await again.answers();
    await well(again);
  });

// A real daemon that runs out of file descriptors because somebody opens connections and does not close them: it goes on, says so, does
// not spin, runs its workloads, and is well again when they are gone.

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { eventually } from '../eventually.ts';
import { skip } from '../skip.ts';
import { startDaemon } from './daemon.ts';
import { waitFor } from './fabric.ts';
import { isAlive } from './processes.ts';

/** Seconds of processor time that the process has taken. */
function processorSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  // utime and stime, in ticks of 10 ms.
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

const exhausted = /file descriptors are in use|no file descriptor is left/;

test('a daemon without file descriptors goes on, says so, and recovers', async (t) => {
  if (process.getuid?.() !== 0) return skip(t, 'the limits of another process take root');
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-descriptors-'));
  const daemon = startDaemon({ name: 'control', dataFolder: join(folder, 'data'), options: ['--found'] });
  const sockets: Socket[] = [];
  t.teardown(async () => {
    if (!t.passed) t.log(daemon.output().slice(-3_000).replaceAll('"at"', '"t"'));
    for (const socket of sockets) socket.destroy();
    execFileSync('prlimit', ['--pid', String(daemon.pid), '--nofile=4096:4096']);
    await daemon.client.down(true).catch(() => daemon.kill('SIGKILL'));
    await daemon.ended;
    await rm(folder, { recursive: true, force: true });
  });
  await daemon.answers();
  const { client } = daemon;
  const manifest = {
    apiVersion: 'selvedge/v1',
    kind: 'Application',
    metadata: { name: 'work' },
    spec: { microservices: [{ name: 'sleeper', engine: 'process', command: ['sleep', '1000'] }] },
  };
  await client.apply([manifest], ['test.yaml']);
  const running = await waitFor('the application', async () => {
    const { ready, instances } = await client.application('default', 'work');
    return ready ? instances[0] : undefined;
  });
  const pid = running.pid ?? 0;

  const open = readdirSync(`/proc/${daemon.pid}/fd`).length;
  execFileSync('prlimit', ['--pid', String(daemon.pid), `--nofile=${open + 30}:4096`]);
  const before = { seconds: processorSeconds(daemon.pid), at: process.hrtime.bigint() };
  const hold = (): void => {
    while (sockets.filter((socket) => !socket.destroyed).length < 60) {
      const socket = connect({ path: join(folder, 'data', 'selvedge.sock') });
      socket.on('error', () => undefined);
      socket.on('close', () => socket.destroy());
      sockets.push(socket);
    }
  };
  // As often as somebody's client tries again; in between the one who looks at the status has a turn.
  const holding = setInterval(hold, 1_000);
  t.teardown(() => clearInterval(holding));
  const problems = await eventually(
    async () => {
      const found = (await client.status()).problems.filter((problem) => exhausted.test(problem));
      return found.length > 0 ? found : undefined;
    },
    // Asked slowly: an answer costs more than what is measured here.
    { deadlineMs: 90_000, everyMs: 1_000, what: 'the status to say so' },
  );
  t.regex(problems[0] ?? '', /^node control: .*Raise the limit on open files/);
  const seconds = Number(process.hrtime.bigint() - before.at) / 1e9;
  const used = processorSeconds(daemon.pid) - before.seconds;
  t.log(`${used.toFixed(1)} s of processor time in ${seconds.toFixed(1)} s: ${problems[0]}`);
  t.true(used < seconds * 0.6, 'it does not spin');
  t.is(daemon.end, undefined);
  t.true(await isAlive(pid));

  clearInterval(holding);
  for (const socket of sockets) socket.destroy();
  await waitFor('descriptors to be free again', async () =>
    (await client.status()).problems.every((problem) => !exhausted.test(problem)),
  );
  // Below the highest that is open: questions are answered, and what cannot be done says why.
  const highest = Math.max(...readdirSync(`/proc/${daemon.pid}/fd`).map(Number));
  execFileSync('prlimit', ['--pid', String(daemon.pid), `--nofile=${highest - 1}:4096`]);
  const more = { ...manifest, metadata: { name: 'more' } };
  const low = { seconds: processorSeconds(daemon.pid), at: process.hrtime.bigint() };
  await waitFor('an apply', () => client.apply([more], ['test.yaml']));
  await waitFor('a launch to say why it cannot be', async () =>
    (await client.application('default', 'more')).instances.some(({ reason }) =>
      /could not be started: no file can be opened any more\. Raise the limit on open files/.test(reason),
    ),
  );
  await waitFor('the status to say that the limit is low', async () =>
    (await client.status()).problems.some((problem) =>
      /file descriptors, and wants \d+ for itself|file descriptors are in use/.test(problem),
    ),
  );
  const lowSeconds = Number(process.hrtime.bigint() - low.at) / 1e9;
  t.true(processorSeconds(daemon.pid) - low.seconds < Math.max(10, lowSeconds * 0.6), 'it does not spin');
  t.true(await isAlive(pid));
  // As the message says.
  execFileSync('prlimit', ['--pid', String(daemon.pid), '--nofile=4096:4096']);
  await waitFor('all to be well', async () => (await client.status()).ok);
  await waitFor('the other application', async () => {
    const { ready, reason } = await client.application('default', 'more');
    if (!ready) throw new Error(reason);
    return true;
  });
  t.is((await client.application('default', 'work')).instances[0]?.pid, pid);
});

// A real daemon that is killed again and again in the middle of deployments and removals: in the end its data folder holds what it held at
// the beginning, and nothing that grows with each kill.

import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { startDaemon } from './daemon.ts';
import { waitFor } from './fabric.ts';
import { isAlive } from './processes.ts';

const kills = 5;

const documents = (name: string): unknown[] => [
  {
    apiVersion: 'selvedge/v1',
    kind: 'Config',
    metadata: { name: `settings-${name}` },
    spec: { files: { 'one.txt': { text: `one of ${name}` }, 'two.txt': { text: 'x'.repeat(20_000) } } },
  },
  {
    apiVersion: 'selvedge/v1',
    kind: 'Application',
    metadata: { name },
    spec: {
      microservices: ['one', 'two', 'three'].map((microservice) => ({
        name: microservice,
        engine: 'process',
        command: ['sleep', '1000'],
        configs: [`settings-${name}`],
      })),
    },
  },
];

test('a daemon that is killed in the middle of its work leaves nothing that grows', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-kills-'));
  const dataFolder = join(folder, 'data');
  const start = () => startDaemon({ name: 'control', dataFolder, options: ['--found'] });
  let daemon = start();
  t.teardown(async () => {
    if (!t.passed) t.log(daemon.output().slice(-3_000));
    await daemon.client.down(true).catch(() => daemon.kill('SIGKILL'));
    await daemon.ended;
    await rm(folder, { recursive: true, force: true });
  });
  /** Without the store, whose files are LevelDB's, and the lines of the last 32 instances that are gone. */
  const files = async (): Promise<string[]> =>
    (await readdir(dataFolder, { recursive: true }))
      .filter((path) => !/^(store|gone-logs)(\/|$)/.test(path))
      .map((path) => path.replace(/^obeyed\/\d+-\d+-\d+/, 'obeyed/newest'))
      .sort();
  const apply = (name: string) => daemon.client.apply(documents(name), ['test.yaml', 'test.yaml']);
  const ready = (name: string) =>
    waitFor(`${name} to be ready`, async () => {
      const { ready, reason } = await daemon.client.application('default', name);
      if (!ready) throw new Error(reason);
      return true;
    });
  await daemon.answers();
  await apply('stays');
  await ready('stays');
  const pids = (await daemon.client.application('default', 'stays')).instances.map(({ pid }) => pid ?? 0);
  const before = await waitFor('the files of the plan', async () => {
    const found = await files();
    return found.some((path) => path.startsWith('obeyed/newest/files/')) ? found : undefined;
  });

  for (let kill = 0; kill < kills; kill++) {
    await apply(`comes-${kill}`);
    if (kill > 0) await daemon.client.deleteApplication('default', `comes-${kill - 1}`);
    // Spread over what happens after a deployment: the plan, its files, launches, removals.
    await sleep((kill * 900) / kills);
    await daemon.kill('SIGKILL');
    daemon = start();
    await daemon.answers();
  }
  await daemon.client.deleteApplication('default', `comes-${kills - 1}`);
  await ready('stays');
  const after = await waitFor('what came to be gone', async () => {
    const found = await files();
    const more = found.filter((path) => !before.includes(path));
    if (more.length > 0) throw new Error(more.join(' '));
    return found;
  });
  t.deepEqual(after, before);
  t.true((await readdir(join(dataFolder, 'gone-logs'))).every((name) => !name.endsWith('.tmp')));
  for (const pid of pids) t.true(await isAlive(pid), 'what was not touched runs on');
  t.regex(await readFile(join(dataFolder, 'obeyed/current'), 'utf8'), /^obeyed\//);
});

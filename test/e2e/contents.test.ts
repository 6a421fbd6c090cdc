// Configs and secrets with real daemons and a real process: changed content arrives while it runs, and plain text lies nowhere that it must not.

import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { lstat, readdir, readFile, readlink, statfs, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import test from 'ava';
import type { ContentView } from '../../control/views.ts';
import { findMemoryFolder } from '../../node-runtime/secret-folders.ts';
import { selvedge, selvedgeJson } from './command.ts';
import { createFabric, type FabricNode, instanceOf, problemsOf, waitFor } from './fabric.ts';
import { tell } from './story.ts';

const config = (text: string): string => `
apiVersion: selvedge/v1
kind: Config
metadata: { name: site }
spec: { files: { site.json: { text: '${text}' }, 'rooms/north.csv': { text: '${text}' } } }
`;

const application = `
---
apiVersion: selvedge/v1
kind: Application
metadata: { name: shop }
spec:
  microservices:
    - name: live
      engine: process
      command: [sh, -c, 'printf %s "$PASSWORD" | sha256sum > seen; exec sleep 1000']
      env: { PASSWORD: { secret: db, key: password }, SITE: { config: site, key: site.json } }
      configs: [site]
      secrets: [db]
      placement: { node: edge-1 }
    - name: restarted
      engine: process
      command: [sh, -c, 'printf %s "$PASSWORD" | sha256sum > seen; exec sleep 1000']
      env: { PASSWORD: { secret: db, key: password } }
      configs: [{ name: site, onChange: restart }]
      secrets: [{ name: db, onChange: restart }]
      placement: { node: edge-1 }
`;

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** How a value may stand in a file: as it is, and in base64 wherever it begins. */
function shapesOf(value: string): Buffer[] {
  const encoded = [0, 1, 2].map((shift) => {
    const text = Buffer.concat([Buffer.alloc(shift), Buffer.from(value)]).toString('base64');
    // Characters that its neighbours have a part in are left out.
    return text.slice(shift === 0 ? 0 : 4, -4);
  });
  return [value, ...encoded].map((text) => Buffer.from(text));
}

/** Files below a folder that hold the value, with their modes; links are not followed. */
async function holding(folder: string, value: string): Promise<{ path: string; mode: number }[]> {
  const shapes = shapesOf(value);
  const found: { path: string; mode: number }[] = [];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const content = await readFile(path).catch(() => Buffer.alloc(0));
    if (shapes.some((shape) => content.includes(shape)))
      found.push({ path: path.slice(folder.length + 1), mode: (await lstat(path)).mode & 0o777 });
  }
  return found;
}

test('changed content reaches what runs, and a secret is nowhere that others can read', async (t) => {
  const step = tell(t);
  const fabric = await step('a controller and an edge node', () => createFabric(t, { edges: 1 }));
  const { control } = fabric;
  const edge = fabric.edges[0] as FabricNode;
  const folderOf = (name: string): string => join(edge.dataFolder, 'instances', `default.shop.${name}.0`);
  const contentOf = (name: string, path: string): Promise<string | undefined> =>
    readFile(join(folderOf(name), path), 'utf8').catch(() => undefined);
  const value = `p${randomBytes(24).toString('hex')}`;
  const later = `q${randomBytes(24).toString('hex')}`;
  const file = join(dirname(control.dataFolder), 'value');
  const setSecret = async (text: string): Promise<void> => {
    await writeFile(file, text, { mode: 0o600 });
    const ran = await selvedge(control.dataFolder, 'secrets', 'set', 'db', '--from-file', `password=${file}`);
    t.is(ran.status, 0, ran.error);
    t.false(ran.out.includes(text));
  };
  const said: string[] = [];

  await step('an application whose Secret is missing is refused', async () => {
    const error = await t.throwsAsync(fabric.apply(config('one') + application));
    t.regex(String(error), /there is no Secret "db"|several|refused/);
    t.deepEqual(await selvedgeJson(control.dataFolder, 'configs', 'list'), []);
  });

  const first = await step('it runs with its files and variables', async () => {
    await setSecret(value);
    await fabric.apply(config('one') + application);
    const ready = await fabric.ready('shop');
    for (const name of ['live', 'restarted']) {
      t.is(await contentOf(name, 'configs/site/site.json'), 'one');
      t.is(await contentOf(name, 'secrets/db/password'), value);
      t.is((await lstat(join(folderOf(name), 'secrets/db/..data/password'))).mode & 0o777, 0o400);
      await waitFor('its variable', async () => (await contentOf(name, 'seen'))?.startsWith(sha256(value)));
    }
    return ready;
  });

  await step('a command beside it has the variable too', async () => {
    const ran = await selvedge(
      ...([control.dataFolder, 'exec', 'live', '--', 'sh', '-c', 'printf %s "$PASSWORD" | sha256sum'] as const),
    );
    t.true(ran.out.startsWith(sha256(value)), ran.out + ran.error);
  });

  await step('changed content is there within a second, in the same process; or in a new one when asked', async () => {
    const pid = instanceOf(first, 'live').pid;
    const begun = performance.now();
    await fabric.apply(config('two'));
    await waitFor('the new file', async () => (await contentOf('live', 'configs/site/site.json')) === 'two');
    const visibleMs = performance.now() - begun;
    t.log(`from apply to the file: ${visibleMs.toFixed(0)} ms`);
    t.is(await contentOf('live', 'configs/site/rooms/north.csv'), 'two');
    const after = await fabric.application('shop', ({ ready }) => ready, 'shop to be ready');
    t.is(instanceOf(after, 'live').pid, pid);
    t.is(instanceOf(after, 'live').restarts, 0);
    t.not(instanceOf(after, 'restarted').pid, instanceOf(first, 'restarted').pid);
    t.is(await contentOf('restarted', 'configs/site/site.json'), 'two');
  });

  await step('of many changes at once the last one is there in the end, in the same process', async () => {
    const pid = (await edge.instance('live')).pid;
    await Promise.all(Array.from({ length: 12 }, (_, number) => fabric.apply(config(`change ${number}`))));
    await fabric.apply(config('last'));
    await waitFor('the last one', async () => (await contentOf('live', 'configs/site/site.json')) === 'last');
    await fabric.ready('shop');
    t.is(await contentOf('live', 'configs/site/site.json'), 'last');
    t.is((await edge.instance('live')).pid, pid);
  });

  await step('the daemon is killed: the next one finds them, and brings what changed meanwhile', async () => {
    const pid = (await edge.instance('live')).pid;
    await edge.daemon.kill('SIGKILL');
    t.is(await contentOf('live', 'secrets/db/password'), value);
    await setSecret(later);
    await edge.start();
    await waitFor('the new secret', async () => (await contentOf('live', 'secrets/db/password')) === later);
    const { pid: now } = await waitFor('it to be ready', async () => {
      const one = await edge.instance('live');
      return one.ready ? one : undefined;
    });
    t.is(now, pid);
    t.true((await contentOf('live', 'seen'))?.startsWith(sha256(value)), 'its variable is as it was at the start');
    await waitFor('the other to be replaced', async () =>
      (await contentOf('restarted', 'seen'))?.startsWith(sha256(later)),
    );
    await fabric.ready('shop');
  });

  await step('plain text lies in memory, and in closed files', async () => {
    const link = await readlink(join(folderOf('live'), 'secrets')).catch(() => undefined);
    if ((await findMemoryFolder()) !== undefined) {
      t.true([0x01021994, 0x858458f6].includes((await statfs(link ?? '')).type), link);
      t.is((await lstat(link ?? '')).mode & 0o777, 0o700);
      const inInstances = (await holding(edge.dataFolder, later)).filter(({ path }) => path.startsWith('instances/'));
      t.deepEqual(inInstances, []);
    }
    for (const { dataFolder } of [control, edge]) {
      for (const one of [value, later]) {
        const found = await holding(dataFolder, one);
        t.deepEqual(
          found.filter(({ mode }) => (mode & 0o077) !== 0),
          [],
        );
      }
      t.is((await lstat(dataFolder)).mode & 0o077, 0);
      const store = join(dataFolder, 'store');
      t.is((await lstat(store)).mode & 0o777, 0o700);
      for (const name of await readdir(store)) t.is((await lstat(join(store, name))).mode & 0o777, 0o600, name);
    }
    t.true(
      (await holding(edge.dataFolder, later)).some(({ path }) => path.startsWith('obeyed/')),
      'it boots from there',
    );
    const plan = await holding(join(edge.dataFolder, 'obeyed'), sha256(later));
    t.deepEqual(plan, [], 'not its bare hash either');
  });

  await step('no value in what anybody is told', async () => {
    for (const words of [
      ['secrets', 'list'],
      ['secrets', 'describe', 'db'],
      ['configs', 'describe', 'site'],
      ['describe', 'instance', 'live'],
      ['describe', 'app', 'shop'],
      ['describe', 'node', 'edge-1'],
      ['status', '--all'],
      ['events'],
      ['logs', 'live'],
    ]) {
      for (const form of words.includes('describe') ? [[], ['-o', 'json']] : [['-o', 'json']]) {
        const ran = await selvedge(control.dataFolder, ...words, ...form);
        t.is(ran.status, 0, `${words.join(' ')}: ${ran.error}`);
        said.push(ran.out, ran.error);
      }
    }
    said.push(control.output(), edge.output());
    for (const one of [value, later])
      for (const shape of shapesOf(one)) t.false(said.join('\n').includes(String(shape)));
    const commands = execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' });
    t.false(commands.includes(later));
    const [view] = await selvedgeJson<ContentView[]>(control.dataFolder, 'secrets', 'list');
    t.deepEqual(view, {
      ...{ project: 'default', name: 'db', generation: 2, usedBy: ['shop/live', 'shop/restarted'] },
      keys: [{ key: 'password', bytes: later.length }],
    });
  });

  await step('what is used is not deleted; when all is gone nothing is left in memory', async () => {
    const refused = await selvedge(control.dataFolder, 'secrets', 'delete', 'db');
    t.is(refused.status, 1);
    t.regex(refused.error, /used by shop\/live, shop\/restarted/);
    const removed = await selvedge(control.dataFolder, 'secrets', 'set', 'db', '--remove', 'password');
    t.is(removed.status, 1);
    t.regex(removed.error, /has no "password", which application default\/shop, microservice live takes as a variable/);
    const folder = await readlink(join(folderOf('live'), 'secrets')).catch(() => folderOf('live'));
    await edge.daemon.client.down(true);
    await edge.daemon.ended;
    await t.throwsAsync(lstat(folder), { code: 'ENOENT' }, 'nothing after down --workloads');
    await edge.start();
    await waitFor('it to run again', async () => (await contentOf('live', 'secrets/db/password')) === later);
    await control.daemon.client.deleteApplication('default', 'shop');
    await waitFor('the folder to go', () =>
      lstat(folder).then(
        () => false,
        () => true,
      ),
    );
    await waitFor('the other too', () =>
      lstat(dirname(folder)).then(
        ({ nlink }) => nlink === 2 || undefined,
        () => true,
      ),
    );
    t.is((await selvedge(control.dataFolder, 'secrets', 'delete', 'db')).status, 0);
    t.is((await selvedge(control.dataFolder, 'configs', 'delete', 'site')).status, 0);
    t.is((await selvedge(control.dataFolder, 'configs', 'delete', 'site')).status, 1);
    await waitFor(
      'the node to forget it',
      async () => (await holding(join(edge.dataFolder, 'obeyed'), later)).length === 0,
    );
    t.deepEqual(problemsOf([control, edge]), []);
  });
});

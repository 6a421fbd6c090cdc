// The order of stopping across nodes with the real program: what others depend on stays until they have ended elsewhere, also when the
// controller is killed meanwhile. Each workload writes down when it started, was asked to end and ended.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { selvedge } from './command.ts';
import { createFabric, type FabricNode, waitFor } from './fabric.ts';
import { identityOf } from './processes.ts';
import { tell } from './story.ts';

const store = 'default.chain.store.0';
const shop = 'default.chain.shop.0';

/** Lines are `<nanoseconds> <who> <what>`. Its end takes until there is a file `<who>.go`. */
function workload(folder: string, who: string): string {
  const say = (what: string): string => `echo "$(date +%s%N) ${who} ${what}" >> ${folder}/lines`;
  const end = `${say('asked')}; until [ -e ${folder}/${who}.go ]; do sleep 0.05; done; ${say('ended')}; exit 0`;
  return JSON.stringify([
    'sh',
    '-c',
    `end() { ${end}; }; trap end TERM; ${say('started')}; while :; do sleep 0.05; done`,
  ]);
}

const manifest = (folder: string): string => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: chain }
spec:
  microservices:
    - name: store
      engine: process
      command: ${workload(folder, 'store')}
      stopTimeoutMs: 600000
      placement: { node: control }
    - name: shop
      engine: process
      command: ${workload(folder, 'shop')}
      dependsOn: [store]
      stopTimeoutMs: 600000
      placement: { node: edge-1 }
    - name: sign
      engine: process
      command: ${workload(folder, 'sign')}
      dependsOn: [shop]
      stopTimeoutMs: 600000
      placement: { node: control }`;

test('a deleted application ends across nodes from its last dependant to what all depend on', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-order-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const step = tell(t);
  const { control, edges, ...fabric } = await step('a controller and an edge node', () =>
    createFabric(t, { edges: 1 }),
  );
  const edge = edges[0] as FabricNode;
  const lines = async (): Promise<string[][]> => {
    const text = await readFile(join(folder, 'lines'), 'utf8').catch(() => '');
    return text.split('\n').flatMap((line) => (line === '' ? [] : [line.split(' ')]));
  };
  const said = async (): Promise<string[]> => (await lines()).map(([, who, what]) => `${who} ${what}`);
  const until = (line: string) => waitFor(line, async () => (await said()).includes(line));
  const go = (who: string) => writeFile(join(folder, `${who}.go`), '');
  const described = async (name: string): Promise<string> => {
    const { out, error } = await selvedge(control.dataFolder, 'describe', 'instance', name);
    return `${out}${error}`;
  };
  const stays = (name: string, other: string, node: string) =>
    waitFor(`${name} to stay for ${other}`, async () =>
      (await described(name)).includes(`stays until ${other} on ${node} has ended`),
    );
  await step('all of it starts', async () => {
    await fabric.apply(manifest(folder));
    await fabric.ready('chain');
    // Each has its trap by then.
    for (const who of ['store', 'shop', 'sign']) await until(`${who} started`);
  });
  const before = await Promise.all([control.instance('store'), edge.instance('shop')]);
  const identities = () => Promise.all(before.map(({ pid }) => identityOf(pid)));
  const running = await identities();

  await step('it is deleted: its last dependant is asked alone, and the others say for whom they stay', async () => {
    const deleted = await selvedge(control.dataFolder, 'delete', 'chain');
    t.deepEqual([deleted.status, deleted.out.trim()], [0, 'Application default/chain deleted']);
    await until('sign asked');
    await stays(shop, 'default.chain.sign.0', 'control');
    await stays(store, shop, 'edge-1');
    t.false((await said()).includes('shop asked'));
    await go('sign');
  });

  await step('the controller is killed while the other node has not ended: what it depends on stays on', async () => {
    await until('shop asked');
    await control.daemon.kill('SIGKILL');
    await control.start();
    await stays(store, shop, 'edge-1');
    // It has the lease again, and writes plans.
    await fabric.apply(manifest(folder).replaceAll('chain', 'other').replaceAll(`${folder}/lines`, '/dev/null'));
    await fabric.ready('other');
    t.false((await said()).includes('store asked'));
    t.deepEqual(await identities(), running);
  });

  await step('once it has ended, what it depended on ends', async () => {
    await go('shop');
    await until('store asked');
    await go('store');
    await until('store ended');
    await waitFor('nothing to be left', async () => {
      const instances = (await control.status()).nodes.flatMap((node) => node.instances);
      return instances.every(({ application }) => application !== 'chain');
    });
  });

  const ends = ['sign asked', 'sign ended', 'shop asked', 'shop ended', 'store asked', 'store ended'];
  t.deepEqual((await said()).slice(3), ends);
  const times = (await lines()).map(([at]) => BigInt(at ?? '0'));
  t.true(
    times.every((at, index) => index === 0 || at >= (times[index - 1] as bigint)),
    times.join(),
  );
});

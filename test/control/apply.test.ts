// Apply: all of it or nothing, generations that count changes, and references that exist.

import test from 'ava';
import { createApply } from '../../control/apply.ts';
import { ApplyInterruptedError, ManifestError, StorageRefusedError } from '../../control/errors.ts';
import { createLedger } from '../../control/ledger.ts';
import { faultOf } from '../../control/level-faults.ts';
import { createSystemRandom } from '../../node-runtime/system-random.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createSimStore } from '../../simulations/sim-store.ts';

async function fixture() {
  const fabric = await createSimStore().open('fabric');
  const clock = createSimClock();
  const ledger = createLedger({ fabric, controller: 'box1', clock });
  return { fabric, clock, ledger, ...createApply({ fabric, clock, ledger, random: createSystemRandom() }) };
}

const config = (text: string, name = 'program') => ({
  apiVersion: 'selvedge/v1',
  kind: 'Config',
  metadata: { name },
  spec: { files: { 'a.js': { text } } },
});
const application = (env: Record<string, string>, configs = ['program']) => ({
  apiVersion: 'selvedge/v1',
  kind: 'Application',
  metadata: { name: 'app' },
  spec: { microservices: [{ name: 'web', engine: 'process', command: ['node'], env, configs }] },
});

test('an apply creates, changes, and leaves alone what is the same', async (t) => {
  const { apply, fabric, ledger } = await fixture();
  t.deepEqual(await apply([application({ A: '1' }), config('x')]), {
    applied: [
      { kind: 'Config', project: 'default', name: 'program', generation: 1, change: 'created' },
      { kind: 'Application', project: 'default', name: 'app', generation: 1, change: 'created' },
    ],
    durability: 'local',
  });
  const revision = (await fabric.get('application/default/app'))?._rev;
  const same = await apply([application({ A: '1' }), config('y')]);
  t.deepEqual(
    same.applied.map(({ change, generation }) => `${change} ${generation}`),
    ['changed 2', 'unchanged 1'],
  );
  t.is((await fabric.get('application/default/app'))?._rev, revision);
  t.is((await apply([application({ A: '2' })])).applied[0]?.generation, 2);
  await ledger.stop();
  t.true(
    (await ledger.list()).some(({ type, message }) => type === 'config-applied' && message.includes('generation 2')),
  );
});

test('one bad document of several changes nothing', async (t) => {
  const { apply, fabric } = await fixture();
  await t.throwsAsync(apply([config('x'), { ...application({}), kind: 'Nothing' }]), { instanceOf: ManifestError });
  t.deepEqual(await fabric.list(''), []);
});

test('an apply that the store ends in the middle says what was stored, and is finished by the same again', async (t) => {
  const { fabric, clock, ledger } = await fixture();
  let left = 1;
  const failing = {
    ...fabric,
    update: async (...[id, change]: Parameters<typeof fabric.update>) => {
      if (left === 0) throw new StorageRefusedError('/data/store', new Error('x'), faultOf({ code: 'ENOSPC' }));
      left -= 1;
      await fabric.update(id, change);
    },
  };
  const { apply } = createApply({ random: createSystemRandom(), fabric: failing, clock, ledger });
  const error = await t.throwsAsync(apply([config('x'), application({ A: '1' })]), {
    instanceOf: ApplyInterruptedError,
    message: /^1 of the documents \(Config default\/program\) were stored, 1 more was not: .*no space is left/,
  });
  t.regex(error.action, /Make room on the volume of \/data\/store .*apply the same again/);
  await t.throwsAsync(apply([config('y')]), { instanceOf: StorageRefusedError }, 'nothing of this one was stored');
  left = 2;
  const again = await apply([config('x'), application({ A: '1' })]);
  t.deepEqual(
    again.applied.map(({ change }) => change),
    ['unchanged', 'created'],
  );
});

test('a Config that is nowhere is refused with a guess, one of the same batch or the fabric is accepted', async (t) => {
  const { apply, fabric } = await fixture();
  await apply([config('x')]);
  const error = await t.throwsAsync(apply([application({}, ['program', 'progam'])], { source: ['app.yaml'] }), {
    instanceOf: ManifestError,
  });
  t.like((error as ManifestError).issues[0], {
    path: 'spec.microservices[0].configs[1]',
    didYouMean: 'program',
    source: 'app.yaml',
  });
  t.is(await fabric.get('application/default/app'), undefined);
  await apply([application({}, ['program', 'second']), config('y', 'second')]);
  t.truthy(await fabric.get('application/default/app'));
});

test('a dry run says what would change and changes nothing', async (t) => {
  const { apply, fabric, ledger } = await fixture();
  const { applied } = await apply([config('x'), application({})], { dryRun: true });
  t.deepEqual(
    applied.map(({ change }) => change),
    ['created', 'created'],
  );
  t.deepEqual(await fabric.list(''), []);
  t.deepEqual(await ledger.list(), []);
});

test('two applies at once end as one after the other', async (t) => {
  const { apply, fabric } = await fixture();
  const views = await Promise.all(['1', '2', '3'].map((value) => apply([config('x'), application({ A: value })])));
  t.deepEqual(
    views.map(({ applied }) => applied[1]?.generation),
    [1, 2, 3],
  );
  t.is((await fabric.get('application/default/app'))?.generation, 3);
});

test('delete removes an application once', async (t) => {
  const { apply, deleteApplication, fabric } = await fixture();
  await apply([config('x'), application({})]);
  await deleteApplication('default', 'app');
  t.is(await fabric.get('application/default/app'), undefined);
  await t.throwsAsync(deleteApplication('default', 'app'), { name: 'NotFoundError' });
});

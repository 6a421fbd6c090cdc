// Changed content for running instances: one at a time, the newest in the end, tried again, and none for what does not run. And what is made
// of a plan's files.

import test from 'ava';
import type { PlannedInstance, WorkloadSpec } from '../../control/plan.ts';
import { saltContent } from '../../control/salted-content.ts';
import { contentKey } from '../../control/workload-spec.ts';
import { createContentUpdates } from '../../node-runtime/content-updates.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { mountsOf, variablesOf } from '../../node-runtime/workload-content.ts';
import { eventually } from '../eventually.ts';
import { plannedInstance } from './plan-world.ts';

const planned = (sha256: string): PlannedInstance => {
  const one = plannedInstance('default.app.web.0');
  return { ...one, spec: { ...one.spec, configs: [{ name: 'site', files: [{ path: 'a', slot: 's', sha256 }] }] } };
};

test('changes that come while one is laid down are laid down after it, the newest alone', async (t) => {
  const laid: string[] = [];
  const gates: (() => void)[] = [];
  let wanted = planned('1');
  let content: string | undefined = contentKey(planned('0').spec);
  const updates = createContentUpdates({
    clock: createSystemClock(),
    running: () => (content === undefined ? undefined : { planned: wanted, content }),
    async lay(_instance, one) {
      await new Promise<void>((resolve) => gates.push(resolve));
      laid.push(one.spec.configs[0]?.files[0]?.sha256 ?? '');
      content = contentKey(one.spec);
    },
    onLaid: (instance) => updates.look(instance),
    onProblem: (message) => t.fail(message),
  });
  updates.look('web');
  for (const next of ['2', '3', '4']) {
    wanted = planned(next);
    updates.look('web');
  }
  t.is(gates.length, 1);
  gates[0]?.();
  await eventually(() => gates.length === 2);
  gates[1]?.();
  await eventually(() => laid.length === 2);
  t.deepEqual(laid, ['1', '4']);
  updates.look('web');
  content = undefined;
  wanted = planned('5');
  updates.look('web');
  t.is(gates.length, 2, 'what it has already, and what does not run');
});

test('what cannot be laid down is said, and tried again', async (t) => {
  const problems: string[] = [];
  let content = '';
  const updates = createContentUpdates({
    clock: createSystemClock(),
    running: () => ({ planned: planned('1'), content }),
    async lay(_instance, one) {
      if (problems.length === 0) throw new Error('no space');
      content = contentKey(one.spec);
    },
    onLaid: () => undefined,
    onProblem: (message) => void problems.push(message),
  });
  updates.look('web');
  await eventually(() => content !== '');
  t.is(problems.length, 1);
  t.regex(problems[0] ?? '', /^web does not have its new Configs and Secrets yet: .*no space/);
});

const salt = Buffer.alloc(32, 1);
const bytesOf = (text: string): Buffer => Buffer.from(saltContent(Buffer.from(text), salt), 'base64');
const reference = (sha256: string) => ({ slot: sha256, sha256 });

test('mounts and variables come from the files of the plan; what is missing or no text is named, without its value', (t) => {
  const spec: WorkloadSpec = {
    ...plannedInstance('default.app.web.0').spec,
    configs: [{ name: 'site', files: [{ path: 'a', ...reference('plain') }] }],
    secrets: [{ name: 'db', files: [{ path: 'password', ...reference('salted') }] }],
    envFrom: {
      SITE: { config: 'site', key: 'a', ...reference('plain') },
      PASSWORD: { secret: 'db', key: 'password', ...reference('salted') },
    },
  };
  const files = new Map<string, Uint8Array>([
    ['plain', Buffer.from('open')],
    ['salted', bytesOf('hidden')],
  ]);
  t.deepEqual(
    mountsOf(spec, files).map(({ kind, name, files: laid }) => [
      `${kind}/${name}`,
      ...laid.map(({ path, content }) => `${path}=${Buffer.from(content).toString()}`),
    ]),
    [
      ['configs/site', 'a=open'],
      ['secrets/db', 'password=hidden'],
    ],
  );
  t.deepEqual(variablesOf(spec, files), { env: { SITE: 'open' }, secretEnv: { PASSWORD: 'hidden' } });
  const without = (sha256: string, content?: Uint8Array) => {
    const other = new Map(files);
    other.delete(sha256);
    if (content !== undefined) other.set(sha256, content);
    return other;
  };
  const name = 'ContentUnusableError';
  t.throws(() => mountsOf(spec, without('salted')), { name, message: 'password of Secret db is not in the plan' });
  t.throws(() => mountsOf(spec, without('plain')), { name, message: 'a of Config site is not in the plan' });
  for (const bad of ['hid\0den', '\u{fffd}'.repeat(100_000)]) {
    const error = t.throws(() => variablesOf(spec, without('salted', bytesOf(bad))), { name });
    t.regex(error?.message ?? '', /^variable PASSWORD: password of Secret db is (no text|too long)/);
  }
  t.throws(() => variablesOf(spec, without('salted', Buffer.concat([salt, Buffer.from([0xff, 0xfe])]))), { name });
});

// Configs and Secrets as operators apply, set, see and remove them: what is refused, what stays as it is, and that no value comes back.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { createApply, createTurns } from '../../control/apply.ts';
import { createContents } from '../../control/contents.ts';
import { ManifestError, RequestRefusedError } from '../../control/errors.ts';
import type { SecretRecord } from '../../control/fabric.ts';
import { createLedger } from '../../control/ledger.ts';
import { holdsValue, saltContent, saltedBytes, unsaltContent } from '../../control/salted-content.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSystemRandom } from '../../node-runtime/system-random.ts';
import { createSimStore } from '../../simulations/sim-store.ts';
import { cli, fakeDaemon, temporaryFolder, testHost } from './cli-harness.ts';

const clock = createSystemClock();

async function fixture() {
  const fabric = await createSimStore().open('fabric');
  const ledger = createLedger({ fabric, controller: 'box1', clock });
  const serialized = createTurns();
  const applying = createApply({ fabric, clock, random: createSystemRandom(), ledger, serialized });
  const contents = createContents({ fabric, ledger, serialized, applyNow: applying.applyNow });
  return { fabric, ledger, ...applying, ...contents };
}

const value = 'correct horse battery';
const base64 = (text: string): string => Buffer.from(text).toString('base64');
const secret = (data: Record<string, unknown>) => ({
  ...{ apiVersion: 'selvedge/v1', kind: 'Secret', metadata: { name: 'db' } },
  spec: { data },
});
const config = (files: Record<string, unknown>) => ({
  ...{ apiVersion: 'selvedge/v1', kind: 'Config', metadata: { name: 'site' } },
  spec: { files },
});
const application = (changes: Record<string, unknown>) => ({
  ...{ apiVersion: 'selvedge/v1', kind: 'Application', metadata: { name: 'app' } },
  spec: { microservices: [{ name: 'web', engine: 'process', command: ['run'], ...changes }] },
});

async function refusal(t: ExecutionContext, applying: Promise<unknown>): Promise<string> {
  const error = await t.throwsAsync(applying, { instanceOf: ManifestError });
  t.false(`${error?.message}${JSON.stringify(error)}`.includes('horse'), 'no value in a refusal');
  return (error as ManifestError).issues.map(({ path, reason }) => `${path} ${reason}`).join('\n');
}

/** A refusal of `setSecret`: in the words of who typed it, without the manifest that is made of it. */
async function typed(t: ExecutionContext, setting: Promise<unknown>, field: string, said: RegExp): Promise<void> {
  const error = await t.throwsAsync<RequestRefusedError>(setting, { instanceOf: RequestRefusedError });
  t.is(error.field, field, error.message);
  t.regex(`${error.message}; ${error.accepted ?? ''}`, said);
  const all = `${error.message}${JSON.stringify(error)}`;
  t.notRegex(all, /horse|document 1|apply again|metadata/);
}

test('a value that stays keeps its salt, one that changes gets another; events and views have none', async (t) => {
  const { apply, fabric, ledger, list, describe } = await fixture();
  const read = async () => ((await fabric.get('secret/default/db')) as unknown as SecretRecord).data;
  await apply([secret({ password: { text: value }, token: { base64: base64('t') } })]);
  const before = await read();
  const same = await apply([secret({ password: { text: value }, token: { text: 't' } })]);
  t.is(same.applied[0]?.change, 'unchanged');
  t.is((await apply([secret({ password: { text: value }, token: { text: 'u' } })])).applied[0]?.generation, 2);
  const after = await read();
  t.is(after['password'], before['password']);
  t.not(after['token']?.slice(0, 40), before['token']?.slice(0, 40));
  t.true(holdsValue(after['password'] ?? '', Buffer.from(value)));
  const told = JSON.stringify([await list('secret'), await describe('secret', 'default', 'db'), await ledger.list()]);
  t.false(told.includes(value) || told.includes(base64(value)));
  t.deepEqual((await describe('secret', 'default', 'db'))?.keys, [
    { key: 'password', bytes: value.length },
    { key: 'token', bytes: 1 },
  ]);
  t.is(await describe('secret', 'other', 'db'), undefined);
});

test('salted content is what it was, and of no fixed hash', (t) => {
  const random = createSystemRandom();
  const bytes = Buffer.from(value);
  const [one, other] = [saltContent(bytes, random.bytes(32)), saltContent(bytes, random.bytes(32))];
  t.not(one, other);
  t.is(Buffer.from(unsaltContent(Buffer.from(one, 'base64'))).toString(), value);
  t.is(saltedBytes(one), value.length);
  t.false(holdsValue(one, Buffer.from('something else')));
  t.true(holdsValue(saltContent(new Uint8Array(), random.bytes(32)), new Uint8Array()));
});

test('what is wrong with a Secret is said without its value', async (t) => {
  const { apply, fabric } = await fixture();
  const cases: [unknown, RegExp][] = [
    [secret({ password: value }), /spec\.data\.password is a string, not an object/],
    [secret({ password: { base64: value } }), /spec\.data\.password\.base64 is not base64/],
    [secret({ password: { text: value, base64: base64(value) } }), /says both text and base64/],
    [secret({ password: {} }), /says neither text nor base64/],
    [secret({ password: { txt: value } }), /is not a known field/],
    [secret({ 'a/b': { text: value } }), /this name is not accepted/],
    [secret({ '.hidden': { text: value } }), /this name is not accepted/],
    [secret({ password: { text: `horse${'x'.repeat(256 * 1024)}` } }), /larger than 256 KiB/],
    [secret(Object.fromEntries(Array.from({ length: 65 }, (_, key) => [`k${key}`, { text: value }]))), /64 keys/],
    [
      secret(Object.fromEntries(Array.from({ length: 5 }, (_, key) => [`k${key}`, { text: 'x'.repeat(250_000) }]))),
      /bytes in all/,
    ],
  ];
  for (const [manifest, reason] of cases) t.regex(await refusal(t, apply([manifest])), reason);
  t.deepEqual(await fabric.list(''), []);
});

test('references are checked: names, keys, both at once; a bad mount says what is accepted', async (t) => {
  const { apply } = await fixture();
  await apply([secret({ password: { text: value } }), config({ 'site.json': { text: '{}' } })]);
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ secrets: ['bd'] }, /secrets\[0\] there is no Secret "bd" in project default/],
    [{ secrets: ['db', 'db'] }, /"db" is there twice/],
    [{ secrets: [{ name: 'db', onChange: 'reload' }] }, /secrets\[0\]/],
    [{ env: { A: { secret: 'db', key: 'pasword' } } }, /env\.A\.key Secret db has no "pasword"/],
    [{ env: { A: { config: 'site', key: 'site.jsn' } } }, /Config site has no "site\.jsn"/],
    [{ env: { A: { secret: 'site', key: 'site.json' } } }, /there is no Secret "site"/],
    [{ env: { A: { secret: 'db', config: 'site', key: 'x' } } }, /says both secret and config/],
    [{ env: { A: { key: 'x' } } }, /says neither secret nor config/],
    [{ configs: ['missing'] }, /there is no Config "missing"/],
  ];
  for (const [changes, reason] of cases) t.regex(await refusal(t, apply([application(changes)])), reason);
  const good = application({
    ...{ configs: ['site'], secrets: [{ name: 'db', onChange: 'update' }] },
    env: {
      A: 'plain',
      B: { secret: 'db', key: 'password', onChange: 'restart' },
      C: { config: 'site', key: 'site.json' },
    },
  });
  await apply([good]);
  t.is((await apply([good])).applied[0]?.change, 'unchanged');
});

test('what somebody uses is not removed, nor a key that somebody takes', async (t) => {
  const { apply, remove, setSecret, list, deleteApplication } = await fixture();
  await apply([
    secret({ password: { text: value }, spare: { text: 'x' } }),
    config({ 'site.json': { text: '{}' } }),
    application({ configs: ['site'], env: { A: { secret: 'db', key: 'password' } } }),
  ]);
  for (const [kind, name] of [
    ['secret', 'db'],
    ['config', 'site'],
  ] as const) {
    const error = await t.throwsAsync(remove(kind, 'default', name), { name: 'ContentInUseError' });
    t.regex(error?.message ?? '', /is used by app\/web/);
    t.deepEqual((await list(kind))[0]?.usedBy, ['app/web']);
  }
  t.regex(
    await refusal(t, apply([secret({ spare: { text: 'x' } })])),
    /spec\.data has no "password", which application default\/app, microservice web takes as a variable/,
  );
  await typed(
    t,
    setSecret('default', 'db', { set: {}, remove: ['password'] }),
    'data',
    /has no "password", which application default\/app, microservice web takes/,
  );
  t.is((await setSecret('default', 'db', { set: { more: base64('y') }, remove: ['spare'] })).generation, 2);
  t.deepEqual(
    (await list('secret'))[0]?.keys.map(({ key }) => key),
    ['password', 'more'],
  );
  await t.throwsAsync(setSecret('default', 'db', { set: {}, remove: ['spare'] }), { name: 'NotFoundError' });
  await typed(
    t,
    setSecret('default', 'db', { set: { 'a/b': base64(value) }, remove: [] }),
    'key a/b',
    /a name such as/,
  );
  await typed(
    t,
    setSecret('default', 'Data_Base', { set: { a: 'eA==' }, remove: [] }),
    'name',
    /"data-base".*a DNS label/,
  );
  await typed(t, setSecret('No Project', 'db', { set: { a: 'eA==' }, remove: [] }), 'project', /a DNS label/);
  await typed(t, setSecret('default', 'db', { set: { a: 'horse' }, remove: [] }), 'key a', /base64/);
  await deleteApplication('default', 'app');
  await remove('secret', 'default', 'db');
  await remove('config', 'default', 'site');
  await t.throwsAsync(remove('config', 'default', 'site'), { name: 'NotFoundError' });
  t.deepEqual([await list('secret'), await list('config')], [[], []]);
});

test('settings of one Secret at once all count', async (t) => {
  const { setSecret, describe } = await fixture();
  const keys = Array.from({ length: 10 }, (_, number) => `k${number}`);
  await Promise.all(keys.map((key) => setSecret('default', 'db', { set: { [key]: base64(key) }, remove: [] })));
  const view = await describe('secret', 'default', 'db');
  t.deepEqual(view?.keys.map(({ key }) => key).sort(), keys);
  t.is(view?.generation, 10);
});

const applied = { kind: 'Secret', project: 'default', name: 'db', generation: 1, change: 'created' };

test('secrets set reads files and stdin, byte for byte, and refuses what would be misunderstood', async (t) => {
  const folder = await temporaryFolder(t);
  const asked = await fakeDaemon(t, folder, { 'POST /v1/secrets/default/db': applied });
  const file = join(folder, 'value');
  writeFileSync(file, `${value}\n`);
  const set = (args: string[], input = '') =>
    cli(['--data', folder, 'secrets', 'set', 'db', ...args], testHost({ input }));
  const ran = await set(['--from-file', `password=${file}`, '--from-file', 'token=-', '--remove', 'old'], 'from stdin');
  t.deepEqual([ran.status, ran.out, ran.error], [0, 'Secret default/db created (generation 1)', '']);
  t.deepEqual(asked[0]?.body, {
    set: { password: base64(`${value}\n`), token: base64('from stdin') },
    remove: ['old'],
  });
  const refused: [string[], number, RegExp][] = [
    [[], 2, /nothing to set/],
    [['--from-file', 'password'], 2, /KEY=PATH/],
    [['--from-file', `=${file}`], 2, /KEY=PATH/],
    [['--from-file', 'a=-', '--from-file', 'b=-'], 2, /stdin is one value/],
    [['--from-file', `a=${file}`, '--from-file', `a=${file}`], 2, /a is there twice/],
    [['--from-file', `a=${file}-missing`], 1, /there is no such file/],
    [['--from-file', `a=${folder}`], 1, /it is a folder/],
  ];
  for (const [args, status, error] of refused) {
    const one = await set(args);
    t.is(one.status, status, one.error);
    t.regex(one.error, error);
  }
  writeFileSync(file, 'x'.repeat(256 * 1024 + 1));
  t.regex((await set(['--from-file', `a=${file}`])).error, /more than 262144 bytes/);
  t.regex((await set(['--from-file', 'a=-'], 'x'.repeat(256 * 1024 + 1))).error, /stdin has more than/);
  t.is(asked.length, 1);
});

test('a list says names, sizes and users; an empty one says what makes one', async (t) => {
  const folder = await temporaryFolder(t);
  const view = {
    ...{ project: 'default', name: 'db', generation: 3, usedBy: ['app/web'] },
    keys: [
      { key: 'password', bytes: 7 },
      { key: 'tls.key', bytes: 30 },
    ],
  };
  await fakeDaemon(t, folder, {
    'GET /v1/secrets': [view],
    'GET /v1/configs': [],
    'GET /v1/secrets/shop/db': view,
    'DELETE /v1/secrets/default/db': { deleted: { project: 'default', name: 'db' } },
  });
  const run = async (...args: string[]) => (await cli(['--data', folder, ...args])).out;
  t.regex(await run('secrets', 'list'), /default\/db +3 +37 B +password tls\.key +app\/web/);
  t.is(await run('configs', 'list'), 'No Config yet. `selvedge apply FILE` makes one.');
  t.regex(await run('secrets', 'describe', 'db', '-p', 'shop'), /used by +app\/web[\s\S]*tls\.key +30 B/);
  t.deepEqual(JSON.parse(await run('secrets', 'list', '-o', 'json')), [view]);
  t.is(await run('secrets', 'delete', 'db'), 'Secret default/db deleted');
});

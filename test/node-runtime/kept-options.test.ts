// What a box was told by `selvedge up` and keeps: on a real folder, beside a real key.

import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { BoxOption, BoxOptions } from '../../control/box-options.ts';
import { checkKeptOptions } from '../../node-runtime/doctor/kept-options.ts';
import { KeptOptionsError } from '../../node-runtime/errors.ts';
import { createFileDisk } from '../../node-runtime/file-disk.ts';
import { keptOptionsFile, settleOptions } from '../../node-runtime/kept-options.ts';
import { createKeyFile, identityFile } from '../../node-runtime/membership.ts';
import { readOwnFiles } from '../../node-runtime/own-files.ts';
import { createNodeKeys } from '../../pki/node-keys.ts';

async function box(t: ExecutionContext) {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-options-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const keys = createNodeKeys();
  const path = join(folder, keptOptionsFile);
  await createKeyFile(createFileDisk(folder), keys, identityFile, 'Ed25519');
  return {
    folder,
    path,
    /** One start. */
    async up(given: BoxOptions = {}, forget: BoxOption[] = []): Promise<BoxOptions> {
      const { options, keep } = await settleOptions({ disk: createFileDisk(folder), keys, given, forget });
      await keep();
      return options;
    },
    kept: async () => (JSON.parse(await readFile(path, 'utf8')) as { options: BoxOptions }).options,
    async doctor() {
      const disk = createFileDisk(folder);
      const own = await readOwnFiles(disk, keys).catch(() => undefined);
      return await checkKeptOptions({ own }, disk);
    },
  };
}

const all: BoxOptions = {
  allow: ['devices', 'users'],
  allowImage: ['registry.example/*', 'docker.io/library/nginx'],
  processUser: 'app:dialout',
  registryAuth: '/etc/selvedge/registries.json',
  containerRange: '10.64.0.0/16',
  location: 'hall 2, by the press',
};

test('what was said holds until it is said anew or forgotten, each option by itself', async (t) => {
  const { up, kept, path } = await box(t);
  t.deepEqual(await up(), {});
  await t.throwsAsync(stat(path), { code: 'ENOENT' }, 'a box that was told nothing has no file');
  t.deepEqual(await up(all), all);
  t.is((await stat(path)).mode & 0o777, 0o600);
  t.deepEqual(await up(), all, 'as after a reboot');
  t.deepEqual(await up({ allow: ['privileged'] }), { ...all, allow: ['privileged'] }, 'it replaces what was kept');
  const { processUser: _, location: __, ...rest } = { ...all, allow: ['privileged'] as BoxOptions['allow'] };
  t.deepEqual(await up({}, ['processUser', 'location']), rest);
  t.deepEqual(await kept(), rest);
  t.deepEqual(await up({}, ['processUser']), rest, 'twice is once');
  const before = await stat(path);
  await up({ allow: ['privileged'] });
  t.is((await stat(path)).ino, before.ino, 'what says nothing new writes nothing');
});

test('what is damaged, foreign or unknown ends the start and changes nothing; the doctor says so too', async (t) => {
  const { up, path, folder, doctor } = await box(t);
  await up(all);
  const good = await readFile(path, 'utf8');
  const { peerId, options } = JSON.parse(good) as { peerId: string; options: BoxOptions };
  const wrong: [string, RegExp][] = [
    ['', /it is no JSON/],
    [good.slice(0, good.length / 2), /it is no JSON/],
    ['[]', /does not accept its form/],
    [JSON.stringify({ peerId }), /does not accept its options/],
    [JSON.stringify({ peerId: `${peerId}x`, options }), /it is of another node, peer /],
    [JSON.stringify({ peerId, options: { ...options, processUser: 'a b' } }), /its options\.processUser/],
    [JSON.stringify({ peerId, options: { ...options, allow: ['everything'] } }), /its options\.allow\.0/],
    [JSON.stringify({ peerId, options: { ...options, allowImage: '*' } }), /its options\.allowImage/],
    [JSON.stringify({ peerId, options: { ...options, closeAll: true } }), /its options\.closeAll/],
  ];
  for (const [text, message] of wrong) {
    await writeFile(path, text);
    for (const given of [{}, all]) {
      const error = await t.throwsAsync<KeptOptionsError>(up(given), { instanceOf: KeptOptionsError, message }, text);
      t.regex(error.message, /kept-options\.json of the data folder is damaged/);
      t.regex(error.action, /backup[\s\S]*remove it[\s\S]*--process-user/);
    }
    t.is(await readFile(path, 'utf8'), text, 'nobody mends it by guessing');
    t.like(await doctor(), { id: 'options', outcome: 'fail' });
  }
  await rm(path);
  await chmod(folder, 0o700);
  t.deepEqual(await up({ processUser: 'app' }), { processUser: 'app' }, 'removed by hand, and told anew');
});

test('the doctor says what holds', async (t) => {
  const { up, doctor } = await box(t);
  t.like(await doctor(), {
    outcome: 'ok',
    message:
      "programs run as the daemon's user unless they name another; images: all; allowed: nothing beyond a container (no option of `selvedge up` is kept)",
  });
  await up(all);
  const { message } = await doctor();
  t.regex(
    message,
    /^programs run as app:dialout; images: registry\.example\/\*, .*nginx; allowed: devices, users \(kept: --allow devices /,
  );
});

test('a start that is refused keeps nothing', async (t) => {
  const { up, kept, folder } = await box(t);
  await up({ allow: ['devices'] });
  const keys = createNodeKeys();
  const { options } = await settleOptions({ disk: createFileDisk(folder), keys, given: all, forget: ['allow'] });
  t.deepEqual(options, all);
  t.deepEqual(await kept(), { allow: ['devices'] });
});

test('an option for a member whose key is gone makes no other key', async (t) => {
  const { up, folder } = await box(t);
  await up(all);
  await rm(join(folder, 'identity.pem'));
  await writeFile(join(folder, 'boot-counter'), '1 x\n');
  await t.throwsAsync(up({ location: 'elsewhere' }));
  await t.throwsAsync(stat(join(folder, 'identity.pem')), { code: 'ENOENT' });
});

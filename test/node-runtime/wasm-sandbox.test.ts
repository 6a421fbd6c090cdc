// What a module gets of its box: its arguments, the environment and the folders that were declared, and no more.

import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { launchOf } from '../conformance/engine.ts';
import { eventually } from '../eventually.ts';
import { skip } from '../skip.ts';
import { behaveModule, createWasmWorld, INSTANCE, wasmMissing } from './wasm-world.ts';

const missing = await wasmMissing();
/** Error numbers of WASI preview 1. */
const [acces, perm, rofs, spipe, notcapable] = [2, 63, 69, 70, 76];
const lines = (text: string): string[] => text.trimEnd().split('\n');

if (missing !== undefined) test('the sandbox of modules', (t) => skip(t, missing));
else {
  const module = await behaveModule();

  test('a module reads and writes its volume, and nothing outside of it', async (t) => {
    const world = await createWasmWorld(module);
    t.teardown(world.close);
    const folder = world.volume('data');
    await mkdir(join(folder, 'inner'), { recursive: true });
    await writeFile(join(folder, 'inner', 'kept'), 'kept\n');
    await symlink('/etc', join(folder, 'etc'));
    await symlink('/etc/passwd', join(folder, 'passwd'));
    await symlink('../../../../../../etc', join(folder, 'up'));
    await symlink(join(folder, 'nowhere-yet'), join(folder, 'within'));
    await symlink('/tmp/selvedge-no-such-file', join(folder, 'dangling'));
    await symlink('inner', join(folder, 'inside'));
    const refused = [
      ...['read:/etc/passwd', 'read:../../../../../../../etc/passwd', 'read:inner/../../secret'],
      ...['read:etc/passwd', 'read:passwd', 'read:up/passwd', 'write:dangling', 'write:etc/selvedge'],
      ...['unlink:etc/passwd', 'move:etc/passwd'],
    ];
    const { stdout, exit } = await world.run({
      args: [...refused, 'read:inner/kept', 'read:inside/kept', 'write:new', 'link', 'raise', 'cut', 'close'],
      volumes: [{ name: 'data', path: '/data' }],
    });
    t.is(exit.status, 0);
    const said = lines(stdout);
    t.deepEqual(
      said.slice(0, refused.length),
      refused.map(() => `${notcapable}`),
      'each is refused',
    );
    const [kept, inside, written, linked, raised, cut, closed] = said.slice(refused.length);
    t.deepEqual([kept, inside, written], ['kept', 'kept', '0']);
    t.deepEqual([linked, raised, cut, closed], [`${perm}`, '52', `${spipe}`, '0']);
  });

  test('a read-only volume is read, and not changed', async (t) => {
    const world = await createWasmWorld(module);
    t.teardown(world.close);
    await mkdir(world.volume('data'), { recursive: true });
    await writeFile(join(world.volume('data'), 'file'), 'text\n');
    const { stdout } = await world.run({
      args: ['read:file', 'write:file', 'write:new', 'unlink:file', 'move:file', 'read:file'],
      volumes: [{ name: 'data', path: '/data', readOnly: true }],
    });
    t.deepEqual(lines(stdout), ['text', ...Array<string>(4).fill(`${rofs}`), 'text']);
  });

  test('pipes and devices are not opened, and files not without end', async (t) => {
    const world = await createWasmWorld(module);
    t.teardown(world.close);
    const host = await mkdtemp(join(tmpdir(), 'selvedge-host-'));
    t.teardown(() => rm(host, { recursive: true, force: true }));
    const { stdout } = await world.run({
      args: ['read:null', 'read:zero'],
      volumes: [{ name: 'data', path: '/data', hostPath: '/dev' }],
    });
    t.deepEqual(lines(stdout), [`${acces}`, `${acces}`]);
    await writeFile(join(host, 'file'), '');
    const many = await world.run({ args: ['fill:file'], volumes: [{ name: 'data', path: '/data', hostPath: host }] });
    t.is(many.stdout, '255\n');
  });

  test('a module sees the environment that was declared, and none of its box', async (t) => {
    const world = await createWasmWorld(module);
    t.teardown(world.close);
    const env = { COLOUR: 'green', NODE_OPTIONS: '--no-such-option', LD_PRELOAD: '/nowhere.so', PATH: '/own' };
    const { stdout, stderr, exit } = await world.run({ args: ['env'], env });
    t.deepEqual(lines(stdout).sort(), [
      'COLOUR=green',
      'LD_PRELOAD=/nowhere.so',
      'NODE_OPTIONS=--no-such-option',
      'PATH=/own',
    ]);
    t.is(stderr, '');
    t.is(exit.status, 0);
  });

  test('its configs are read-only, and its identity is not seen', async (t) => {
    const world = await createWasmWorld(module);
    t.teardown(world.close);
    const identity = { path: 'identity/key.pem', content: Buffer.from('secret\n'), mode: 0o400 };
    const mount = (kind: 'configs' | 'secrets', name: string, content: string) => ({
      ...{ kind, name, files: [{ path: 'settings', content: Buffer.from(content) }] },
    });
    const mounts = [mount('configs', 'web', 'from config\n'), mount('secrets', 'db', 'from secret\n')];
    const args = ['read:web/settings', 'write:web/settings', 'read:../identity/key.pem', 'read:identity/key.pem'];
    const { stdout } = await world.run({ args }, { files: [identity], mounts });
    t.deepEqual(lines(stdout), ['from config', `${rofs}`, `${notcapable}`, '44']);
    const secret = await world.run({ args: ['read:db/settings'] }, { mounts: mounts.slice(1) });
    t.deepEqual(lines(secret.stdout), ['from secret']);
  });

  test('a secret variable reaches the module alone: no file of the instance holds it, and it means nothing to Node', async (t) => {
    const world = await createWasmWorld(module);
    t.teardown(world.close);
    const secretEnv = { PASSWORD: 'kept to itself', NODE_OPTIONS: '--no-such-option' };
    const spec = world.specOf({ args: ['env'] });
    await world.engine.stage(spec, () => undefined, new AbortController().signal);
    await world.engine.launch({ ...launchOf(['unused']), spec, secretEnv });
    await world.engine.waitForExit(INSTANCE);
    t.deepEqual(lines(await world.text('stdout.log')).sort(), [
      'NODE_OPTIONS=--no-such-option',
      'PASSWORD=kept to itself',
    ]);
    t.is(await world.text('stderr.log'), '');
    t.false((await world.text('wasm.json')).includes('kept to itself'));
  });

  test('memory grows up to its limit, and the module goes on', async (t) => {
    const world = await createWasmWorld(module);
    t.teardown(world.close);
    const { stdout, exit } = await world.run({ args: ['grow:60000', 'print:on'], memory: '16Mi' });
    t.is(exit.status, 0);
    const [pages, on] = lines(stdout);
    t.is(on, 'on');
    t.true(Number(pages) > 200 && Number(pages) <= 256, `16 MiB are 256 pages: ${pages}`);
  });

  test('on a box without control groups the memory of each run is held all the same, and that is said', async (t) => {
    const world = await createWasmWorld(module, { trial: { proc: '/selvedge-no-such-proc' } });
    t.teardown(world.close);
    const { stdout, exit } = await world.run({ args: ['grow:60000'], memory: '16Mi' });
    t.is(exit.status, 0);
    t.true(Number(stdout) <= 256, stdout);
    const held = world.engine.notHeld(world.specOf({ memory: '16Mi' }));
    t.is(held, 'memory is held for each run of the module, and not for its process');
    t.is(world.engine.notHeld(world.specOf({})), undefined);
  });

  test('what it printed to its end is cut to the bounds of logs, and a trap is an exit', async (t) => {
    const world = await createWasmWorld(module, { trial: { logBytesMax: 256 * 1024 } });
    t.teardown(world.close);
    await world.launch({ args: ['flood'] });
    await eventually(async () => (await world.text('stdout.log.1')).length > 0, { what: 'a log that was moved aside' });
    await world.engine.terminate(INSTANCE, 0);
    await world.engine.remove(INSTANCE);
    const { exit, stderr } = await world.run({ args: ['print:before', 'trap'] });
    t.is(exit.status, 134);
    t.is(stderr, 'selvedge: the module failed: unreachable\n');
  });

  test('a module that loops is ended like any other', async (t) => {
    const world = await createWasmWorld(module);
    t.teardown(world.close);
    await world.launch({ args: ['print:looping', 'loop'] });
    await eventually(async () => (await world.text('stdout.log')) === 'looping\n', { what: 'the loop' });
    const exit = await world.engine.terminate(INSTANCE, 10_000);
    t.is(exit?.signal, 'SIGTERM');
  });
}

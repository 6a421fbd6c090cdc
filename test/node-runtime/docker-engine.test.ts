// The docker engine against the conformance body, with real containers, and what only containers have.

import { once } from 'node:events';
import { mkdir, readdir, readFile, realpath, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test from 'ava';
import type { DockerOptions, VolumeSpec } from '../../control/plan.ts';
import type { FileMount, Launch } from '../../node-runtime/engine.ts';
import { DockerUnavailableError, ExecFailedError, NameServerError } from '../../node-runtime/errors.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { launchOf, testEngine } from '../conformance/engine.ts';
import { eventually } from '../eventually.ts';
import { skip } from '../skip.ts';
import { containersUnderTest, createContainerWorld } from './container-world.ts';
import { busyboxImage, type Dockerd, dockerMissing, startDockerd } from './dockerd.ts';
import { assertNothingLeft, assertTerminals, type Exec } from './exec-terminals.ts';
import { createHardwareTree } from './hardware-tree.ts';
import { pidsWith } from './process-world.ts';
import { startRegistry } from './registry.ts';

const clock = createSystemClock();
const missing = await dockerMissing();
const dockerd: Dockerd | undefined = missing === undefined ? await startDockerd() : undefined;
test.after.always(() => dockerd?.close());

/** This file's own: an engine beside it, of another test, knows nothing of the networks that are being made here. */
const range = '10.211.0.0/16';
const createWorld = (host: string) => createContainerWorld(host, range);

if (dockerd === undefined) test('the docker engine', (t) => skip(t, missing ?? ''));
else {
  // One after the other: Docker makes a network for each, which takes it most of a second.
  testEngine(test.serial, 'docker engine', () => containersUnderTest(dockerd.host, range));

  test.serial(
    'every file of a container’s folder, damaged: the next daemon’s engine knows the instance and runs it again',
    async (t) => {
      const world = await createWorld(dockerd.host);
      t.teardown(world.close);
      const launch = launchOf(['/bin/sh', '/workload.sh', 'run'], {
        files: [{ path: 'configs/words/a.txt', content: Buffer.from('words to be cut in half'), mode: 0o400 }],
      });
      let { engine } = world;
      const pathsOf = async (): Promise<string[]> => {
        const entries = await readdir(world.folder, { recursive: true, withFileTypes: true });
        return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
      };
      // Twice: the second container keeps what the first one said.
      for (let turn = 0; turn < 2; turn += 1) {
        await engine.launch(launch);
        await engine.terminate(launch.instance, 1_000);
      }
      const paths = await pathsOf();
      for (const name of ['asked.json', 'a.txt'])
        t.true(
          paths.some((path) => path.endsWith(name)),
          name,
        );
      for (const path of paths) {
        for (const how of ['cut in half', 'a folder in its place'] as const) {
          if (how === 'cut in half') await truncate(path, Math.floor((await stat(path)).size / 2));
          else {
            await rm(path);
            await mkdir(path);
          }
          const about = `${path.slice(world.folder.length)} ${how}`;
          await engine.stop();
          engine = await world.adopt();
          t.deepEqual(
            (await engine.list()).map(({ instance, pid }) => [instance, pid]),
            [[launch.instance, undefined]],
            about,
          );
          t.is(typeof (await engine.launch(launch)).pid, 'number', about);
          await engine.terminate(launch.instance, 1_000);
          if (path.endsWith('a.txt')) t.is(await readFile(path, 'utf8'), 'words to be cut in half');
        }
      }
    },
  );

  test.serial(
    'another DNS server on the box: what calls services says so and does not start, the rest does',
    async (t) => {
      const world = await createWorld(dockerd.host);
      t.teardown(world.close);
      const { engine, owner } = world;
      const launch = (instance: string, hosts: Launch['hosts']) =>
        engine.launch(launchOf(['/bin/sleep', '1000'], { instance, hosts }));
      await engine.network('default.app.calls.0', launchOf(['unused']).spec);
      const network = `selvedge-${owner.fabricId.slice(0, 12)}-${owner.node}-default.app`;
      const format = '{{(index .IPAM.Config 0).Gateway}}';
      const gateway = await dockerd.docker('network', 'inspect', '--format', format, network);
      const taken = createServer().listen(53, gateway);
      await once(taken, 'listening');
      t.teardown(() => taken.close());
      const hosts = [{ address: '198.18.9.9', names: ['server'] }];
      await t.throwsAsync(launch('default.app.calls.0', hosts), { instanceOf: NameServerError, message: /EADDRINUSE/ });
      await launch('default.app.quiet.0', []);
      taken.close();
      await once(taken, 'close');
      const { instance } = await launch('default.app.calls.0', hosts);
      const id = await dockerd.docker(
        'ps',
        '--quiet',
        '--filter',
        `label=io.selvedge.instance=${instance}`,
        '--filter',
        `label=io.selvedge.node=${owner.node}`,
      );
      t.regex(await dockerd.docker('exec', id, 'nslookup', '-type=a', 'server'), /198\.18\.9\.9/);
      await t.throwsAsync(dockerd.docker('exec', id, 'nslookup', '-type=a', 'quiet'), { message: /./ });
    },
  );

  test.serial('a container is held to its resources, and says that it ran out of memory', async (t) => {
    const world = await createWorld(dockerd.host);
    t.teardown(world.close);
    const { engine, owner } = world;
    const launch = launchOf(['/bin/sh', '-c', 'x=0123456789abcdef; while :; do x=$x$x; done']);
    const spec = { ...launch.spec, resources: { memory: '24Mi', cpus: 0.5, pids: 20 } };
    const { instance } = await engine.launch({ ...launch, spec });
    const exit = await engine.waitForExit(instance);
    t.is(exit.signal, 'SIGKILL');
    t.true(exit.outOfMemory);
    t.true((await (await world.adopt()).list())[0]?.exit?.outOfMemory);
    const format = '{{with .HostConfig}}{{.Memory}} {{.MemorySwap}} {{.NanoCpus}} {{.PidsLimit}}{{end}}';
    const name = `selvedge-${owner.fabricId.slice(0, 12)}-${owner.node}-${instance}`;
    t.is(await dockerd.docker('inspect', '--format', format, name), '25165824 25165824 500000000 20');
    t.is(engine.notHeld(spec), undefined);
  });

  test.serial(
    'a container runs as the user, with the rights and the devices that its specification says',
    async (t) => {
      const world = await createWorld(dockerd.host);
      t.teardown(world.close);
      const says = async (instance: string, options: DockerOptions) => {
        const script =
          'id -u; id -g; touch /x 2>/dev/null && echo writes; grep -E "^(CapBnd|NoNewPrivs)" /proc/self/status; ls /dev/fuse 2>/dev/null';
        const launch = launchOf(['/bin/sh', '-c', script], { instance });
        await world.engine.launch({ ...launch, spec: { ...launch.spec, ...options } });
        await world.engine.waitForExit(instance);
        const words: string[] = [];
        for await (const { text } of world.engine.logs(instance, { tail: 100, follow: false })) words.push(text);
        const [uid, gid, ...rest] = words;
        const bits = BigInt(`0x${rest.find((line) => line.startsWith('CapBnd'))?.split(/\s+/)[1]}`);
        return {
          user: `${uid}:${gid}`,
          writes: rest.includes('writes'),
          confined: rest.some((line) => /^NoNewPrivs:\s*1$/.test(line)),
          bits,
          raw: (bits >> 13n) & 1n,
          admin: (bits >> 12n) & 1n,
          fuse: rest.includes('/dev/fuse'),
        };
      };
      const plain = { user: '0:0', writes: true, confined: true, raw: 0n, admin: 0n, fuse: false };
      t.like(await says('default.app.plain.0', {}), plain);
      const less = await says('default.app.less.0', {
        ...{ user: '1000:1001', readOnlyRoot: true, capabilities: { drop: ['ALL'] } },
      });
      t.like(less, { user: '1000:1001', writes: false, bits: 0n });
      const more = await says('default.app.more.0', { capabilities: { add: ['NET_ADMIN'] }, devices: ['/dev/fuse'] });
      t.like(more, { ...plain, admin: 1n, fuse: true });
      t.is((await says('default.app.raw.0', { capabilities: { add: ['NET_RAW'] } })).raw, 1n);
    },
  );

  test.serial(
    'a device that an instance was given is in its container under its own path, to read and to write',
    async (t) => {
      const world = await createWorld(dockerd.host);
      const tree = await createHardwareTree();
      t.teardown(async () => {
        await world.close();
        await rm(tree.root, { recursive: true, force: true });
      });
      // /dev/zero by its numbers.
      await tree.plugAdapter({ port: '1-2', vendor: '0403', product: '6001' }, 'ttyUSB0', [1, 5]);
      const script = 'test "$(head -c 3 "$DEVICE_METER" | wc -c)" -eq 3 && echo x > /dev/ttyUSB0';
      const launch = launchOf(['/bin/sh', '-c', script], { env: { DEVICE_METER: '/dev/ttyUSB0' } });
      const run = async (more: Partial<Launch>): Promise<number | undefined> => {
        await world.engine.launch({ ...launch, ...more });
        const { status } = await world.engine.waitForExit(launch.instance);
        await world.engine.remove(launch.instance);
        return status;
      };
      t.not(await run({}), 0, 'nothing of the box is there without it');
      const given = { devices: [{ host: join(tree.root, 'dev/ttyUSB0'), path: '/dev/ttyUSB0' }] };
      t.is(await run(given), 0);
    },
  );

  test.serial(
    'a volume outlives its container and its instance; a folder of the box is mounted, read-only where that is said',
    async (t) => {
      const world = await createWorld(dockerd.host);
      t.teardown(world.close);
      const { engine, owner } = world;
      const instance = 'default.app.store.0';
      const run = async (script: string, volumes: VolumeSpec[]): Promise<number | undefined> => {
        const launch = launchOf(['/bin/sh', '-c', script], { instance });
        await engine.launch({ ...launch, spec: { ...launch.spec, volumes } });
        const { status } = await engine.waitForExit(instance);
        await engine.remove(instance);
        return status;
      };
      const own = { name: 'data', path: '/var/data' };
      t.is(await run('echo kept > "$VOLUME_DATA/words"', [own]), 0);
      t.is(await run('grep kept /var/data/words', [own]), 0);
      t.is(await run('echo other > /var/data/words', [{ ...own, readOnly: true }]), 1);
      const filter = `label=io.selvedge.node=${owner.node}`;
      const name = await dockerd.docker('volume', 'ls', '--quiet', '--filter', filter);
      t.is(name, `selvedge-${owner.fabricId.slice(0, 12)}-${owner.node}-${instance}-data`);
      await dockerd.docker('volume', 'rm', name);

      const hostPath = join(world.folder, 'of-the-box');
      await mkdir(hostPath);
      t.is(await run('echo written > /srv/box/words', [{ name: 'box', path: '/srv/box', hostPath }]), 0);
      t.is(await readFile(join(hostPath, 'words'), 'utf8'), 'written\n');
      const missing = [{ name: 'box', path: '/srv/box', hostPath: join(world.folder, 'not-there') }];
      await t.throwsAsync(run('true', missing), { message: /not-there|does not exist/ });
    },
  );

  test.serial(
    'a stranger’s container that has the name of an instance is neither found, ended nor replaced',
    async (t) => {
      const world = await createWorld(dockerd.host);
      const { engine, owner } = world;
      const launch = launchOf(['/bin/sh', '/workload.sh', 'run']);
      const name = `selvedge-${owner.fabricId.slice(0, 12)}-${owner.node}-${launch.instance}`;
      // Another node's labels do not make it ours either.
      const labels = ['--label', 'io.selvedge.node=another', '--label', `io.selvedge.instance=${launch.instance}`];
      await dockerd.docker(
        'run',
        '--detach',
        '--name',
        name,
        '--network',
        'none',
        ...labels,
        busyboxImage,
        'sleep',
        '1000',
      );
      t.teardown(async () => {
        await dockerd.docker('rm', '--force', name);
        await world.close();
      });
      const identity = () => dockerd.docker('inspect', '--format', '{{.Id}} {{.State.Pid}} {{.State.StartedAt}}', name);
      const before = await identity();
      t.deepEqual(await engine.list(), []);
      await t.throwsAsync(engine.launch(launch), { name: 'ContainerNameTakenError' });
      await t.throwsAsync(engine.terminate(launch.instance, 0), { name: 'ContainerNameTakenError' });
      await t.throwsAsync(engine.remove(launch.instance), { name: 'ContainerNameTakenError' });
      const options = { signal: AbortSignal.timeout(10_000), outputBytesMax: 10 };
      await t.throwsAsync(engine.exec(launch.instance, ['id'], options), { name: 'ContainerNameTakenError' });
      const next = await world.adopt();
      t.deepEqual(await next.list(), []);
      t.is(await identity(), before);
      t.regex(before, / [1-9]\d* /, 'it runs');
    },
  );

  test.serial('limits of processes, labels and hosts are those of the specification, logs stay bounded', async (t) => {
    const world = await createWorld(dockerd.host);
    t.teardown(world.close);
    const launch = launchOf(['/bin/sh', '-c', 'ulimit -Sn; ulimit -Hn; grep printer /etc/hosts']);
    const options: DockerOptions = {
      ulimits: { nofile: { soft: 333, hard: 444 } },
      labels: { 'org.example.team': 'cooling' },
      extraHosts: { printer: '192.0.2.7' },
      platform: await dockerd.docker('version', '--format', '{{.Server.Os}}/{{.Server.Arch}}'),
    };
    const { instance } = await world.engine.launch({ ...launch, spec: { ...launch.spec, ...options } });
    t.is((await world.engine.waitForExit(instance)).status, 0);
    const words: string[] = [];
    for await (const { text } of world.engine.logs(instance, { tail: 9, follow: false })) words.push(text);
    t.deepEqual(words.slice(0, 2), ['333', '444']);
    t.regex(words[2] ?? '', /^192\.0\.2\.7\s+printer$/);
    const name = `selvedge-${world.owner.fabricId.slice(0, 12)}-${world.owner.node}-${instance}`;
    const format = '{{index .Config.Labels "org.example.team"}} {{index .HostConfig.LogConfig.Config "max-file"}}';
    t.is(await dockerd.docker('inspect', '--format', format, name), 'cooling 2');
  });

  test.serial('graphics processors are asked of Docker, whose answer is told; logs are as large as said', async (t) => {
    const world = await createWorld(dockerd.host);
    t.teardown(world.close);
    const launch = (instance: string, options: DockerOptions) => {
      const made = launchOf(['/bin/true'], { instance });
      return world.engine.launch({ ...made, spec: { ...made.spec, ...options } });
    };
    const inspect = (instance: string, format: string) =>
      dockerd.docker(
        ...['inspect', '--format', format],
        `selvedge-${world.owner.fabricId.slice(0, 12)}-${world.owner.node}-${instance}`,
      );
    // No box that runs tests has one: the container is made, and not started.
    for (const [instance, gpus, wanted] of [
      ['default.app.all.0', 'all', '-1 []'],
      ['default.app.two.0', 2, '2 []'],
      ['default.app.one.0', ['GPU-1'], '0 [GPU-1]'],
    ] as const) {
      const asked = launch(instance, { gpus: typeof gpus === 'object' ? [...gpus] : gpus });
      await t.throwsAsync(asked, { message: /could not select device driver .* with capabilities: \[\[gpu\]\]/ });
      const format = '{{range .HostConfig.DeviceRequests}}{{.Count}} {{.DeviceIDs}}{{end}}';
      t.is(await inspect(instance, format), wanted);
    }
    await launch('default.app.log.0', { logging: { maxSize: '1Mi', maxFiles: 3 } });
    t.is(
      await inspect('default.app.log.0', '{{.HostConfig.LogConfig}}'),
      '{json-file map[max-file:3 max-size:1048576]}',
    );
  });

  test.serial('an image is asked for as its pull policy says, and for the platform that is wanted', async (t) => {
    const world = await createWorld(dockerd.host);
    t.teardown(world.close);
    const archive = join(world.folder, 'root.tar');
    const id = await dockerd.docker('create', '--network', 'none', busyboxImage, 'true');
    await dockerd.docker('export', '--output', archive, id);
    await dockerd.docker('rm', id);
    const registry = await startRegistry(await readFile(archive), 1_000);
    t.teardown(() => rm(archive, { force: true }));
    t.teardown(() => registry.close());
    registry.release();
    const { command: _, ...common } = launchOf(['unused']).spec;
    const stage = (image: string, options: DockerOptions) =>
      world.engine.stage(
        { ...common, engine: 'docker', image, ...options },
        () => undefined,
        new AbortController().signal,
      );
    const image = registry.image('web');
    await eventually(() => world.engine.unavailable() === undefined, { deadlineMs: 30_000, what: 'Docker' });
    await t.throwsAsync(stage(image, { pullPolicy: 'never' }), {
      message: /not on this node, and its pullPolicy is never/,
    });
    t.is(registry.asked.length, 0);
    await stage(image, {});
    const first = registry.asked.length;
    t.true(first > 0);
    await stage(image, { pullPolicy: 'ifNotPresent' });
    await stage(image, { pullPolicy: 'never' });
    t.is(registry.asked.length, first);
    await stage(image, { pullPolicy: 'always' });
    t.true(registry.asked.length > first);
    await stage(busyboxImage, { pullPolicy: 'never' });
    await t.throwsAsync(stage(busyboxImage, { pullPolicy: 'never', platform: 'linux/s390x' }), {
      message: /not on this node/,
    });
  });

  test.serial('a container has its configs and secrets, as whom it runs, and changed ones while it runs', async (t) => {
    const world = await createWorld(dockerd.host);
    t.teardown(world.close);
    const { engine } = world;
    const mounts = (text: string): FileMount[] => [
      { kind: 'configs', name: 'site', files: [{ path: 'deep/site.json', content: Buffer.from(text) }] },
      { kind: 'secrets', name: 'db', files: [{ path: 'password', content: Buffer.from(text) }] },
    ];
    const both = 'cat /selvedge/configs/site/deep/site.json /selvedge/secrets/db/password';
    const plain = launchOf(['/bin/sleep', '1000']);
    const launch = { ...plain, spec: { ...plain.spec, user: '1234:1234' } as Launch['spec'] };
    const secretEnv = { PASSWORD: 'hidden' };
    const { instance, pid } = await engine.launch({ ...launch, mounts: mounts('one '), secretEnv });
    const run = async (command: string) =>
      (
        await engine.exec(instance, ['/bin/sh', '-c', command], {
          signal: AbortSignal.timeout(30_000),
          outputBytesMax: 999,
        })
      ).output;
    t.is(await run(both), 'one one ');
    t.is(await run('echo "$PASSWORD"; stat -L -c "%u %a" /selvedge/secrets/db/password'), 'hidden\n1234 400\n');
    t.regex(await run('touch /selvedge/secrets/db/mine 2>&1'), /Read-only file system/);
    const begun = performance.now();
    await engine.writeMounts(instance, mounts('two '));
    t.is(await run(both), 'two two ');
    t.log(`${(performance.now() - begun).toFixed(0)} ms, with the command that looks`);
    t.deepEqual(
      (await engine.list()).map((one) => one.pid),
      [pid],
    );
    const secrets = await realpath(join(world.folder, instance, 'secrets'));
    await engine.terminate(instance, 0);
    // The same container again, and then another one, for a user of its image.
    await engine.launch({ ...launch, mounts: mounts('three '), secretEnv });
    t.is(await run(both), 'three three ');
    await engine.terminate(instance, 0);
    await mkdir(join(world.folder, 'image/etc'), { recursive: true });
    await writeFile(join(world.folder, 'image/etc/passwd'), 'root:x:0:0::/:/bin/sh\nweb:x:4321:4321::/:/bin/sh\n');
    const id = await dockerd.docker('create', '--network', 'none', busyboxImage, 'true');
    await dockerd.docker('cp', join(world.folder, 'image/etc'), `${id}:/`);
    await dockerd.docker('commit', id, 'selvedge-named-user');
    await dockerd.docker('rm', id);
    const { command: _, ...common } = plain.spec;
    await world.launchAsIs({
      ...launch,
      spec: { ...common, engine: 'docker', image: 'selvedge-named-user', command: ['/bin/sleep', '1000'], user: 'web' },
      mounts: mounts('three '),
    });
    t.is(await run('cat /selvedge/secrets/db/password'), 'three ');
    t.is(await run('stat -L -c "%u %a" /selvedge/secrets/db/password'), '4321 400\n');
    await engine.terminate(instance, 0);
    await engine.remove(instance);
    await t.throwsAsync(stat(secrets), { code: 'ENOENT' });
  });

  test.serial('a command that hangs in a container is ended, and others can be run after it', async (t) => {
    const world = await createWorld(dockerd.host);
    t.teardown(world.close);
    const { engine } = world;
    const { instance } = await engine.launch(launchOf(['/bin/sleep', '1000']));
    const run = (command: string[], signal = new AbortController().signal) =>
      engine.exec(instance, command, { signal, outputBytesMax: 1_000 });
    await t.throwsAsync(run(['/bin/sleep', '500'], AbortSignal.timeout(300)), { name: 'TimeoutError' });
    const processes = async () => (await run(['/bin/ps'])).output;
    const left = await eventually(async () => {
      const said = await processes();
      return said.includes('sleep 500') ? undefined : said;
    });
    t.regex(left, /sleep 1000/);
    await t.throwsAsync(run(['/no/such/program']), { instanceOf: ExecFailedError, message: /no such file/ });
  });

  test.serial('a command in a container has a terminal, and nothing of a session is left', async (t) => {
    const world = await createWorld(dockerd.host);
    t.teardown(world.close);
    const { engine } = world;
    const { instance } = await engine.launch(launchOf(['/bin/sleep', '1000']));
    const exec: Exec = (command, options) => engine.exec(instance, command, options);
    await assertTerminals(t, exec, '/bin/sh');
    await assertNothingLeft(t, exec, '/bin/sh');
    // Given up before Docker had made it, and before it had started it.
    for (const afterMs of [0, 1, 5, 20]) {
      const name = `${7_000_000 + afterMs}`;
      // Refused as long as the one before, which Docker started late, is being ended.
      await eventually(async () => {
        const early = exec(['/bin/sleep', name], { signal: AbortSignal.timeout(afterMs), outputBytesMax: 10 });
        const error = await early.then(
          () => undefined,
          (thrown: Error) => thrown,
        );
        return error?.name === 'TimeoutError';
      });
      await eventually(async () => (await pidsWith(`/bin/sleep\0${name}`)).length === 0);
    }
  });

  test.serial('a frozen Docker is noticed within seconds, and found again with what runs', async (t) => {
    const world = await createWorld(dockerd.host);
    t.teardown(world.close);
    t.teardown(() => dockerd.thaw());
    const { engine } = world;
    const isThere = () => eventually(() => engine.unavailable() === undefined, { deadlineMs: 30_000, what: 'Docker' });
    await isThere();
    const { pid } = await engine.launch(launchOf(['/bin/sleep', '1000']));
    dockerd.freeze();
    const frozenAt = clock.now();
    const reason = await eventually(() => engine.unavailable(), { deadlineMs: 30_000, what: 'it to be noticed' });
    t.regex(reason, /did not answer within 5000 ms/);
    t.true(clock.now() - frozenAt < 15_000);
    await t.throwsAsync(engine.list(), { instanceOf: DockerUnavailableError });
    dockerd.thaw();
    await isThere();
    t.deepEqual(
      (await engine.list()).map((one) => [one.pid, one.exit]),
      [[pid, undefined]],
    );
  });
}

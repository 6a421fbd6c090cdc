// Images that this node pulled go when nothing uses them: by age, and under disk pressure the oldest first; others never. The last test
// has a real Docker Engine and a registry.

import { createHash } from 'node:crypto';
import { readFile, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { openDocker } from '../../node-runtime/docker-client.ts';
import { createDockerEngine } from '../../node-runtime/docker-engine.ts';
import type { DockerImages, LocalImage } from '../../node-runtime/docker-image-api.ts';
import { createFileDisk } from '../../node-runtime/file-disk.ts';
import { createImageCollector, fullName, isOurs, isPressed } from '../../node-runtime/image-collector.ts';
import { imageLookMs, imageUnusedMsMax, pulledImagesMax } from '../../node-runtime/limits.ts';
import { createPulledImages } from '../../node-runtime/pulled-images.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { eventually } from '../eventually.ts';
import { createMemoryDisk } from '../pki/memory-disk.ts';
import { skip } from '../skip.ts';
import { busyboxImage, dockerMissing, startDockerd } from './dockerd.ts';
import { startRegistry } from './registry.ts';

const gibibyte = 1024 ** 3;
const dayMs = 86_400_000;

function world() {
  const clock = createSimClock();
  const disk = createMemoryDisk();
  const there = new Map<string, LocalImage>();
  const state = { used: new Set<string>(), bytesFree: 50 * gibibyte, away: false, refused: new Set<string>() };
  const removed: string[] = [];
  const told: string[] = [];
  const problems: string[] = [];
  const docker: DockerImages = {
    images: async () => [...there.values()].map((image) => ({ ...image, tags: [...image.tags] })),
    usedImages: async () => state.used,
    async removeImage(name) {
      const image = [...there.values()].find(({ id, tags }) => id === name || tags.includes(name));
      if (image === undefined) return true;
      if (state.refused.has(image.id)) return false;
      image.tags = image.tags.filter((tag) => tag !== name);
      if (image.tags.length === 0) {
        there.delete(image.id);
        removed.push(image.id);
        state.bytesFree += image.bytes;
      }
      return true;
    },
    imageSpace: async () => ({ bytesFree: state.bytesFree, bytes: 100 * gibibyte }),
  };
  const open = () => {
    const pulled = createPulledImages({ disk, clock, onProblem: (message) => void problems.push(message) });
    const collector = createImageCollector({
      ...{ clock, pulled, docker: () => (state.away ? undefined : docker) },
      onRemoved: (message) => void told.push(message),
      onProblem: (message) => void problems.push(message),
    });
    collector.start();
    return { pulled, collector };
  };
  const put = (id: string, ...tags: string[]): void => {
    const digests = [
      ...new Set(
        tags.map((tag) => `${tag.replace(/:[^/]*$/, '')}@sha256:${createHash('sha256').update(id).digest('hex')}`),
      ),
    ];
    there.set(id, { id, tags, digests, parent: undefined, bytes: gibibyte });
  };
  /** As docker-pulls.ts does it. */
  const pull = async ({ pulled }: ReturnType<typeof open>, id: string, reference: string): Promise<void> => {
    await pulled.begin(reference);
    put(id, reference.replace('docker.io/library/', ''));
    await pulled.end(reference, id);
  };
  const days = async (count: number): Promise<void> => {
    for (let left = count * dayMs; left > 0; left -= imageLookMs) await clock.advance(imageLookMs);
  };
  return { clock, disk, there, state, removed, told, problems, open, put, pull, days };
}

test('an image that was pulled and is unused for a week goes; one that is planned, or that a container has, stays', async (t) => {
  const { state, removed, told, open, put, pull, days, problems } = world();
  const daemon = open();
  put('theirs', 'theirs:1');
  await pull(daemon, 'planned', 'host.example/planned:1');
  await pull(daemon, 'held', 'held:1');
  await pull(daemon, 'old', 'docker.io/library/old:1');
  state.used.add('held');
  await days(8);
  t.deepEqual(removed, [], 'nothing goes before the plan is known');
  daemon.collector.want(['host.example/planned:1']);
  await days(6.9);
  t.deepEqual(removed, []);
  await days(0.2);
  t.deepEqual(removed, ['old']);
  t.deepEqual(told, [
    'removed the image docker.io/library/old:1 (1074 MB), which this node had pulled: nothing has used it for 7 days',
  ]);
  state.used.clear();
  daemon.collector.want([]);
  await days(7.1);
  t.deepEqual([removed.toSorted(), problems], [['held', 'old', 'planned'], []]);
  daemon.collector.stop();
});

test('the time that an image was unused goes on in the next daemon, and a clock that jumps makes none old', async (t) => {
  const { clock, removed, open, pull, days } = world();
  const first = open();
  await pull(first, 'one', 'one:1');
  first.collector.want([]);
  await days(4);
  first.collector.stop();
  await clock.advance(3650 * dayMs);
  const second = open();
  second.collector.want([]);
  await days(2.9);
  t.deepEqual(removed, []);
  await days(0.2);
  t.deepEqual(removed, ['one']);
  second.collector.stop();
});

test('while everything is used nothing is written', async (t) => {
  const { disk, open, pull, days } = world();
  const daemon = open();
  await pull(daemon, 'one', 'one:1');
  daemon.collector.want(['one:1']);
  await days(0.1);
  const before = disk.calls.length;
  await days(3);
  t.is(disk.calls.slice(before).filter((call) => call.startsWith('write')).length, 0);
  daemon.collector.stop();
});

test('under pressure the one that was unused longest goes first, and no more than are needed', async (t) => {
  const { state, removed, told, open, pull, days } = world();
  const daemon = open();
  daemon.collector.want(['kept:1']);
  await pull(daemon, 'kept', 'kept:1');
  for (const name of ['first', 'second', 'third']) {
    await pull(daemon, name, `${name}:1`);
    await days(1);
  }
  state.bytesFree = 0.5 * gibibyte;
  await days(0.1);
  t.deepEqual(removed, ['first', 'second']);
  t.regex(told[0] ?? '', /little room is left/);
  t.is(state.bytesFree, 2.5 * gibibyte);
  daemon.collector.stop();
});

test('what somebody else named, built from or has in use is theirs, also when it was pulled here', async (t) => {
  const { there, state, removed, open, put, pull, days } = world();
  const daemon = open();
  for (const name of ['tagged', 'base', 'refused', 'gone']) await pull(daemon, name, `${name}:1`);
  there.get('tagged')?.tags.push('mine:1');
  put('built', 'built:1');
  const built = there.get('built');
  if (built !== undefined) built.parent = 'base';
  state.refused.add('refused');
  there.delete('gone');
  daemon.collector.want([]);
  await days(9);
  t.deepEqual(removed, []);
  t.deepEqual((await daemon.pulled.read()).images.map(({ id }) => id).toSorted(), ['base', 'refused']);
  daemon.collector.stop();
});

test('Docker away, a pull under way and a disk that refuses mean later, not never', async (t) => {
  const { disk, state, removed, problems, open, pull, days } = world();
  const daemon = open();
  await pull(daemon, 'one', 'one:1');
  daemon.collector.want([]);
  state.away = true;
  await days(20);
  state.away = false;
  await daemon.pulled.begin('one:1');
  await days(8);
  t.deepEqual(removed, []);
  await daemon.pulled.end('one:1', undefined);
  disk.before = () => {
    throw new Error('no space');
  };
  await days(8);
  t.deepEqual(removed, []);
  t.regex(problems[0] ?? '', /could not be stored: no space/);
  disk.before = () => undefined;
  await days(7.1);
  t.deepEqual(removed, ['one']);
  daemon.collector.stop();
});

test('a daemon that is killed between a pull and its note knows it afterwards; the journal is bounded and survives damage', async (t) => {
  const { clock, disk, removed, open, put, days, pull } = world();
  const killed = open();
  await killed.pulled.begin('late:1');
  await killed.pulled.begin('shared:1');
  killed.collector.stop();
  put('late', 'late:1');
  put('shared', 'shared:1', 'mine:2');
  const next = open();
  next.collector.want([]);
  await days(7.2);
  t.deepEqual(removed, ['late']);
  for (let index = 0; index < pulledImagesMax + 5; index++) await pull(next, `many-${index}`, `many-${index}:1`);
  t.is((await next.pulled.read()).images.length, pulledImagesMax);
  next.collector.stop();
  for (const damage of ['', '{', '[]', 'null', '{"images":[{"id":1}],"pulling":[2],"lookedAt":"x"}']) {
    disk.files.set('pulled-images.json', damage);
    const read = await createPulledImages({ disk, clock, onProblem: (message) => t.fail(message) }).read();
    t.deepEqual(read, { lookedAt: 0, pulling: [], images: [] }, damage);
  }
});

test('names are compared whoever spells them', (t) => {
  t.is(fullName('web'), fullName('docker.io/library/web:latest'));
  t.is(fullName('127.0.0.1:5000/shop/web'), '127.0.0.1:5000/shop/web:latest');
  const image = {
    id: 'x',
    tags: ['host.example/web:1'],
    digests: [`host.example/web@sha256:${'1'.repeat(64)}`],
    parent: undefined,
    bytes: 1,
  };
  t.true(isOurs(image, ['host.example/web:1']));
  t.false(isOurs(image, ['host.example/web:2']));
  t.true(isOurs({ ...image, tags: [] }, ['host.example/web:1']), 'the tag moved on');
  t.false(isOurs({ ...image, digests: [`other.example/web@sha256:${'1'.repeat(64)}`] }, ['host.example/web:1']));
  t.false(isPressed(undefined));
  t.false(isPressed({ bytesFree: 3 * gibibyte, bytes: 1000 * gibibyte }));
  t.false(isPressed({ bytesFree: gibibyte, bytes: 4 * gibibyte }));
  t.true(isPressed({ bytesFree: 0.3 * gibibyte, bytes: 4 * gibibyte }));
  t.is(imageUnusedMsMax, 7 * dayMs);
});

test('a real engine: what was pulled goes by age, what was there, is tagged or has a stopped container stays', async (t) => {
  const missing = await dockerMissing();
  if (missing !== undefined) return skip(t, missing);
  const dockerd = await startDockerd();
  t.teardown(() => dockerd.close());
  const { docker } = dockerd;
  const archive = join(dockerd.folder, 'root.tar');
  const container = await docker('create', '--network', 'none', busyboxImage, 'true');
  await docker('export', '--output', archive, container);
  await docker('rm', container);
  const files = await readFile(archive);
  await rm(archive);
  // One registry for each image: the large layer makes them differ.
  const [gone, before, tagged, held] = await Promise.all(
    ['gone', 'before', 'tagged', 'held'].map(async (name) => {
      const registry = await startRegistry(files, 100_000);
      t.teardown(() => registry.close());
      registry.release();
      return registry.image(name);
    }),
  );
  if (gone === undefined || before === undefined || tagged === undefined || held === undefined) return t.fail();
  await docker('pull', '--quiet', before);
  const system = createSystemClock();
  let aheadMs = 0;
  const clock = { ...system, now: () => system.now() + aheadMs };
  const removed: string[] = [];
  const problems: string[] = [];
  const onProblem = (message: string): void => void problems.push(message);
  const disk = createFileDisk(join(dockerd.folder, 'data-folder'));
  const engine = createDockerEngine({
    folder: join(dockerd.folder, 'containers'),
    ...{ clock, dockerHost: dockerd.host },
    images: {
      pulled: createPulledImages({ disk, clock, onProblem }),
      onRemoved: (message) => void removed.push(message),
      ...{ onProblem, unusedMsMax: 3 * imageLookMs },
    },
  });
  t.teardown(() => engine.stop());
  await engine.start({ fabricId: 'f'.repeat(52), node: `box-${process.pid}-gc` });
  const signal = AbortSignal.timeout(60_000);
  for (const image of [gone, before, tagged, held]) {
    await engine.stage({ engine: 'docker', image, ports: [], env: {}, files: [] } as never, () => undefined, signal);
  }
  await docker('tag', tagged, 'mine:1');
  await docker('create', '--network', 'none', held, 'true');
  const listed = async () => (await docker('images', '--format', '{{.Repository}}:{{.Tag}}')).split('\n');
  await eventually(
    async () => {
      aheadMs += imageLookMs;
      engine.want?.([], []);
      return removed.length > 0;
    },
    { everyMs: 200, what: 'an image to go' },
  );
  for (let looks = 0; looks < 8; looks++) {
    aheadMs += imageLookMs;
    engine.want?.([], []);
    await listed();
  }
  const left = await listed();
  t.deepEqual(removed.length, 1);
  t.true(removed[0]?.includes(gone));
  t.false(left.includes(gone));
  for (const image of [before, tagged, 'mine:1', held]) t.true(left.includes(image), image);
  t.deepEqual(problems, []);
  // The rest is not ours, or used.
  const journal = JSON.parse(await readFile(join(dockerd.folder, 'data-folder/pulled-images.json'), 'utf8'));
  t.deepEqual(
    journal.images.map(({ references }: { references: string[] }) => references),
    [[held]],
  );
  const space = await (await openDocker(dockerd.socket, system)).imageSpace();
  t.is(space?.bytes, await statfs(join(dockerd.folder, 'data')).then(({ blocks, bsize }) => blocks * bsize));
});

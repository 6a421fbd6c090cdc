// Images that are fetched ahead of an apply, as an operator sees it: by the command line, over a restart of the daemon, with nothing
// started. Real daemons, a real Docker Engine and a registry of the test's own. Numbered steps of one story.

import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import type { StageView } from '../../control/views.ts';
import { busyboxImage, dockerMissing, startDockerd } from '../node-runtime/dockerd.ts';
import { startRegistry } from '../node-runtime/registry.ts';
import { skip } from '../skip.ts';
import { program } from './daemon.ts';
import { createFabric, waitFor } from './fabric.ts';
import { tell } from './story.ts';

const run = promisify(execFile);
const missing = await dockerMissing();

const application = (images: Record<string, string>): string => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: shop }
spec:
  microservices:
${Object.entries(images)
  .map(([name, image]) => `    - { name: ${name}, engine: docker, image: '${image}', command: [sleep, '1000'] }`)
  .join('\n')}
`;

interface Ended {
  status: number;
  stdout: string;
  stderr: string;
}

test('images are fetched ahead, told meanwhile, and start at once when it is applied', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const dockerd = await step('a Docker Engine', () => startDockerd());
  t.teardown(() => dockerd.close());
  const { docker } = dockerd;
  const registry = await step('a registry with one image of 16 MB', async () => {
    const archive = join(dockerd.folder, 'root.tar');
    const id = await docker('create', '--network', 'none', busyboxImage, 'true');
    await docker('export', '--output', archive, id);
    await docker('rm', id);
    const files = await readFile(archive);
    await rm(archive);
    return startRegistry(files, 16_000_000);
  });
  t.teardown(() => registry.close());
  const image = registry.image('web');
  const [registryHost] = image.split('/');
  const policy = ['--allow-image', `${registryHost}/*`, '--allow-image', busyboxImage];
  const fabric = await step(
    'two nodes, one of them with Docker, which runs images of that registry and one other alone',
    () =>
      createFabric(t, {
        edges: 1,
        options: policy,
        envOf: (node): Record<string, string> => (node === 'control' ? {} : { DOCKER_HOST: dockerd.host }),
      }),
  );
  const [edge] = fabric.edges;
  if (edge === undefined) throw new Error('there is no edge');
  const file = join(dockerd.folder, 'shop.yaml');
  const selvedge = async (...words: string[]): Promise<Ended> => {
    try {
      const { stdout, stderr } = await run(process.execPath, [program, ...words, '--data', fabric.control.dataFolder]);
      return { status: 0, stdout, stderr };
    } catch (error) {
      const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
      return { status: code, stdout, stderr };
    }
  };
  const staged = async () => {
    const [thing] = (await fabric.control.daemon.client.staged('default', 'shop')).things;
    return thing;
  };
  const stagedAs = (state: string, reason: RegExp) =>
    waitFor(`${state}: ${reason}`, async () => {
      const thing = await staged();
      if (thing?.state !== state || !reason.test(thing.reason)) throw new Error(JSON.stringify(thing));
      return thing;
    });

  await step('it waits no longer than it is told, and the status says how far it is', async () => {
    await writeFile(file, application({ web: image }));
    const { status, stdout, stderr } = await selvedge('stage', '-f', file, '--timeout', '4s');
    t.is(status, 1);
    t.regex(stdout, /web +edge-1 +127\.0\.0\.1:\d+\/web:1 +pulling +pulling .* % of 1\d MB/);
    t.regex(stderr, /not everything is there after 4\.0 s/);
    t.regex(
      (await selvedge('status')).stdout,
      /staging default\/shop: 0 of 1 are there; edge-1: pulling .* % of 1\d MB/,
    );
    t.deepEqual((await fabric.control.status()).applications, []);
  });

  await step('a daemon that is killed goes on with it', async () => {
    await edge.daemon.kill('SIGKILL');
    await edge.start();
    await stagedAs('pulling', / % of 1\d MB/);
  });

  await step('once it is all there it is said so, and nothing has started', async () => {
    registry.release();
    const { status, stdout } = await selvedge('stage', '-f', file, '-o', 'json');
    t.is(status, 0, stdout);
    const { ok, applications } = JSON.parse(stdout) as { ok: boolean; applications: StageView[] };
    t.true(ok);
    t.like(applications[0]?.things[0], { node: 'edge-1', thing: image, state: 'staged' });
    t.not(await docker('images', '--quiet', image), '');
    t.is(await docker('ps', '--all', '--quiet'), '');
  });

  await step('again it was there already, and nobody is asked', async () => {
    const before = registry.asked.length;
    const { status, stdout } = await selvedge('stage', '-f', file);
    t.is(status, 0);
    t.regex(stdout, /staged +was there already/);
    t.is(registry.asked.length, before);
  });

  await step('applied, it starts without the registry, and the wish is gone', async () => {
    const before = registry.asked.length;
    await fabric.apply(application({ web: image }));
    await fabric.ready('shop');
    t.is(registry.asked.length, before);
    await t.throwsAsync(fabric.control.daemon.client.staged('default', 'shop'), { message: /no staged application/ });
  });

  await step('the next version: what fails is named, what is refused too, and what runs runs on', async () => {
    const [before] = (await fabric.control.daemon.client.application('default', 'shop')).instances;
    await writeFile(
      file,
      application({ web: image.replace(/:1$/, ':2'), other: 'elsewhere.example/other:1', box: busyboxImage }),
    );
    const { status, stdout, stderr } = await selvedge('stage', '-f', file);
    t.is(status, 1);
    t.regex(stdout, /web +edge-1 +\S+:2 +failed +\S.*manifest/);
    t.regex(stdout, /other +edge-1 +elsewhere\.example\/other:1 +failed +this node does not allow the image/);
    t.regex(stdout, /box +edge-1 +\S+ +staged +was there already/);
    t.regex(stderr, /2 of 3 could not be fetched/);
    const { stdout: described } = await selvedge('describe', 'app', 'shop');
    t.regex(described, /fetched ahead:[\s\S]* failed /);
    const [after] = (await fabric.control.daemon.client.application('default', 'shop')).instances;
    t.deepEqual([after?.pid, after?.restarts], [before?.pid, before?.restarts]);
  });
});

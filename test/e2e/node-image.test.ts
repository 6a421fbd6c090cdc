// The node itself in a container, as docs/docker.md says: its commands, on the repository's Dockerfile and an engine of the test's own.
// The base image is made here of this box's Node.js, since no image can be pulled. Numbered steps of one story.

import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import { createClient } from '../../control/cli/client.ts';
import { busyboxImage, type Dockerd, dockerMissing, serviceRoutes, startDockerd } from '../node-runtime/dockerd.ts';
import { skip } from '../skip.ts';
import { instanceOf, waitFor } from './fabric.ts';
import { currentVersion, installGlobally, pack } from './package.ts';
import { tell } from './story.ts';

const run = promisify(execFile);
const checkout = fileURLToPath(new URL('../..', import.meta.url));
const missing = await dockerMissing();

/** Commands of a section of docs/docker.md, in order; lines that go on are one. */
async function documented(section: string): Promise<string[]> {
  const text = await readFile(join(checkout, 'docs/docker.md'), 'utf8');
  const [, rest = ''] = text.split(`## ${section}\n`);
  const [own = ''] = rest.split('\n## ');
  const lines = own.replaceAll('\\\n', ' ').split('\n');
  return lines.filter((line) => line.startsWith('    ')).map((line) => line.replaceAll(/\s+/g, ' ').trim());
}

/** Stands in for node:24-bookworm-slim: a shell, its tools, `ip` and Node.js, with the libraries that they load. */
async function importBase(dockerd: Dockerd, folder: string, tag: string): Promise<void> {
  const root = join(folder, 'base');
  for (const name of ['bin', 'tmp', 'usr/bin', 'usr/local/bin']) await mkdir(join(root, name), { recursive: true });
  const which = async (name: string): Promise<string> => (await run('sh', ['-c', `command -v ${name}`])).stdout.trim();
  await copyFile(await which('busybox'), join(root, 'bin/busybox'));
  const { stdout: applets } = await run('busybox', ['--list']);
  for (const applet of applets.trim().split('\n')) {
    if (!['busybox', 'ip'].includes(applet)) await symlink('busybox', join(root, 'bin', applet));
  }
  await symlink('/bin/env', join(root, 'usr/bin/env'));
  const programs = { [process.execPath]: 'usr/local/bin/node', [await which('ip')]: 'bin/ip' };
  for (const [program, place] of Object.entries(programs)) {
    await copyFile(program, join(root, place));
    const { stdout } = await run('ldd', [program]);
    for (const [library] of stdout.matchAll(/\/\S+/g)) {
      await mkdir(join(root, dirname(library)), { recursive: true });
      await copyFile(library, join(root, library));
    }
  }
  const archive = join(folder, 'base.tar');
  await run('tar', ['--create', '--file', archive, '--directory', root, '.']);
  await dockerd.docker('import', archive, tag);
  await rm(archive);
  await rm(root, { recursive: true });
}

const manifest = `
apiVersion: selvedge/v1
kind: Application
metadata: { name: shop }
spec:
  microservices:
    - name: server
      engine: docker
      image: ${busyboxImage}
      command: [sh, -c]
      args: ['mkdir -p /www; echo "hello $SELVEDGE_NODE" > /www/index.html; exec httpd -f -p "$PORT" -h /www']
      ports: [{ name: http, port: 8080 }]
      probes: { readiness: { http: { path: /, port: http }, periodMs: 100 } }
    - name: caller
      engine: docker
      image: ${busyboxImage}
      command: [sleep, '100000']
      configs: [greeting]
---
apiVersion: selvedge/v1
kind: Config
metadata: { name: greeting }
spec: { files: { text: { text: "hello from a config" } } }
`;

test('a node in a container runs containers beside it, which outlive it, and leaves nothing', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-image-'));
  t.teardown(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const dockerd = await step('a Docker Engine', () => startDockerd());
  t.teardown(() => dockerd.close());
  const { docker } = dockerd;
  t.teardown(async () => {
    if (!t.passed) t.log(await docker('logs', '--tail', '40', 'selvedge').catch(String));
  });

  const dataFolder = join(folder, 'data');
  const commands = await documented('The node itself in a container');
  /** The documented command that begins so, with this test's paths and any free port in place of the usual ones. */
  const asWritten = async (start: string): Promise<string> => {
    const found = commands.find((command) => command.startsWith(start));
    if (found === undefined) throw new Error(`docs/docker.md has no command ${start}`);
    const own = found
      .replace('/var/run/docker.sock:', `${dockerd.socket}:`)
      .replaceAll('/var/lib/selvedge', dataFolder)
      .replace('selvedge up', `selvedge --data ${dataFolder} up --port 0 --container-range 10.217.0.0/16`)
      .replace('selvedge down', `selvedge --data ${dataFolder} down`)
      .replace('selvedge selvedge', `selvedge selvedge --data ${dataFolder}`)
      .replace('--tag', '--build-arg BASE=selvedge-test/base --tag');
    const env = { ...process.env, DOCKER_HOST: dockerd.host, DOCKER_BUILDKIT: '0' };
    return (await run('sh', ['-c', own], { cwd: folder, env, maxBuffer: 16 * 1024 * 1024 })).stdout.trim();
  };
  const client = createClient({ socketPath: join(dataFolder, 'selvedge.sock') });
  const answers = () => waitFor('an answer of the node', () => client.ping().then(() => true));

  await step('the Dockerfile makes an image of the packed program', async () => {
    await importBase(dockerd, folder, 'selvedge-test/base');
    const image = join(folder, 'image');
    await mkdir(image);
    await installGlobally(await pack(folder, await currentVersion()), image);
    for (const name of ['Dockerfile', '.dockerignore']) await copyFile(join(checkout, name), join(folder, name));
    await asWritten('docker build');
    t.is(await docker('run', '--rm', '--network', 'none', 'selvedge', '--version'), await currentVersion());
  });

  await step('it founds a fabric and offers the engine of its host', async () => {
    await asWritten('docker run --detach');
    await answers();
    await waitFor('the engine docker', async () => {
      const { nodes } = await client.status();
      return nodes[0]?.engines.includes('docker');
    });
  });

  const ready = (microservice: string) =>
    waitFor(`${microservice} to be ready`, async () => {
      const found = instanceOf(await client.application('default', 'shop'), microservice);
      if (!found.ready) throw new Error(found.reason);
      return found;
    });
  const containerOf = async (microservice: string): Promise<string> =>
    docker('ps', '--quiet', '--no-trunc', '--filter', `label=io.selvedge.instance=default.shop.${microservice}.0`);
  /** When both were started, which another start of either changes. */
  const runs = async (): Promise<string> =>
    docker(
      ...['inspect', '--format', '{{.Id}} {{.State.StartedAt}}'],
      ...[await containerOf('server'), await containerOf('caller')],
    );
  const calls = async (): Promise<void> => {
    const words = '(printf "GET / HTTP/1.0\\r\\n\\r\\n"; sleep 0.2) | nc -w 2 server 8080 | tail -n 1';
    const caller = await containerOf('caller');
    const said = await waitFor('an answer by name', () => docker('exec', caller, 'sh', '-c', words));
    t.is(said, `hello ${(await client.status()).node}`);
  };

  const before = await step(
    'containers beside it are ready, have their files, and call each other by name',
    async () => {
      await writeFile(join(folder, 'app.yaml'), manifest);
      t.regex(await asWritten('docker exec --interactive'), /^Application default\/shop created/m);
      await ready('server');
      await ready('caller');
      t.is(
        await docker('exec', await containerOf('caller'), 'cat', '/selvedge/configs/greeting/text'),
        'hello from a config',
      );
      await calls();
      t.regex(await asWritten('docker exec selvedge selvedge status'), /shop/);
      return runs();
    },
  );

  await step('restarted, it finds them as they were', async () => {
    await docker('restart', 'selvedge');
    await answers();
    await ready('server');
    await calls();
    t.is(await runs(), before);
  });

  await step('removed by force and run again, it goes on with the same fabric and the same containers', async () => {
    const { fabric } = await client.status();
    await docker('rm', '--force', 'selvedge');
    await asWritten('docker run --detach');
    await answers();
    t.is((await client.status()).fabric.id, fabric.id);
    const { restarts } = await ready('server');
    t.is(restarts, 0);
    await calls();
    t.is(await runs(), before);
  });

  await step('ended with all that it runs, it leaves nothing but its data', async () => {
    const routes = await serviceRoutes(docker);
    t.is(routes.length, 1);
    await asWritten('docker update');
    await asWritten('docker run --rm');
    await waitFor('its end', async () => {
      return (await docker('inspect', '--format', '{{.State.Status}}', 'selvedge')) === 'exited';
    });
    t.is(await docker('inspect', '--format', '{{.State.ExitCode}}', 'selvedge'), '0');
    await asWritten('docker rm');
    t.is(await docker('ps', '--all', '--quiet'), '');
    t.is(await docker('network', 'ls', '--quiet', '--filter', 'label=io.selvedge.fabric'), '');
    t.is(await docker('volume', 'ls', '--quiet'), '');
    const { stdout } = await run('ip', ['-4', 'route', 'show', 'table', 'local']);
    for (const route of routes) t.false(stdout.includes(route), route);
  });
});

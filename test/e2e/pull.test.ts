// Images that are not on the node: pulled from a registry of the test's own, told while it goes on, beside everything else, ended when
// nobody needs them. A real daemon and a real Docker Engine. Numbered steps of one story.

import { execFile } from 'node:child_process';
import { chmod, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { busyboxImage, dockerMissing, startDockerd } from '../node-runtime/dockerd.ts';
import { startRegistry } from '../node-runtime/registry.ts';
import { skip } from '../skip.ts';
import { program } from './daemon.ts';
import { createFabric, instanceOf, waitFor } from './fabric.ts';
import { tell } from './story.ts';

const run = promisify(execFile);
const missing = await dockerMissing();

const application = (name: string, images: Record<string, string>): string => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: ${name} }
spec:
  microservices:
${Object.entries(images)
  .map(
    ([microservice, image]) =>
      `    - { name: ${microservice}, engine: docker, image: ${image}, command: [sleep, '1000'] }`,
  )
  .join('\n')}
`;

test('an image is pulled when it is needed, told meanwhile, beside everything else, and no longer than needed', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const dockerd = await step('a Docker Engine', () => startDockerd());
  t.teardown(() => dockerd.close());
  const { docker } = dockerd;
  const [registry, closed] = await step('a registry with one image of 16 MB, and one that wants a login', async () => {
    const archive = join(dockerd.folder, 'root.tar');
    const id = await docker('create', '--network', 'none', busyboxImage, 'true');
    await docker('export', '--output', archive, id);
    await docker('rm', id);
    const files = await readFile(archive);
    await rm(archive);
    return Promise.all([startRegistry(files, 16_000_000), startRegistry(files, 1_000, 'shop:a-secret')]);
  });
  t.teardown(() => registry.close());
  t.teardown(() => closed.close());
  closed.release();
  const logins = join(dockerd.folder, 'registries.json');
  await writeFile(logins, '{}', { mode: 0o600 });
  const fabric = await step('two nodes, one of them with Docker', () =>
    createFabric(t, {
      edges: 1,
      edgeOptions: ['--registry-auth', logins],
      options: ['--container-range', '10.216.0.0/16'],
      envOf: (node): Record<string, string> => (node === 'control' ? {} : { DOCKER_HOST: dockerd.host }),
    }),
  );
  const { client } = fabric.control.daemon;
  const see = async (name: string) => instanceOf(await client.application('default', name), 'slow');
  const pulling = (name: string) =>
    waitFor('how far the pull is', async () => {
      const { state, reason } = await see(name);
      if (state !== 'pulling' || !/ % of /.test(reason)) throw new Error(`${state}: ${reason}`);
      return reason;
    });

  await step('while it is pulled, the state and the command line say how far it is', async () => {
    await fabric.apply(application('shop', { slow: registry.image('web') }));
    t.regex(await pulling('shop'), /^pulling 127\.0\.0\.1:\d+\/web:1: \d+ % of 1\d MB$/);
    const words = ['describe', 'instance', 'default.shop.slow.0', '--data', fabric.control.dataFolder];
    const { stdout } = await run(process.execPath, [program, ...words]);
    t.regex(stdout, /pulling[\s\S]* % of /);
  });

  await step('meanwhile other containers start', async () => {
    await fabric.apply(application('other', { quick: busyboxImage }));
    await fabric.ready('other');
    t.is((await see('shop')).state, 'pulling');
  });

  await step('what is deleted meanwhile ends its pull, and nothing of it is left', async () => {
    await client.deleteApplication('default', 'shop');
    await waitFor('the download to be given up', () => registry.givenUp > 0);
    await waitFor('the instance to be gone', async () => {
      const { nodes } = await fabric.control.status();
      return nodes.flatMap(({ instances }) => instances).every(({ application: of }) => of !== 'shop');
    });
    t.is(await docker('images', '--quiet', registry.image('web')), '');
  });

  await step('once all of it is here, it runs', async () => {
    await fabric.apply(application('shop', { slow: registry.image('web') }));
    await pulling('shop');
    registry.release();
    await fabric.ready('shop');
    t.not(await docker('images', '--quiet', registry.image('web')), '');
  });

  await step('an image that is there is not asked for again', async () => {
    const before = registry.asked.length;
    await fabric.apply(application('again', { slow: registry.image('web') }));
    await fabric.ready('again');
    t.is(registry.asked.length, before);
  });

  await step('an image that nobody has is told, and tried again', async () => {
    await fabric.apply(application('typo', { slow: registry.image('web').replace(/:1$/, ':2') }));
    const { reason } = await waitFor('why it does not start', async () => {
      const found = await see('typo');
      return found.state === 'backingOff' ? found : undefined;
    });
    t.regex(reason, /^its image is not there: Docker refused to pull 127\.0\.0\.1:\d+\/web:2: .*manifest/);
  });

  await step('a registry that wants a login gets its own alone, and its refusal says what to do', async () => {
    const [host = ''] = closed.image('web').split('/');
    const auth = (login: string) => ({ auth: Buffer.from(login).toString('base64') });
    const write = async (own: object): Promise<void> => {
      const other = registry.image('web').split('/')[0] ?? '';
      await writeFile(logins, JSON.stringify({ auths: { ...own, [`${other}0`]: auth('other:other-secret') } }));
      await chmod(logins, 0o600);
    };
    const refused = (what: RegExp) =>
      waitFor(`${what}`, async () => {
        const { reason } = await see('closed');
        if (!what.test(reason)) throw new Error(reason);
        return reason;
      });
    await write({});
    await fabric.apply(application('closed', { slow: closed.image('web') }));
    await refused(
      new RegExp(`the registry ${host} wants credentials, and this node has none for it; .*--registry-auth`),
    );
    t.deepEqual([...closed.logins], []);
    await write({ [host]: auth('shop:wrong') });
    await refused(/those that this node has for it were refused/);
    await chmod(logins, 0o644);
    await refused(/others may use it \(mode 644\)/);
    await write({ [host]: auth('shop:a-secret') });
    await fabric.ready('closed');
    for (const login of closed.logins) {
      const text = Buffer.from(login.replace('Basic ', ''), 'base64').toString();
      t.true(['shop:wrong', 'shop:a-secret'].includes(text), text);
    }
    t.deepEqual([...registry.logins], [], 'nothing was said where nothing was wanted');
    const told = [fabric.control, ...fabric.edges].map((node) => node.output()).join('');
    t.notRegex(told, /a-secret|other-secret|c2hvcDph/);
  });

  await step(
    'what the node does not allow fails with what would allow it; without it the container runs, held to its resources',
    async () => {
      const manifest = (rights: string): string =>
        application('drive', { slow: busyboxImage }).replace(
          'engine: docker,',
          `engine: docker, user: '1000', resources: { memory: 24Mi, pids: 20 }, volumes: [{ name: data, path: /data }], ${rights}`,
        );
      await fabric.apply(manifest('devices: [/dev/fuse],'));
      const { reason } = await waitFor('the refusal', async () => {
        const found = await see('drive');
        return found.state === 'failed' ? found : undefined;
      });
      t.is(reason, 'this node does not allow the devices /dev/fuse; `selvedge up --allow devices` on it would');
      const words = ['describe', 'node', 'edge-1', '--data', fabric.control.dataFolder];
      t.regex((await run(process.execPath, [program, ...words])).stdout, /allows +nothing beyond a container/);
      await fabric.apply(manifest(''));
      await fabric.ready('drive');
      const filter = 'label=io.selvedge.instance=default.drive.slow.0';
      const id = await docker('ps', '--quiet', '--filter', filter);
      t.is(await docker('inspect', '--format', '{{.Config.User}} {{.HostConfig.Memory}}', id), '1000 25165824');
    },
  );

  await step('a program that takes more memory than it may says so', async () => {
    const greedy = application('greedy', { slow: busyboxImage })
      .replace(/engine: docker, image: [^,]+,/, 'engine: process, resources: { memory: 24Mi },')
      .replace("[sleep, '1000']", "[sh, -c, 'x=0123456789abcdef; while :; do x=$x$x; done']");
    await fabric.apply(greedy);
    const { reason, limits } = await waitFor('its end', async () => {
      const found = await see('greedy');
      return found.state === 'backingOff' ? found : undefined;
    });
    if (limits === undefined) t.is(reason, 'it ran out of its memory limit of 24Mi');
    else t.regex(limits, /^memory is held for each process alone/);
  });
});

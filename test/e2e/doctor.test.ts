// `selvedge doctor` on a real controller and a real worker, with the daemon up and down, and on what is broken. It changes nothing.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, readdir, readFile, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { program } from './daemon.ts';
import { createFabric, waitFor } from './fabric.ts';
import { tell } from './story.ts';

interface Report {
  ok: boolean;
  dataFolder: string;
  checks: { id: string; status: 'ok' | 'warn' | 'fail'; message: string; action: string }[];
}

/** What depends on the box that the tests run on, and not on the product. */
const ofTheBox = new Set([
  'clock',
  'disk-space',
  'disk-speed',
  'descriptors',
  'limits',
  'engine-docker',
  'engine-wasm',
  'mesh-port',
  'tunnel-port',
  'mdns-port',
  'multicast',
  'default-route',
  'names',
  'networks',
  'secrets',
  'node-version',
]);

async function doctor(t: ExecutionContext, dataFolder: string): Promise<Report & { exit: number }> {
  const { promise, resolve } = Promise.withResolvers<{ exit: number; stdout: string; stderr: string }>();
  execFile(process.execPath, [program, 'doctor', '--data', dataFolder, '-o', 'json'], (error, stdout, stderr) =>
    resolve({ exit: error === null ? 0 : Number(error.code), stdout, stderr }),
  );
  const { exit, stdout, stderr } = await promise;
  t.is(stderr, '');
  const report = JSON.parse(stdout) as Report;
  t.is(exit, report.ok ? 0 : 1);
  t.is(
    report.ok,
    report.checks.every(({ status }) => status !== 'fail'),
  );
  for (const { status, message, action } of report.checks) {
    t.not(message, '');
    if (status !== 'ok') t.not(action, '', message);
  }
  return { ...report, exit };
}

const found = ({ checks }: Report, id: string): string => {
  const check = checks.find((one) => one.id === id);
  return `${check?.status}: ${check?.message}`;
};

const troubles = ({ checks }: Report): string[] =>
  checks.filter(({ id, status }) => status !== 'ok' && !ofTheBox.has(id)).map(({ id, status }) => `${id} ${status}`);

/** Every file with its content's hash, time of change and mode. */
async function fingerprint(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const lines = entries.map(async (entry) => {
    const path = join(entry.parentPath, entry.name);
    const { mtimeMs, mode } = await stat(path);
    const hash = entry.isFile()
      ? createHash('sha256')
          .update(await readFile(path))
          .digest('hex')
      : '';
    return `${path} ${mode} ${mtimeMs} ${hash}`;
  });
  return (await Promise.all(lines)).sort();
}

test('the doctor tells how a node is, running or not, and changes nothing', async (t) => {
  const step = tell(t);
  const { control, edge } = await step('a controller and a worker', async () => {
    const fabric = await createFabric(t, { edges: 1 });
    const [first] = fabric.edges;
    if (first === undefined) throw new Error('there is no edge node');
    return { control: fabric.control, edge: first };
  });

  await step('running, all is well', async () => {
    for (const node of [control, edge]) {
      const report = await doctor(t, node.dataFolder);
      t.deepEqual(troubles(report), [], node.name);
      t.is(found(report, 'daemon'), `ok: it runs, as ${node.name}`);
      t.regex(found(report, 'links'), /^ok: 1: (edge-1|control)$/);
      t.is(found(report, 'store'), 'ok: the running daemon has it open');
      t.regex(found(report, 'certificate-node'), /^ok: .*\((29|30) days\)$/);
    }
    t.regex(found(await doctor(t, control.dataFolder), 'certificate-issuing'), /^ok: .*\(36[45] days\)$/);
    t.is(found(await doctor(t, edge.dataFolder), 'controllers'), 'ok: one is linked');
  });

  await step('what is planned for a node and refused by its policy is named, with what would allow it', async () => {
    const module = { hostPath: '/srv/web.wasm', sha256: '0a'.repeat(32) };
    const manifest = {
      apiVersion: 'selvedge/v1',
      kind: 'Application',
      metadata: { name: 'shop' },
      spec: {
        microservices: [{ name: 'web', engine: 'wasm', module, placement: { node: 'edge-1' } }],
      },
    };
    await control.daemon.client.apply([manifest], ['test.yaml']);
    const refused = await waitFor('the doctor to say so', async () => {
      const report = await doctor(t, edge.dataFolder);
      return found(report, 'policy').startsWith('warn') ? report : undefined;
    });
    t.is(
      found(refused, 'policy'),
      'warn: default.shop.web.0: this node does not allow the module /srv/web.wasm of its box; `selvedge up --allow host-paths` on it would',
    );
    t.deepEqual(troubles(refused), ['policy warn']);
    t.is(found(await doctor(t, control.dataFolder), 'policy'), 'ok: nothing that is planned here is refused');
    await control.daemon.client.deleteApplication('default', 'shop');
    await waitFor('nothing to be refused', async () =>
      found(await doctor(t, edge.dataFolder), 'policy').startsWith('ok'),
    );
  });

  await step('stopped, it reads the data folder, and leaves it as it was', async () => {
    await edge.daemon.kill('SIGTERM');
    const before = await fingerprint(edge.dataFolder);
    const report = await doctor(t, edge.dataFolder);
    t.deepEqual(troubles(report), ['daemon warn']);
    t.is(found(report, 'files'), 'ok: edge-1, a worker of e2e; all files are whole and belong together');
    t.is(found(report, 'store'), 'ok: can be opened');
    t.regex(found(report, 'controllers'), /^ok: something answers at /);
    await control.daemon.kill('SIGTERM');
    t.regex(found(await doctor(t, edge.dataFolder), 'controllers'), /^warn: none answers at the \d+ addresses/);
    const controller = await doctor(t, control.dataFolder);
    t.is(found(controller, 'files'), 'ok: control, a controller of e2e; all files are whole and belong together');
    t.deepEqual(await fingerprint(edge.dataFolder), before);
  });

  await step('what is broken is named', async () => {
    const { dataFolder } = edge;
    await truncate(join(dataFolder, 'authority.pem'), 10);
    await truncate(join(dataFolder, 'store', 'CURRENT'), 0);
    await chmod(dataFolder, 0o755);
    const report = await doctor(t, dataFolder);
    t.is(report.exit, 1);
    t.regex(found(report, 'files'), /^fail: the file authority\.pem .* holds no private key$/);
    t.is(found(report, 'store'), `fail: the store in ${join(dataFolder, 'store')} is damaged`);
    t.regex(found(report, 'data-folder'), /^fail: .*open to other users \(mode 755\)/);
  });
});

test('a box that has nothing yet is told how to begin', async (t) => {
  const report = await doctor(t, '/tmp/selvedge-there-is-no-such-folder');
  t.deepEqual(troubles(report), ['daemon warn']);
  t.regex(found(report, 'files'), /selvedge up --found/);
});

// Each file of a real data folder, a controller's and a worker's, damaged in each way: the node starts as the one that it was, or
// ends with an error that names the file and says what to do. It never makes itself a new identity.

import { spawn } from 'node:child_process';
import { chmod, chown, cp, lstat, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { processesOf } from '../../control/cli/demo-folder.ts';
import { createFileDisk } from '../../node-runtime/file-disk.ts';
import { settleOptions } from '../../node-runtime/kept-options.ts';
import { createSystemRandom } from '../../node-runtime/system-random.ts';
import { readCertificate } from '../../pki/certificate-reader.ts';
import { createRoot, issueControllerAuthority, issueNodeAuthority } from '../../pki/certificates.ts';
import { createNodeKeys } from '../../pki/node-keys.ts';
import { skip } from '../skip.ts';
import { sliceOf } from '../slice.ts';
import { program } from './daemon.ts';
import { createFabric, waitFor } from './fabric.ts';
import { startOffline } from './offline-node.ts';
import { findOtherUser, otherUserId } from './other-user.ts';
import { tell } from './story.ts';

const manifest = `
apiVersion: selvedge/v1
kind: Config
metadata: { name: words }
spec: { files: { a.txt: { text: 'some words that are long enough to be cut in half' } } }
---
apiVersion: selvedge/v1
kind: Application
metadata: { name: work }
spec:
  microservices:
${['control', 'edge-1']
  .map(
    (node) => `
    - name: on-${node}
      engine: process
      command: [sleep, '1000']
      configs: [words]
      placement: { node: ${node} }`,
  )
  .join('')}
`;

const damages = ['cut in half', 'emptied', 'unreadable', 'from another node'] as const;
type Damage = (typeof damages)[number];

/**
 * Files without which a node starts as the one that it was: what they said is found elsewhere, made anew, or no longer needed.
 * Damage to any other is an error that names it.
 */
const mended: readonly RegExp[] = [
  // Above every count that can have been.
  /^boot-counter$/,
  // The plan and its files from the mailbox, the pointer from the folder beside it.
  /^obeyed\//,
  // Signs nothing while the node runs: a warning.
  /^root\.pem$/,
  // Terms go on after those of the plans.
  /^lease\.jsonl$/,
  // The fact is in the bulletin, too.
  /^revocations\//,
  // Everything of an instance is made again at its next launch.
  /^(wasm\/)?instances\//,
  // Of a worker: its mailbox comes again from a controller.
  /^store\/\d+\.log$/,
];

/** Files that nobody reads back: a lock, and logs. The scripts of modules are those of programs, made by the same code. */
const indifferent = /^(selvedge\.sock|selvedge\.log|store\/(LOCK|LOG|LOG\.old)|wasm\/instances\/\.scripts\/.*)$/;

/** Relative paths of all files, sorted. */
async function filesOf(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return files.map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1)).sort();
}

/** False when the damage does not exist for this file. */
async function damage(folder: string, path: string, how: Damage, other: string): Promise<boolean> {
  const full = join(folder, path);
  const { size } = await lstat(full);
  if (how === 'cut in half') {
    if (size < 2) return false;
    await truncate(full, Math.floor(size / 2));
  } else if (how === 'emptied') {
    if (size === 0) return false;
    await truncate(full, 0);
  } else if (how === 'unreadable') {
    // A folder in its place: root may read a file of any mode.
    await rm(full);
    await mkdir(full);
  } else {
    const theirs = await readFile(join(other, path)).catch(() => undefined);
    if (theirs === undefined || theirs.equals(await readFile(full))) return false;
    await writeFile(full, theirs);
  }
  return true;
}

async function copyOf(original: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-damaged-'));
  await cp(original, folder, { recursive: true, filter: (source) => !source.endsWith('.sock') });
  return folder;
}

/** With what was started from it: a start that failed leaves its workloads running. */
async function removeCopy(folder: string): Promise<void> {
  for (const pid of await processesOf(folder)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended by itself.
    }
  }
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
}

interface Outcome {
  path: string;
  how: Damage;
  /** `starts` or the error's id. */
  what: string;
  message: string;
  problems: string[];
}

async function tryOut(original: string, path: string, how: Damage, other: string): Promise<Outcome | undefined> {
  const folder = await copyOf(original);
  const keys = async (): Promise<string> =>
    (
      await Promise.all(
        ['identity.pem', 'authority.pem'].map((key) => readFile(join(folder, key), 'latin1').catch(String)),
      )
    ).join();
  try {
    if (!(await damage(folder, path, how, other))) return undefined;
    const before = await keys();
    let outcome: Outcome;
    try {
      const { node, problems } = await startOffline(folder);
      const status = await node.status();
      const me = `${status.node} ${node.peerId}`;
      await node.stop({ workloads: true });
      outcome = { path, how, what: 'starts', message: me, problems };
    } catch (error) {
      const { id, message, action } = error as { id?: string; message: string; action?: string };
      const what = id === undefined || action === undefined ? `no id: ${String((error as Error).stack)}` : id;
      outcome = { path, how, what, message: message.replaceAll(folder, ''), problems: [] };
    }
    if ((await keys()) !== before) outcome.what = 'its keys were replaced';
    return outcome;
  } finally {
    await removeCopy(folder);
  }
}

/** One `selvedge up`, until it ends by itself; status null when it would go on. */
async function up(
  folder: string,
  command: (words: string[]) => [string, ...string[]] = ([file = '', ...rest]) => [file, ...rest],
): Promise<{ status: number | null; text: string }> {
  const words = [process.execPath, program, 'up', '--data', folder, '--port', '0'];
  const [file, ...rest] = command(words);
  const child = spawn(file, rest, { stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      text += String(chunk);
    });
  const timer = setTimeout(() => child.kill('SIGKILL'), 30_000);
  const { promise, resolve } = Promise.withResolvers<number | null>();
  child.on('close', (status) => resolve(status));
  const status = await promise;
  clearTimeout(timer);
  return { status, text };
}

/** Gives the node an authority that its controller signed half a year ago. */
async function expire(folder: string, controller: string): Promise<void> {
  const keys = createNodeKeys();
  const read = async (path: string): Promise<string> => await readFile(path, 'utf8');
  const membership = JSON.parse(await read(join(folder, 'membership.json')));
  const rootKey = keys.fromPem(await read(join(controller, 'root.pem')));
  const moment = { random: createSystemRandom(), nowMs: Date.now() - 180 * 86_400_000 };
  const { userId: peerId = '' } = readCertificate(Buffer.from(membership.chain[0], 'base64'));
  const issuer = readCertificate(Buffer.from(membership.chain[1], 'base64'));
  const root = createRoot({ key: rootKey, fabricName: membership.fabricName, ...moment });
  const issuingKey = keys.fromPem(await read(join(controller, 'issuing.pem')));
  const issuing = issueControllerAuthority({
    issuer: { key: rootKey, certificate: root },
    publicKey: issuingKey.publicKey,
    node: issuer.commonName ?? '',
    peerId: issuer.userId ?? '',
    ...moment,
  });
  const authority = issueNodeAuthority({
    issuer: { key: issuingKey, certificate: issuing },
    publicKey: keys.fromPem(await read(join(folder, 'authority.pem'))).publicKey,
    node: membership.node,
    peerId,
    fabricId: membership.fabricId,
    covers: [{ project: 'default', application: 'work', microservice: `on-${membership.node}` }],
    issueNumber: 100,
    ...moment,
  });
  const chain = [authority, issuing, root].map((der) => Buffer.from(der).toString('base64'));
  await writeFile(join(folder, 'membership.json'), JSON.stringify({ ...membership, chain }));
}

async function prepare(t: ExecutionContext): Promise<{ control: string; edge: string; stranger: string }> {
  const fabric = await createFabric(t, {
    edges: 1,
    options: ['--location', 'hall 2', '--allow-image', 'registry.example/*'],
  });
  await fabric.apply(manifest);
  await fabric.ready('work');
  const [edge] = fabric.edges;
  if (edge === undefined) throw new Error('there is no edge node');
  const pids = [(await fabric.control.instance('on-control')).pid, (await edge.instance('on-edge-1')).pid];
  await Promise.all([fabric.control, edge].map(({ daemon }) => daemon.kill('SIGTERM')));
  // Copies of these folders are started below: none may find, and end, a process of the original.
  for (const pid of pids) if (pid !== undefined) process.kill(pid, 'SIGKILL');
  const stranger = await mkdtemp(join(tmpdir(), 'selvedge-stranger-'));
  t.teardown(() => rm(stranger, { recursive: true, force: true }));
  const disk = createFileDisk(stranger);
  const { node } = await startOffline(stranger, { found: true });
  await (await settleOptions({ disk, keys: createNodeKeys(), given: { location: 'elsewhere' }, forget: [] })).keep();
  await (await node.joined).controller?.createToken({ uses: 1, ttlMs: 60_000, labels: {}, router: 'edge' });
  await node.stop({ workloads: false });
  return { control: fabric.control.dataFolder, edge: edge.dataFolder, stranger };
}

test('a damaged file is named, or mended, and never costs a node its identity', async (t) => {
  const step = tell(t);
  const { control, edge, stranger } = await step('a controller and a worker that ran something, stopped', () =>
    prepare(t),
  );
  const wrong: string[] = [];

  for (const [name, folder, other] of [
    ['control', control, stranger],
    ['edge-1', edge, control],
  ] as const) {
    await step(`every file of ${name}, in every way`, async () => {
      const paths = (await filesOf(folder)).filter((path) => !indifferent.test(path));
      for (const must of [
        'identity.pem',
        'authority.pem',
        'membership.json',
        'boot-counter',
        'kept-options.json',
        'obeyed/current',
        'store/CURRENT',
      ])
        t.true(paths.includes(must), must);
      const all = paths.flatMap((path) => damages.map((how) => ({ path, how })));
      const work = sliceOf(all, 3);
      // The original stays as it is: starting it would change its files.
      const intact = await copyOf(folder);
      const { node } = await startOffline(intact);
      const expected = `${(await node.status()).node} ${node.peerId}`;
      await node.stop({ workloads: true });
      await removeCopy(intact);
      const one = async ({ path, how }: { path: string; how: Damage }): Promise<void> => {
        const outcome = await tryOut(folder, path, how, other);
        if (outcome === undefined) return;
        t.log(
          `${name} ${path} ${how}: ${outcome.what} ${outcome.what === 'starts' ? outcome.problems.join(' | ') : outcome.message}`,
        );
        const named = path.startsWith('store/') ? 'store' : path;
        const good =
          outcome.what === 'starts'
            ? outcome.message === expected && mended.some((file) => file.test(path))
            : /^[a-z]+(-[a-z]+)+$/.test(outcome.what) && outcome.message.includes(named);
        if (!good) wrong.push(`${name}: ${path} ${how}: ${outcome.what}: ${outcome.message}`);
      };
      const worker = async (): Promise<void> => {
        for (let next = work.shift(); next !== undefined; next = work.shift()) await one(next);
      };
      await Promise.all(Array.from({ length: 3 }, worker));
    });
  }
  t.deepEqual(wrong, []);

  await step('`selvedge up` says it once, and ends with 78: starting it again does not help', async () => {
    for (const [path, how, message] of [
      [
        'identity.pem',
        'from another node',
        /^error: the file identity\.pem of the data folder is damaged: it is the key of peer /m,
      ],
      [
        'membership.json',
        'cut in half',
        /^error: the file membership\.json of the data folder is damaged: it is no JSON$/m,
      ],
      [
        'kept-options.json',
        'cut in half',
        /^error: the file kept-options\.json of the data folder is damaged: it is no JSON$/m,
      ],
      ['store/CURRENT', 'emptied', /^error: the store in .*\/store is damaged/m],
    ] as const) {
      const folder = await copyOf(control);
      try {
        t.true(await damage(folder, path, how, stranger));
        const { status, text } = await up(folder);
        t.is(status, 78, text);
        t.regex(text, message);
        t.is(text.match(/^error: /gm)?.length, 1);
        t.regex(text, /backup|move it away/, 'and what to do');
        const detached = await up(folder, ([file = '', ...rest]) => [file, ...rest, '--detach']);
        t.is(detached.status, 78, detached.text);
        t.regex(detached.text, message, 'the same in the background');
      } finally {
        await removeCopy(folder);
      }
    }
  });

  await step('an ordinary user that may not read a file is told which one', async () => {
    const other = await findOtherUser();
    if (typeof other === 'string') return skip(t, other);
    const folder = await copyOf(edge);
    try {
      for (const path of ['.', ...(await readdir(folder, { recursive: true }))])
        await chown(join(folder, path), otherUserId, otherUserId);
      await chmod(join(folder, 'identity.pem'), 0);
      const { status, text } = await up(folder, other.command);
      t.is(status, 78, text);
      t.regex(text, /^error: cannot read .*\/identity\.pem: EACCES/m);
      t.regex(text, /chown/);
    } finally {
      await removeCopy(folder);
    }
  });

  await step('a node whose certificate has expired runs what it should, and says what to do', async () => {
    const folder = await copyOf(edge);
    try {
      await expire(folder, control);
      const { node, problems } = await startOffline(folder);
      t.regex(problems.join(), /the certificate of this node expired on .*: what it runs goes on/);
      await waitFor('the workload to run', async () => {
        const [own] = (await node.status()).nodes;
        return own?.instances[0]?.state === 'running';
      });
      await node.stop({ workloads: true });
    } finally {
      await removeCopy(folder);
    }
  });

  await step('a box whose clock is not set runs what it should', async () => {
    const folder = await copyOf(edge);
    try {
      const { node, problems } = await startOffline(folder, { clockMs: Date.UTC(1970, 0, 2) });
      t.regex(problems.join(), /the clock of this box says 1970-01-02.*until the clock is set/);
      await waitFor('the workload to run', async () => {
        const [own] = (await node.status()).nodes;
        return own?.instances[0]?.state === 'running';
      });
      await node.stop({ workloads: true });
    } finally {
      await removeCopy(folder);
    }
  });

  await step('a file that is gone is no reason to begin anew', async () => {
    for (const path of ['identity.pem', 'membership.json', 'controller.json']) {
      const folder = await copyOf(control);
      try {
        await rm(join(folder, path));
        const { status, text } = await up(folder, (words) => [words[0] as string, ...words.slice(1), '--found']);
        t.is(status, 78, text);
        t.regex(
          text,
          new RegExp(`^error: the file ${path.replace('.', '\\.')} of the data folder is damaged: it is missing`, 'm'),
        );
      } finally {
        await removeCopy(folder);
      }
    }
  });
});

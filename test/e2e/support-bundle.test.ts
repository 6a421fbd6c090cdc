// The support bundle of a real node: what is in it, and that none of the secrets which this test plants is, wherever it was put.

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { createRedaction } from '../../control/cli/redaction.ts';
import { selvedge, selvedgeJson } from './command.ts';
import { createFabric, waitFor } from './fabric.ts';

interface Bundled {
  path: string;
  bytes: number;
  contents: { name: string; bytes: number }[];
}

/** All text of the unpacked bundle. */
function unpacked(path: string, folder: string): Map<string, string> {
  execFileSync('tar', ['-xzf', path, '-C', folder]);
  const root = join(folder, 'selvedge-support');
  const entries = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    entries.map((entry) => {
      const file = join(entry.parentPath, entry.name);
      return [file.slice(root.length + 1), readFileSync(file, 'utf8')];
    }),
  );
}

test('a bundle has what helps and none of the secrets, with the daemon up and down', async (t) => {
  const { control, edges, tokens, apply, ready } = await createFabric(t, { edges: 1 });
  const [edge] = edges;
  if (edge === undefined) throw new Error('there is no worker');
  const folder = mkdtempSync(join(tmpdir(), 'selvedge-bundle-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const secret = (name: string): string => `${name}-${randomBytes(12).toString('hex')}`;
  const planted = { env: secret('environment'), config: secret('config-line'), unknown: secret('never-seen') };
  const secrets = { alone: secret('value'), first: secret('first line'), second: `x${randomBytes(3).toString('hex')}` };
  await apply(`
apiVersion: selvedge/v1
kind: Config
metadata: { name: words }
spec: { files: { a.txt: { text: "first\\nkey = ${planted.config}\\nlast" } } }
---
apiVersion: selvedge/v1
kind: Secret
metadata: { name: keys }
spec: { data: { alone: { text: "${secrets.alone}" }, both: { text: "${secrets.first}\\n${secrets.second}" } } }
---
apiVersion: selvedge/v1
kind: Application
metadata: { name: loud }
spec:
  microservices:
    - name: loud
      engine: process
      command: [sh, -c, 'echo says "$DATABASE_WORD" ${planted.unknown} "$ALONE" and; cat secrets/keys/both; exec sleep 1000']
      env: { DATABASE_WORD: '${planted.env}', ALONE: { secret: keys, key: alone } }
      secrets: [keys]
      configs: [words]
      placement: { node: edge-1 }
`);
  await ready('loud');
  const token = tokens[0] ?? '';
  const key = readFileSync(join(edge.dataFolder, 'identity.pem'), 'utf8');
  const keyLines = key.split('\n').filter((line) => line !== '' && !line.startsWith('-----'));
  // As a careless program would have it.
  appendFileSync(
    join(edge.dataFolder, 'selvedge.log'),
    `the daemon said ${planted.env}, ${planted.config}, ${token}, ${keyLines.join(' ')}, password=${planted.unknown}\n`,
  );

  const hidden = [planted.env, planted.config, ...Object.values(secrets), token, ...keyLines];
  const check = async (name: string, options: string[], expected: string[]): Promise<Map<string, string>> => {
    const out = join(folder, `${name}.tgz`);
    const made = await selvedgeJson<Bundled>(edge.dataFolder, 'support-bundle', '--out', out, ...options);
    t.is(made.path, out);
    t.is(statSync(out).mode & 0o777, 0o600);
    t.is(statSync(out).size, made.bytes);
    const into = mkdtempSync(join(folder, 'unpacked-'));
    const files = unpacked(out, into);
    t.deepEqual([...files.keys()].sort(), made.contents.map((one) => one.name).sort());
    for (const file of expected) t.true(files.has(file), file);
    for (const [file, text] of files) {
      for (const one of hidden) t.false(text.includes(one), `${file} has ${one}`);
      t.notRegex(text, /PRIVATE KEY/);
    }
    return files;
  };

  const up = await check(
    'up',
    [],
    ['doctor.json', 'status.json', 'daemon.log', 'data-folder.json', 'unit.txt', 'README.txt'],
  );
  t.regex(up.get('daemon.log') ?? '', /the daemon said \[removed\], \[removed\]/);
  t.false(
    [...up.values()].some((text) => text.includes(planted.unknown)),
    'no output of workloads unless asked for',
  );
  t.like(JSON.parse(up.get('status.json') ?? ''), { node: 'edge-1' });
  const { files } = JSON.parse(up.get('data-folder.json') ?? '') as { files: { path: string; mode: string }[] };
  t.like(
    files.find(({ path }) => path === 'identity.pem'),
    { mode: '600', kind: 'file' },
  );
  t.true((JSON.parse(up.get('doctor.json') ?? '') as { id: string }[]).some(({ id }) => id === 'disk-speed'));

  const logs = await check('logs', ['--logs'], ['logs/default.loud.loud.0.log']);
  t.regex(
    logs.get('logs/default.loud.loud.0.log') ?? '',
    new RegExp(`says \\[removed\\] ${planted.unknown} \\[removed\\] and\\n.*\\[removed\\]\\n.*\\[removed\\]`),
  );

  const plans = (): string => readFileSync(join(edge.dataFolder, 'obeyed', 'current'), 'utf8');
  const before = plans();
  await apply(`
apiVersion: selvedge/v1
kind: Secret
metadata: { name: keys }
spec: { data: { alone: { text: "${secret('new value')}" }, both: { text: "${secrets.first}\\n${secrets.second}" } } }
`);
  await waitFor('the plan with the new value to be obeyed', () => plans() !== before);
  const changed = await check('changed', ['--logs'], ['logs/default.loud.loud.0.log']);
  t.regex(changed.get('logs/default.loud.loud.0.log') ?? '', /says \[removed\]/, 'the value that it was started with');

  const again = await selvedge(edge.dataFolder, 'support-bundle', '--out', join(folder, 'up.tgz'));
  t.is(again.status, 1);
  t.regex(again.error, /it is there already/);
  t.true(
    unpacked(join(folder, 'up.tgz'), mkdtempSync(join(folder, 'kept-'))).has('status.json'),
    'and is left as it was',
  );

  await edge.daemon.client.down(true);
  await edge.daemon.ended;
  const down = await check('down', [], ['doctor.json', 'daemon.log', 'data-folder.json']);
  t.regex(down.get('status.json') ?? '', /notThere/);

  const controller = join(folder, 'control.tgz');
  const text = await selvedge(control.dataFolder, 'support-bundle', '--logs', '--out', controller);
  t.is(text.status, 0, text.error);
  t.regex(text.out, /control\.tgz \(\d+ kB\): README\.txt, box\.json/);
  const root = readFileSync(join(control.dataFolder, 'root.pem'), 'utf8').split('\n')[1] ?? '';
  for (const [file, content] of unpacked(controller, mkdtempSync(join(folder, 'control-')))) {
    t.false(content.includes(root) && root.length > 0, file);
    for (const one of hidden) t.false(content.includes(one), file);
  }
});

test('secrets are taken out by their form, their name and their value', (t) => {
  const { text, value } = createRedaction(['hunter2hunter2', 'short', 'with "quotes" in it']);
  const cases: [string, string][] = [
    ['a hunter2hunter2 b', 'a [removed] b'],
    ['a short b', 'a short b'],
    [JSON.stringify({ a: 'with "quotes" in it' }), '{"a":"[removed]"}'],
    ['sv1_abc234_Zz-9_x and more', '[removed] and more'],
    ['the code K7-ABCD-EFGH-JK is shown', 'the code [removed] is shown'],
    ['Authorization: Bearer abc.def', 'Authorization: [removed]'],
    ['PASSWORD=open sesame', 'PASSWORD=[removed] sesame'],
    ['-----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY-----\nrest', '[removed]\nrest'],
    ['-----BEGIN EC PRIVATE KEY-----\nMIG cut off', '[removed]'],
    ['nothing of it', 'nothing of it'],
  ];
  for (const [given, expected] of cases) t.is(text(given), expected);
  t.deepEqual(value({ env: { A: '1', B: 'x' }, token: 'abc', list: [{ password: 1 }], name: 'hunter2hunter2' }), {
    env: { A: '[removed]', B: '[removed]' },
    token: '[removed]',
    list: [{ password: '[removed]' }],
    name: '[removed]',
  });
});

import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { loadManifests } from '../../control/cli/manifest-files.ts';
import { validateManifests } from '../../control/manifest.ts';
import { cli, fakeDaemon, temporaryFolder, testHost } from './cli-harness.ts';

const config = (files: string): string =>
  `apiVersion: selvedge/v1\nkind: Config\nmetadata: {name: c}\nspec:\n  files:\n${files}`;

async function load(
  t: ExecutionContext,
  text: string,
  files: Record<string, string | Uint8Array> = {},
): Promise<unknown[]> {
  const folder = await temporaryFolder(t);
  for (const [path, content] of Object.entries({ 'app.yaml': text, ...files })) {
    await mkdir(join(folder, path, '..'), { recursive: true });
    await writeFile(join(folder, path), content);
  }
  return await loadManifests(['app.yaml'], testHost({ workingFolder: folder }));
}

test('several documents of several files come in order, each with its file and line', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'a.yaml'), '# comment\nkind: A\n---\n---\n\nkind: B\n');
  await writeFile(join(folder, 'b.json'), '{"kind": "C"}');
  const loaded = await loadManifests(['a.yaml', 'b.json', '-'], testHost({ workingFolder: folder, input: 'kind: D' }));
  t.deepEqual(
    loaded.map(({ value, source }) => ({ value, source })),
    [
      { value: { kind: 'A' }, source: 'a.yaml:2' },
      { value: { kind: 'B' }, source: 'a.yaml:6' },
      { value: { kind: 'C' }, source: 'b.json:1' },
      { value: { kind: 'D' }, source: 'stdin:1' },
    ],
  );
});

test('a field is found by its path, at its line and column', async (t) => {
  const folder = await temporaryFolder(t);
  const text = '---\nkind: A\n---\na: &x\n  - b\n  - c: {d: 1}\n"e f": *x\ng-h:\n  i: 1\n';
  await writeFile(join(folder, 'a.yaml'), text);
  const [, document] = await loadManifests(['a.yaml'], testHost({ workingFolder: folder }));
  for (const [path, place] of [
    ['', '4:1'],
    ['a', '4:1'],
    ['a[1]', '6:5'],
    ['a[1].c.d', '6:9'],
    ['["e f"][0]', '5:5'],
    ['g-h.i', '9:3'],
    ['g-h.missing', '8:1'],
    ['a[7].x', '4:1'],
    ['no[path', '4'],
  ] as const) {
    t.is(document?.placeOf(path), `a.yaml:${place}`, path);
  }
});

test('deep nesting is refused before the parser follows it', async (t) => {
  const many = 1_000_000;
  const cases: [string, RegExp][] = [
    ['['.repeat(many), /^app\.yaml:1:65: it is nested deeper than 64 levels$/],
    [`a: b\n# [[[[[[\nc: ${'{a: '.repeat(many)}`, /^app\.yaml:3:\d+: it is nested deeper than 64 levels$/],
    [`${'- '.repeat(many)}x`, /^app\.yaml:1:\d+: it is nested deeper than 64 levels$/],
    [Array.from({ length: 2_500 }, (_, level) => `${' '.repeat(level)}a:`).join('\n'), /nested deeper than|levels/],
  ];
  for (const [text, message] of cases) {
    const startedAt = performance.now();
    const error = await t.throwsAsync(
      load(t, text).then((documents) => validateManifests(documents.map((one) => (one as { value: unknown }).value))),
      { message },
    );
    t.truthy(error);
    t.true(performance.now() - startedAt < 10_000, `${performance.now() - startedAt} ms`);
  }
  await t.notThrowsAsync(load(t, `a: ${'['.repeat(60)}${']'.repeat(60)}\n`));
});

test('wrong YAML is refused with file, line and column', async (t) => {
  await t.throwsAsync(load(t, 'kind: A\nspec: [1, 2\nmore: x\n'), {
    name: 'ManifestFileError',
    message: /^app\.yaml:3:\d+: /,
  });
  await t.throwsAsync(load(t, 'kind: A\nkind: B\n'), { message: /^app\.yaml:2:1: Map keys must be unique/ });
  await t.throwsAsync(load(t, 'a: b\n---\nc: *nobody\n'), { message: /^app\.yaml:3: .*nobody/ });
  await t.throwsAsync(load(t, '# nothing\n'), { message: /there is no document/ });
});

test('an alias bomb is refused before it grows', async (t) => {
  const levels = Array.from({ length: 12 }, (_, level) => {
    const of = level === 0 ? '"lol"' : `*l${level - 1}`;
    return `l${level}: &l${level} [${Array.from({ length: 10 }, () => of).join(', ')}]`;
  });
  const startedAt = performance.now();
  await t.throwsAsync(load(t, levels.join('\n')), { name: 'ManifestFileError', message: /app\.yaml:1: .*alias/i });
  t.true(performance.now() - startedAt < 5_000);
});

test('ordinary aliases are resolved', async (t) => {
  const loaded = await load(t, 'probe: &probe {tcp: {port: http}}\na: *probe\nb: *probe\n');
  t.like(loaded[0], { value: { a: { tcp: { port: 'http' } }, b: { tcp: { port: 'http' } } } });
});

test('fromFile becomes text, or base64 for what is no text, relative to the manifest', async (t) => {
  const text = config('    a.js: {fromFile: ./sub/a.js}\n    b.bin: {fromFile: b.bin}\n    c: {text: as it is}\n');
  const bytes = Uint8Array.from([0xff, 0x00, 0x80]);
  const [loaded] = (await load(t, text, { 'sub/a.js': 'grüße();\n', 'b.bin': bytes })) as [{ value: unknown }];
  t.like(loaded.value, {
    spec: { files: { 'a.js': { text: 'grüße();\n' }, 'b.bin': { base64: '/wCA' }, c: { text: 'as it is' } } },
  });
  t.notThrows(() => validateManifests([loaded.value]));
});

test('fromFile reads nothing outside the folder of the manifest, also not through a link', async (t) => {
  const folder = await temporaryFolder(t);
  await mkdir(join(folder, 'app'));
  await writeFile(join(folder, 'secret'), 'x');
  await symlink('../secret', join(folder, 'app', 'link'));
  for (const path of ['../secret', '/etc/hostname', 'link']) {
    await writeFile(join(folder, 'app', 'app.yaml'), config(`    a: {fromFile: ${path}}\n`));
    const loading = loadManifests(['app/app.yaml'], testHost({ workingFolder: folder }));
    await t.throwsAsync(
      loading,
      { message: /^app\/app\.yaml:6:5: spec\.files\["a"\]: .*outside the manifest's folder/ },
      path,
    );
  }
});

test('fromFile that is missing, a folder, too large or not a path is refused with its field', async (t) => {
  const refused: [string, RegExp][] = [
    ['{fromFile: nothing}', /spec\.files\["a"\]: nothing: there is no such file/],
    ['{fromFile: sub}', /it is not a file|it is a folder/],
    ['{fromFile: large}', /more than 1048576 bytes/],
    ['{fromFile: 5}', /must be a path/],
    ['{fromFile: sub/x, text: y}', /fromFile and something else/],
  ];
  for (const [file, message] of refused) {
    const files = { 'sub/x': 'x', large: new Uint8Array(1024 * 1024 + 1) };
    await t.throwsAsync(load(t, config(`    a: ${file}\n`), files), { message }, file);
  }
});

test('files of one apply are bounded together', async (t) => {
  const names = Array.from({ length: 6 }, (_, index) => `f${index}`);
  const text = config(names.map((name) => `    ${name}: {fromFile: ${name}}\n`).join(''));
  const files = Object.fromEntries(names.map((name) => [name, new Uint8Array(1_000_000)]));
  await t.throwsAsync(load(t, text, files), { message: /more than 5242880 bytes/ });
});

test('a file that is missing or too large is refused by name', async (t) => {
  const folder = await temporaryFolder(t);
  const host = testHost({ workingFolder: folder });
  await t.throwsAsync(loadManifests(['none.yaml'], host), { message: 'none.yaml: there is no such file' });
  await writeFile(join(folder, 'large.yaml'), new Uint8Array(4 * 1024 * 1024 + 1));
  await t.throwsAsync(loadManifests(['large.yaml'], host), { message: /^large\.yaml: more than/ });
});

test('apply sends the documents with their files and says what came of it', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'a.txt'), 'hello');
  await writeFile(join(folder, 'app.yaml'), config('    a.txt: {fromFile: a.txt}\n'));
  const applied = { kind: 'Config', project: 'default', name: 'c', generation: 1, change: 'created' };
  const asked = await fakeDaemon(t, folder, { 'POST /v1/apply': { applied: [applied], durability: 'local' } });
  const { status, out } = await cli(['apply', '-f', join(folder, 'app.yaml'), '--data', folder]);
  t.is(status, 0);
  t.regex(out, /Config default\/c created \(generation 1\)\nAcknowledged by this controller alone/);
  t.like(asked[0]?.body, { source: ['app.yaml:1'], documents: [{ spec: { files: { 'a.txt': { text: 'hello' } } } }] });
});

test('a refused apply lists every issue once and exits with 1', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'app.yaml'), 'kind: Nonsense\n');
  const detail = 'app.yaml:1: kind: is not a kind that can be applied; accepted: Application or Config';
  const problem = {
    type: 'urn:selvedge:error:manifest-refused',
    status: 422,
    detail,
    field: 'kind',
    accepted: 'Application or Config',
    issues: [],
    action: 'Correct the fields.',
  };
  await fakeDaemon(t, folder, { 'POST /v1/apply': problem });
  const { status, error } = await cli(['apply', join(folder, 'app.yaml'), '--data', folder]);
  t.is(status, 1);
  t.is(error, `error: ${detail}\nCorrect the fields.`);
});

test('the example is accepted: three microservices, and Configs that hold their files', async (t) => {
  const path = fileURLToPath(new URL('../../examples/cold-chain/app.yaml', import.meta.url));
  const documents = await loadManifests([path], testHost());
  const { applications, configs } = validateManifests(documents.map(({ value }) => value));
  t.deepEqual(
    applications.flatMap(({ microservices }) => microservices.map(({ name }) => name)),
    ['sensor', 'monitor', 'dashboard'],
  );
  t.deepEqual(applications[0]?.microservices[0]?.placement, { labels: { 'selvedge/router': 'edge' } });
  const readings = configs.find(({ name }) => name === 'cold-chain-sensor')?.files['readings.csv'] ?? '';
  t.true(Buffer.from(readings, 'base64').length < 500_000);
  t.is(Buffer.from(readings, 'base64').toString('utf8').trim().split('\n').length, 2_881);
});

// Manifests: everything that is refused, with the field, the reason and the accepted form; and what a good one becomes.

import test from 'ava';
import { ManifestError } from '../../control/errors.ts';
import { type ManifestIssue, manifestJsonSchema, validateManifests } from '../../control/manifest.ts';
import { findCycle } from '../../control/manifest-checks.ts';
import { editDistance } from '../../control/suggestion.ts';

function application(): unknown {
  return {
    apiVersion: 'selvedge/v1',
    kind: 'Application',
    metadata: { name: 'cold-chain' },
    spec: {
      microservices: [
        {
          name: 'sensor',
          engine: 'process',
          command: ['node', 'configs/program/sensor.js'],
          env: { ROOM: 'north' },
          configs: ['program'],
          ports: [{ name: 'http', port: 8080 }],
          placement: { labels: { 'selvedge/router': 'edge' } },
          probes: { readiness: { http: { path: '/health', port: 'http' }, periodMs: 500 } },
          replicas: 2,
        },
        { name: 'monitor', engine: 'process', command: ['node'], dependsOn: ['sensor'], workingDirectory: '/srv/x' },
      ],
    },
  };
}

function config(): unknown {
  return {
    apiVersion: 'selvedge/v1',
    kind: 'Config',
    metadata: { name: 'program' },
    spec: { files: { 'sensor.js': { text: 'ä' }, 'data/rooms.csv': { base64: 'AAE=' } } },
  };
}

function issuesOf(objects: unknown[], source?: string[]): readonly ManifestIssue[] {
  try {
    validateManifests(objects, source === undefined ? {} : { source });
  } catch (error) {
    if (error instanceof ManifestError) return error.issues;
    throw error;
  }
  return [];
}

/** Sets a value at a path; undefined removes it. */
function changed(object: unknown, path: string, value: unknown): unknown {
  const parts = path.split(/[.]/);
  const last = parts.pop() as string;
  let at = object as Record<string, unknown>;
  for (const part of parts) at = at[part] as Record<string, unknown>;
  if (value === undefined) delete at[last];
  else at[last] = value;
  return object;
}

const sensor = 'spec.microservices.0';
const refusals: [title: string, object: unknown, path: string, reason: RegExp, guess?: string][] = [
  ['an empty document', null, '', /is empty/],
  ['a list as document', [], '', /not an object/],
  ['a missing apiVersion', changed(application(), 'apiVersion', undefined), 'apiVersion', /missing/],
  ['another apiVersion', changed(application(), 'apiVersion', 'v2'), 'apiVersion', /not a version/],
  ['a misspelt kind', changed(application(), 'kind', 'Aplication'), 'kind', /not a kind/, 'Application'],
  ['a missing name', changed(application(), 'metadata.name', undefined), 'metadata.name', /missing/],
  [
    'a name that is no DNS label',
    changed(application(), 'metadata.name', 'Cold Chain'),
    'metadata.name',
    /not accepted/,
    'cold-chain',
  ],
  [
    'a name of 64 characters',
    changed(application(), 'metadata.name', 'a'.repeat(64)),
    'metadata.name',
    /not accepted/,
    'a'.repeat(63),
  ],
  [
    'an unknown field',
    changed(application(), `${sensor}.comand`, []),
    'spec.microservices[0].comand',
    /not a known field/,
    'command',
  ],
  ['an unknown field at the top', changed(application(), 'sepc', {}), 'sepc', /not a known field/, 'spec'],
  [
    'an unknown engine',
    changed(application(), `${sensor}.engine`, 'proces'),
    'spec.microservices[0].engine',
    /not known/,
    'process',
  ],
  [
    'a missing engine',
    changed(application(), `${sensor}.engine`, undefined),
    'spec.microservices[0].engine',
    /missing/,
  ],
  ['no command', changed(application(), `${sensor}.command`, []), 'spec.microservices[0].command', /fewer than 1/],
  [
    'a command as text',
    changed(application(), `${sensor}.command`, 'node x'),
    'spec.microservices[0].command',
    /a string, not a list/,
  ],
  [
    'an empty program',
    changed(application(), `${sensor}.command`, ['']),
    'spec.microservices[0].command[0]',
    /is empty/,
  ],
  [
    'a right of containers for a program',
    changed(application(), `${sensor}.privileged`, true),
    'spec.microservices[0].privileged',
    /not a field of engine process/,
  ],
  [
    'a device that is none',
    changed(application(), `${sensor}.devices`, ['/dev/../etc']),
    'spec.microservices[0].devices[0]',
    /not accepted/,
  ],
  [
    'a capability with CAP_',
    changed(application(), `${sensor}.capabilities`, { add: ['CAP_NET_ADMIN'] }),
    'spec.microservices[0].capabilities.add[0]',
    /not accepted/,
  ],
  [
    'two volumes of one name',
    changed(application(), `${sensor}.volumes`, [{ name: 'data' }, { name: 'data' }]),
    'spec.microservices[0].volumes[1].name',
    /is there twice/,
  ],
  [
    'a folder of the node for a program',
    changed(application(), `${sensor}.volumes`, [{ name: 'data', hostPath: '/srv' }]),
    'spec.microservices[0].volumes[0].hostPath',
    /not a field of engine process/,
  ],
  [
    'a volume over the container’s own files',
    changed(application(), sensor, {
      ...{ name: 'web', engine: 'docker', image: 'web', volumes: [{ name: 'data', path: '/selvedge/identity' }] },
    }),
    'spec.microservices[0].volumes[0].path',
    /configs and identity/,
  ],
  [
    'a volume that leaves its path',
    changed(application(), sensor, {
      ...{ name: 'web', engine: 'docker', image: 'web', volumes: [{ name: 'data', path: '/srv/../selvedge' }] },
    }),
    'spec.microservices[0].volumes[0].path',
    /not accepted/,
  ],
  [
    'a volume without a place in the container',
    changed(application(), sensor, { name: 'web', engine: 'docker', image: 'web', volumes: [{ name: 'data' }] }),
    'spec.microservices[0].volumes[0].path',
    /missing/,
  ],
  [
    'a soft limit above the hard one',
    changed(application(), sensor, {
      name: 'web',
      engine: 'docker',
      image: 'web',
      ulimits: { nofile: { soft: 2, hard: 1 } },
    }),
    'spec.microservices[0].ulimits.nofile.soft',
    /more than hard, which is 1/,
  ],
  [
    'a limit that the kernel does not have',
    changed(application(), sensor, {
      name: 'web',
      engine: 'docker',
      image: 'web',
      ulimits: { files: { soft: 1, hard: 1 } },
    }),
    'spec.microservices[0].ulimits.files',
    /./,
  ],
  [
    'a label of Selvedge’s own',
    changed(application(), sensor, {
      name: 'web',
      engine: 'docker',
      image: 'web',
      labels: { 'io.selvedge.node': 'x' },
    }),
    'spec.microservices[0].labels["io.selvedge.node"]',
    /./,
  ],
  [
    'a host that is no address',
    changed(application(), sensor, {
      name: 'web',
      engine: 'docker',
      image: 'web',
      extraHosts: { printer: 'printer.example' },
    }),
    'spec.microservices[0].extraHosts.printer',
    /not accepted/,
  ],
  [
    'no graphics processor',
    changed(application(), sensor, { name: 'web', engine: 'docker', image: 'web', gpus: 0 }),
    'spec.microservices[0].gpus',
    /less than 1/,
  ],
  [
    'a log that fills the card',
    changed(application(), sensor, { name: 'web', engine: 'docker', image: 'web', logging: { maxSize: '100Gi' } }),
    'spec.microservices[0].logging.maxSize',
    /not accepted/,
  ],
  [
    'an unknown pull policy',
    changed(application(), sensor, { name: 'web', engine: 'docker', image: 'web', pullPolicy: 'Always' }),
    'spec.microservices[0].pullPolicy',
    /not known/,
    'always',
  ],
  [
    'a platform without architecture',
    changed(application(), sensor, { name: 'web', engine: 'docker', image: 'web', platform: 'linux' }),
    'spec.microservices[0].platform',
    /not accepted/,
  ],
  [
    'an unknown unit of memory',
    changed(application(), `${sensor}.resources`, { memory: '128MB' }),
    'spec.microservices[0].resources.memory',
    /not accepted/,
  ],
  [
    'less memory than an instance can have',
    changed(application(), `${sensor}.resources`, { memory: '5Mi' }),
    'spec.microservices[0].resources.memory',
    /not accepted/,
  ],
  [
    'no processor at all',
    changed(application(), `${sensor}.resources`, { cpus: 0 }),
    'spec.microservices[0].resources.cpus',
    /less than 0.01/,
  ],
  [
    'half a process',
    changed(application(), `${sensor}.resources`, { pids: 1.5 }),
    'spec.microservices[0].resources.pids',
    /./,
  ],
  [
    'a NUL in a command',
    changed(application(), `${sensor}.command`, ['a\0b']),
    'spec.microservices[0].command[0]',
    /not accepted/,
  ],
  [
    'a number in env',
    changed(application(), `${sensor}.env.PORT`, 80),
    'spec.microservices[0].env.PORT',
    /a number, which is not accepted/,
  ],
  [
    'a bad name in env',
    changed(application(), `${sensor}.env.2X`, 'v'),
    'spec.microservices[0].env["2X"]',
    /name is not accepted/,
  ],
  [
    'a long value in env',
    changed(application(), `${sensor}.env.X`, 'x'.repeat(20_000)),
    'spec.microservices[0].env.X',
    /more than 16384/,
  ],
  [
    'an env that is too large in all',
    changed(
      application(),
      `${sensor}.env`,
      Object.fromEntries([1, 2, 3, 4, 5].map((n) => [`X${n}`, 'x'.repeat(16_000)])),
    ),
    'spec.microservices[0].env',
    /bytes in all/,
  ],
  [
    'a port beyond 65535',
    changed(application(), `${sensor}.ports.0.port`, 70_000),
    'spec.microservices[0].ports[0].port',
    /more than 65535/,
  ],
  [
    'a port as text',
    changed(application(), `${sensor}.ports.0.port`, '80'),
    'spec.microservices[0].ports[0].port',
    /a string, not/,
  ],
  [
    'a port that is not whole',
    changed(application(), `${sensor}.ports.0.port`, 1.5),
    'spec.microservices[0].ports[0].port',
    /not whole/,
  ],
  [
    'a port number twice',
    changed(application(), `${sensor}.ports`, [
      { name: 'http', port: 1 },
      { name: 'b', port: 1 },
    ]),
    'spec.microservices[0].ports[1].port',
    /twice/,
  ],
  [
    'a port name twice',
    changed(application(), `${sensor}.ports`, [
      { name: 'http', port: 1 },
      { name: 'http', port: 2 },
    ]),
    'spec.microservices[0].ports[1].name',
    /twice/,
  ],
  [
    'a probe of a port that is not there',
    changed(application(), `${sensor}.probes.readiness.http.port`, 'htp'),
    'spec.microservices[0].probes.readiness.http.port',
    /no port is named/,
    'http',
  ],
  [
    'a probe of both kinds',
    changed(application(), `${sensor}.probes.readiness.tcp`, { port: 'http' }),
    'spec.microservices[0].probes.readiness',
    /both/,
  ],
  [
    'a probe of no kind',
    changed(application(), `${sensor}.probes.readiness`, {}),
    'spec.microservices[0].probes.readiness',
    /neither/,
  ],
  [
    'a probe every 0 ms',
    changed(application(), `${sensor}.probes.readiness.periodMs`, 0),
    'spec.microservices[0].probes.readiness.periodMs',
    /less than 10/,
  ],
  [
    'a probe path without a slash',
    changed(application(), `${sensor}.probes.readiness.http.path`, 'x'),
    'spec.microservices[0].probes.readiness.http.path',
    /not accepted/,
  ],
  [
    'a bad label',
    changed(application(), `${sensor}.placement.labels`, { a: 'b c' }),
    'spec.microservices[0].placement.labels.a',
    /not accepted/,
  ],
  [
    'a bad label key',
    changed(application(), `${sensor}.placement.labels`, { 'a b': 'b' }),
    'spec.microservices[0].placement.labels["a b"]',
    /name is not/,
  ],
  [
    '1001 replicas',
    changed(application(), `${sensor}.replicas`, 1001),
    'spec.microservices[0].replicas',
    /more than 1000/,
  ],
  [
    'negative replicas',
    changed(application(), `${sensor}.replicas`, -1),
    'spec.microservices[0].replicas',
    /less than 0/,
  ],
  [
    'an unknown restart',
    changed(application(), `${sensor}.restart`, 'allways'),
    'spec.microservices[0].restart',
    /not known/,
    'always',
  ],
  [
    'a relative folder',
    changed(application(), `${sensor}.workingDirectory`, 'srv'),
    'spec.microservices[0].workingDirectory',
    /not accepted/,
  ],
  [
    'a stop of two hours',
    changed(application(), `${sensor}.stopTimeoutMs`, 7_200_000),
    'spec.microservices[0].stopTimeoutMs',
    /more than/,
  ],
  [
    'an empty list of microservices',
    changed(application(), 'spec.microservices', []),
    'spec.microservices',
    /fewer than 1/,
  ],
  ['null for a map', changed(application(), `${sensor}.env`, null), 'spec.microservices[0].env', /empty \(null\)/],
  [
    'a service that a URL takes for an address',
    changed(application(), `${sensor}.name`, '127'),
    'spec.microservices[0].name',
    /IP address/,
  ],
  [
    'a service named localhost',
    changed(application(), `${sensor}.name`, 'localhost'),
    'spec.microservices[0].name',
    /caller itself/,
  ],
  [
    'a name twice',
    changed(application(), 'spec.microservices.1.name', 'sensor'),
    'spec.microservices[1].name',
    /twice/,
  ],
  [
    'a missing dependency',
    changed(application(), 'spec.microservices.1.dependsOn', ['sensr']),
    'spec.microservices[1].dependsOn[0]',
    /no microservice "sensr"/,
    'sensor',
  ],
  [
    'a dependency on itself',
    changed(application(), 'spec.microservices.1.dependsOn', ['monitor']),
    'spec.microservices[1].dependsOn',
    /monitor → monitor/,
  ],
  [
    'a cycle',
    changed(application(), `${sensor}.dependsOn`, ['monitor']),
    'spec.microservices[0].dependsOn',
    /sensor → monitor → sensor/,
  ],
  [
    'a dependency without replicas',
    changed(application(), `${sensor}.replicas`, 0),
    'spec.microservices[1].dependsOn[0]',
    /0 replicas/,
  ],
  [
    'a config twice',
    changed(application(), `${sensor}.configs`, ['a', 'a']),
    'spec.microservices[0].configs[1]',
    /twice/,
  ],
  ['a config file of no kind', changed(config(), 'spec.files', { a: {} }), 'spec.files.a', /neither/],
  [
    'a config file of both kinds',
    changed(config(), 'spec.files', { a: { text: '', base64: '' } }),
    'spec.files.a',
    /both/,
  ],
  [
    'a config file of a bad kind',
    changed(config(), 'spec.files', { a: { fromFile: './x' } }),
    'spec.files.a.fromFile',
    /not a known/,
  ],
  [
    'base64 that is none',
    changed(config(), 'spec.files', { a: { base64: 'AB=C' } }),
    'spec.files.a.base64',
    /not base64/,
  ],
  [
    'a path that climbs',
    changed(config(), 'spec.files', { '../a': { text: '' } }),
    'spec.files["../a"]',
    /name is not/,
  ],
  ['an absolute path', changed(config(), 'spec.files', { '/a': { text: '' } }), 'spec.files["/a"]', /name is not/],
  [
    'a file that is also a folder',
    changed(config(), 'spec.files', { a: { text: '' }, 'a/b': { text: '' } }),
    'spec.files["a/b"]',
    /itself a file/,
  ],
  [
    'a file above 1 MiB',
    changed(config(), 'spec.files', { a: { text: 'x'.repeat(1024 * 1024 + 1) } }),
    'spec.files.a',
    /1 MiB/,
  ],
  [
    'base64 far above 1 MiB',
    changed(config(), 'spec.files', { a: { base64: 'A'.repeat(4 * 1024 * 1024) } }),
    'spec.files.a',
    /1 MiB/,
  ],
  [
    'files above 3 MiB in all',
    changed(
      config(),
      'spec.files',
      Object.fromEntries(['a', 'b', 'c', 'd'].map((name) => [name, { text: 'x'.repeat(900_000) }])),
    ),
    'spec.files',
    /bytes in all/,
  ],
  ['a date object', changed(application(), 'metadata.name', new Date(0)), 'metadata.name', /not a plain value/],
  [
    'a prototype',
    JSON.parse('{"apiVersion":"selvedge/v1","kind":"Config","__proto__":{}}'),
    '__proto__',
    /not a usable name/,
  ],
];

for (const [title, object, path, reason, guess] of refusals) {
  test(`refuses ${title}`, (t) => {
    const issues = issuesOf([object]);
    const issue = issues.find((one) => one.path === path);
    t.truthy(issue, `${path} is not among ${JSON.stringify(issues)}`);
    t.regex(issue?.reason ?? '', reason);
    t.is(issue?.didYouMean, guess);
    t.is(issue?.document, 0);
  });
}

test('every refusal of a form names the accepted one', (t) => {
  for (const [title, object] of refusals) {
    for (const issue of issuesOf([object])) {
      const said = /twice|climbs|prototype|usable|plain/.test(`${issue.reason} ${title}`) || issue.accepted !== '';
      t.true(said, `${title}: ${JSON.stringify(issue)}`);
    }
  }
});

test('refuses nesting and sizes beyond the limits before it looks at the content', (t) => {
  let deep: unknown = {};
  for (let level = 0; level < 100_000; level += 1) deep = { a: deep };
  t.regex(issuesOf([deep])[0]?.reason ?? '', /nested deeper/);
  t.regex(issuesOf([{ list: Array.from({ length: 60_000 }, () => 0) }])[0]?.reason ?? '', /more than 50000 values/);
  // What YAML aliases can make of a few lines.
  let laughs: unknown[] = ['lol'];
  for (let level = 0; level < 12; level += 1) laughs = Array.from({ length: 10 }, () => laughs);
  t.regex(issuesOf([{ laughs }])[0]?.reason ?? '', /values/);
  t.regex(issuesOf(Array.from({ length: 201 }, config))[0]?.reason ?? '', /more than 200 documents/);
  t.regex(issuesOf([])[0]?.reason ?? '', /no document/);
  const many = changed(
    application(),
    'spec.microservices',
    Array.from({ length: 101 }, (_, n) => ({ name: `m${n}` })),
  );
  t.true(issuesOf([many]).some(({ path, reason }) => path === 'spec.microservices' && /more than 100/.test(reason)));
});

test('refuses the same name twice in one batch and names the source', (t) => {
  const [issue] = issuesOf([config(), config()], ['a.yaml', 'b.yaml']);
  t.is(issue?.document, 1);
  t.is(issue?.source, 'b.yaml');
  t.regex(issue?.reason ?? '', /already in document 1/);
});

test('lists every issue of every document, up to a limit', (t) => {
  const bad = changed(
    application(),
    'spec.microservices',
    Array.from({ length: 60 }, (_, n) => ({ name: `m${n}` })),
  );
  const error = t.throws(() => validateManifests([bad, null]), { instanceOf: ManifestError });
  t.is((error as ManifestError).issues.length, 50);
  t.regex(error?.message ?? '', /and \d+ more$/);
});

test('fills in the defaults of a good manifest', (t) => {
  const { applications, configs } = validateManifests([config(), application()]);
  t.deepEqual(configs, [
    { document: 0, project: 'default', name: 'program', files: { 'sensor.js': 'w6Q=', 'data/rooms.csv': 'AAE=' } },
  ]);
  const [first, second] = applications[0]?.microservices ?? [];
  t.deepEqual(first?.readiness, {
    http: { path: '/health', port: 'http' },
    periodMs: 500,
    timeoutMs: 1000,
    failureThreshold: 3,
    successThreshold: 1,
    initialDelayMs: 0,
  });
  t.deepEqual(second, {
    name: 'monitor',
    engine: 'process',
    command: ['node'],
    env: {},
    workingDirectory: '/srv/x',
    ports: [],
    configs: [],
    replicas: 1,
    placement: {},
    dependsOn: ['sensor'],
    restart: 'always',
    stopTimeoutMs: 10_000,
  });
  t.deepEqual(JSON.parse(JSON.stringify(applications)), applications);
});

test('does not change what it was given', (t) => {
  const object = application();
  validateManifests([config(), object]);
  t.deepEqual(object, application());
});

test('publishes a JSON Schema with defaults and descriptions', (t) => {
  const text = JSON.stringify(manifestJsonSchema());
  t.true(text.includes('"const":"Application"'));
  t.true(text.includes('"default":"always"'));
  t.true(text.includes('RFC 1123'));
});

test('finds cycles that are reached from outside them, and none in a diamond', (t) => {
  t.deepEqual(
    findCycle(
      new Map([
        ['a', ['b']],
        ['b', ['c']],
        ['c', ['b']],
      ]),
    ),
    ['b', 'c', 'b'],
  );
  t.is(
    findCycle(
      new Map([
        ['a', ['b', 'c']],
        ['b', ['d']],
        ['c', ['d']],
        ['d', []],
      ]),
    ),
    undefined,
  );
});

test('edit distance counts a swap of neighbours as one', (t) => {
  t.is(editDistance('sepc', 'spec'), 1);
  t.is(editDistance('', 'abc'), 3);
  t.is(editDistance('kitten', 'sitting'), 3);
});

const withEngine = (fields: Record<string, unknown>): unknown =>
  changed(application(), 'spec.microservices.1', { name: 'monitor', ...fields });

test('each engine takes its own fields and no other', (t) => {
  const paths = (fields: Record<string, unknown>) =>
    issuesOf([withEngine(fields)]).map(({ path, reason }) => [path, reason]);
  const at = (field: string) => `spec.microservices[1].${field}`;
  t.deepEqual(paths({ engine: 'docker' }), [[at('image'), 'is missing']]);
  t.deepEqual(paths({ engine: 'process' }), [[at('command'), 'is missing']]);
  t.deepEqual(paths({ engine: 'process', command: ['a'], image: 'web', args: ['b'] }), [
    [at('image'), 'is not a field of engine process'],
    [at('args'), 'is not a field of engine process'],
  ]);
  t.is(paths({ engine: 'docker', image: 'two words' })[0]?.[0], at('image'));
  const digest = `registry.example:5000/shop/web@sha256:${'0'.repeat(64)}`;
  for (const image of ['web', 'shop/web:1.2', digest]) t.deepEqual(paths({ engine: 'docker', image }), []);
});

test('a container becomes a specification without what it leaves to its image', (t) => {
  const specOf = (fields: Record<string, unknown>) =>
    validateManifests([withEngine({ engine: 'docker', image: 'web', ...fields })]).applications[0]?.microservices[1];
  const bare = specOf({});
  t.false(bare !== undefined && ('command' in bare || 'args' in bare || 'workingDirectory' in bare));
  t.like(specOf({ command: ['/web'], args: ['-v'] }), {
    engine: 'docker',
    image: 'web',
    command: ['/web'],
    args: ['-v'],
  });
});

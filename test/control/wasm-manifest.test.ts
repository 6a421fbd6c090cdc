// What a manifest may say of a module, and what a refusal says.

import test from 'ava';
import { validateManifests } from '../../control/manifest.ts';
import { createSpecCompiler } from '../../control/workload-spec.ts';

const sha256 = 'a'.repeat(64);
const byUrl = { url: 'https://example.test/a.wasm', sha256 };

const manifest = (microservice: object) => ({
  apiVersion: 'selvedge/v1',
  kind: 'Application',
  metadata: { name: 'shop' },
  spec: { microservices: [{ name: 'web', engine: 'wasm', ...microservice }] },
});

const specOf = (microservice: object) => {
  const [application] = validateManifests([manifest(microservice)]).applications;
  return application?.microservices[0];
};

test('a module is taken over as it is said, and what is not said is left out', (t) => {
  t.like(specOf({ module: byUrl }), { engine: 'wasm', module: byUrl });
  const http = {
    ...{ module: { config: 'web', file: 'a.wasm' }, configs: ['web'], args: ['x'] },
    ...{ trigger: 'http', requestTimeoutMs: 100, concurrency: 2, ports: [{ name: 'http', port: 80 }] },
    volumes: [{ name: 'data', path: '/data', readOnly: true }],
  };
  t.like(specOf(http), http);
  const compiled = createSpecCompiler().compile(specOf({ module: byUrl }) as never, 'default', {
    ...{ configs: new Map(), secrets: new Map() },
  });
  if ('missing' in compiled) return t.fail();
  const expected = ['configs', 'engine', 'env', 'module', 'ports', 'restart', 'stopTimeoutMs'];
  t.deepEqual(Object.keys(compiled.spec).sort(), expected);
});

const port = [{ name: 'http', port: 80 }];
const refused: [string, object, RegExp][] = [
  ['no module', {}, /\.module: is missing/],
  ['no digest', { module: { url: byUrl.url } }, /\.module\.sha256: is missing/],
  ['a digest that is none', { module: { ...byUrl, sha256: 'abc' } }, /\.module\.sha256: .*64 hexadecimal/],
  ['two places', { module: { ...byUrl, hostPath: '/a' } }, /\.module: says both url and hostPath/],
  ['no place', { module: { sha256 } }, /\.module: says not where it is/],
  ['a user in the address', { module: { ...byUrl, url: 'https://a:b@c/' } }, /\.module\.url: /],
  ['another scheme', { module: { ...byUrl, url: 'file:///etc/passwd' } }, /\.module\.url: /],
  ['an unknown field', { module: { ...byUrl, digest: 'x' } }, /\.module\.digest/],
  ['a config that it does not get', { module: { config: 'web', file: 'a' } }, /\.module\.config: "web" is none of/],
  ['a config without its file', { module: { config: 'web' }, configs: ['web'] }, /\.module\.file: is missing/],
  ['a command', { module: byUrl, command: ['x'] }, /\.command: is not a field of engine wasm/],
  ['an image', { module: byUrl, image: 'web' }, /\.image: is not a field of engine wasm/],
  ['rights of containers', { module: byUrl, privileged: true }, /\.privileged: is not a field of engine wasm/],
  ['ports without a trigger', { module: byUrl, ports: port }, /\.ports: are listened on by nobody/],
  ['a trigger without a port', { module: byUrl, trigger: 'http' }, /\.ports: are 0/],
  ['bounds without a trigger', { module: byUrl, concurrency: 2 }, /\.concurrency: is for a trigger/],
  [
    'a probe by a command',
    { module: byUrl, probes: { liveness: { exec: { command: ['x'] } } } },
    /liveness\.exec: is not/,
  ],
  ['processes', { module: byUrl, resources: { pids: 3 } }, /\.resources\.pids: is not for engine wasm/],
  ['a volume without a path', { module: byUrl, volumes: [{ name: 'data' }] }, /\.volumes\[0\]\.path: is missing/],
  [
    'a module for a program',
    { engine: 'process', command: ['x'], module: byUrl },
    /\.module: is not a field of engine process/,
  ],
];

for (const [what, microservice, reason] of refused) {
  test(`refused: ${what}`, (t) => {
    const error = t.throws(() => validateManifests([manifest(microservice)]));
    t.regex(error.message, reason);
  });
}

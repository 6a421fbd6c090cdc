// Gateways as operators apply, see and remove them, grants that are added and revoked, what of them is refused, and what reaches plans.

import { createHash } from 'node:crypto';
import test from 'ava';
import { createApply, createTurns } from '../../control/apply.ts';
import { createContents } from '../../control/contents.ts';
import { ManifestError } from '../../control/errors.ts';
import type { ApplicationRecord, GatewayRecord, NodeRecord, SecretRecord } from '../../control/fabric.ts';
import { gatewayPolicy, gatewaysByNode } from '../../control/gateway-plan.ts';
import { createGateways } from '../../control/gateways.ts';
import { createLedger } from '../../control/ledger.ts';
import { gatewayGrantsMax } from '../../control/limits.ts';
import { validateManifests } from '../../control/manifest.ts';
import { compilePlan } from '../../control/plan-compiler.ts';
import type { Database } from '../../control/store.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSystemRandom } from '../../node-runtime/system-random.ts';
import { createSimStore } from '../../simulations/sim-store.ts';
import { cli, fakeDaemon, temporaryFolder } from './cli-harness.ts';

const clock = createSystemClock();
const random = createSystemRandom();
const to = { application: 'shop', microservice: 'web', port: 8080 };
const tls = { names: ['shop.example'] };

type Fields = Record<string, unknown>;
const gateway = (spec: Fields = {}, metadata: Fields = {}) => ({
  ...{ apiVersion: 'selvedge/v1', kind: 'Gateway', metadata: { name: 'web', ...metadata } },
  // As YAML has it: what is undefined is not there.
  spec: JSON.parse(JSON.stringify({ on: { nodes: ['box1'] }, port: 8443, protocol: 'tcp', to, ...spec })),
});
const node = (name: string, labels: Record<string, string> = {}): NodeRecord => ({
  _id: `node/${name}`,
  ...{ name, peerId: `peer-${name}`, router: 'edge', controller: false, labels, engines: [] },
  ...{ authorityPublicKey: '', issueNumber: 1, admittedAt: 0, admittedBy: 'token' },
});

async function fixture(linked = true) {
  const store = createSimStore();
  const fabric = await store.open('fabric');
  const ledger = createLedger({ fabric, controller: 'box1', clock });
  const serialized = createTurns();
  let told = 0;
  const policiesChanged = async (): Promise<void> => {
    told += 1;
  };
  await fabric.put({ ...node('box1') });
  const applying = createApply({ fabric, clock, random, ledger, serialized, policiesChanged });
  const contents = createContents({ fabric, ledger, serialized, applyNow: applying.applyNow });
  const gateways = createGateways({
    ...{ fabric, clock, random, ledger, serialized, policiesChanged },
    mailbox: (name) => store.open(`mailbox/${name}`),
    isLinked: () => linked,
  });
  return { store, fabric, ledger, told: () => told, contents, ...applying, ...gateways };
}

const record = async (fabric: Database): Promise<GatewayRecord> =>
  (await fabric.get('gateway/default/web')) as unknown as GatewayRecord;

test('a gateway is applied, shown with what its node says, and deleted; nodes hear of what it allows', async (t) => {
  const { apply, list, describe, remove, store, told, ledger } = await fixture();
  t.like((await apply([gateway()])).applied, [{ kind: 'Gateway', generation: 1, change: 'created' }]);
  t.like((await apply([gateway()])).applied, [{ change: 'unchanged' }]);
  t.like((await list())[0], { port: 8443, grants: [], missing: ['application default/shop'] });
  t.like((await list())[0]?.nodes[0], { node: 'box1', state: 'planned', current: false });
  const said = {
    project: 'default',
    name: 'web',
    generation: 1,
    state: 'failed',
    reason: 'x',
    connections: 0,
    refused: 2,
  };
  const observed = { links: [], addresses: [], problems: [], gateways: ['nonsense', said] };
  await (await store.open('mailbox/box1')).put({ _id: 'observed/node', node: 'box1', software: '1', ...observed });
  t.like((await describe('default', 'web'))?.nodes[0], { state: 'failed', reason: 'x', refused: 2, current: true });
  t.is(told(), 2);
  await remove('default', 'web');
  t.is(told(), 3);
  t.is(await describe('default', 'web'), undefined);
  await t.throwsAsync(remove('default', 'web'), { name: 'NotFoundError' });
  const types = (await ledger.list()).map(({ type }) => type);
  t.true(types.includes('gateway-applied') && types.includes('gateway-deleted'));
});

test('a token is answered once and kept as its hash; grants that are added outlive an apply', async (t) => {
  const { apply, grant, revoke, describe, fabric, ledger } = await fixture();
  const spec = { protocol: 'http', tls, grants: [{ name: 'office', cidrs: ['10.0.0.0/8'] }] };
  await apply([gateway(spec)]);
  const { secret = '', ...view } = await grant('default', 'web', { token: true, forMs: 60_000 });
  t.regex(secret, /^[\w-]{43}$/);
  t.like(view, { name: 'token-1', token: true, expired: false, declared: false });
  const stored = await record(fabric);
  t.is(stored.added[0]?.tokenSha256, createHash('sha256').update(secret).digest('hex'));
  const everything = JSON.stringify([stored, await describe('default', 'web'), await ledger.list()]);
  t.false(everything.includes(secret));
  t.false(JSON.stringify(await describe('default', 'web')).includes(stored.added[0]?.tokenSha256 ?? 'none'));
  await apply([gateway({ ...spec, port: 8444 })]);
  t.deepEqual(
    (await describe('default', 'web'))?.grants.map(({ name }) => name),
    ['office', 'token-1'],
  );
  t.like(await revoke('default', 'web', 'token-1'), { name: 'token-1', declared: false });
  t.like(await revoke('default', 'web', 'office'), { declared: true });
  t.deepEqual((await describe('default', 'web'))?.grants, []);
  await t.throwsAsync(revoke('default', 'web', 'office'), { name: 'NotFoundError' });
  t.like((await apply([gateway({ ...spec, port: 8444 })])).applied, [{ change: 'changed' }]);
  await grant('default', 'web', { token: false, name: 'late', cidrs: ['192.0.2.0/24'], forMs: 1 });
  await new Promise((resolve) => setTimeout(resolve, 5));
  t.like((await describe('default', 'web'))?.grants[1], { name: 'late', expired: true });
});

test('grants that would let nobody in, or tell a token to everybody, are refused', async (t) => {
  const { apply, grant, fabric } = await fixture();
  await apply([gateway()]);
  const refused = async (request: Parameters<typeof grant>[2], message: RegExp): Promise<void> => {
    await t.throwsAsync(grant('default', 'web', request), { name: 'RequestRefusedError', message });
  };
  await refused({ token: true }, /token is for protocol http with tls/);
  await refused({ token: false }, /cidrs is missing/);
  await refused({ token: false, clientCertificate: { sha256: '0'.repeat(64) } }, /clientCertificate needs spec\.tls/);
  await refused({ token: false, clientCertificate: {} }, /one of the two/);
  for (let index = 0; index < gatewayGrantsMax; index += 1) {
    await grant('default', 'web', { token: false, cidrs: ['192.0.2.0/24'] });
  }
  await refused({ token: false, cidrs: ['192.0.2.0/24'] }, /64 grants/);
  await refused({ token: false, name: 'range-1', cidrs: ['192.0.2.0/24'] }, /there is a grant range-1 already/);
  t.is((await record(fabric)).added.length, gatewayGrantsMax);
});

test('a Secret that a gateway shows must be there with its keys, and stays', async (t) => {
  const { apply, contents } = await fixture();
  const secret = (data: Fields) => ({
    apiVersion: 'selvedge/v1',
    kind: 'Secret',
    metadata: { name: 'tls' },
    spec: { data },
  });
  const shown = gateway({ tls: { secret: 'tls' } });
  await t.throwsAsync(apply([shown]), { message: /spec\.tls\.secret: there is no Secret "tls"/ });
  await t.throwsAsync(apply([shown, secret({ 'tls.crt': { text: 'x' } })]), { message: /has no "tls\.key"/ });
  await apply([shown, secret({ 'tls.crt': { text: 'x' }, 'tls.key': { text: 'y' } })]);
  t.deepEqual((await contents.list('secret'))[0]?.usedBy, ['Gateway web']);
  await t.throwsAsync(contents.remove('secret', 'default', 'tls'), { name: 'ContentInUseError' });
});

const grants = (...all: Fields[]): Fields => ({ grants: all });
const refusals: [what: string, spec: Fields, path: string, reason: RegExp, accepted: RegExp][] = [
  ['udp', { protocol: 'udp' }, 'spec.protocol', /./, /udp cannot be published yet/],
  ['no node', { on: {} }, 'spec.on', /one of the two/, /nodes: \[box1\]/],
  ['nodes and labels', { on: { nodes: ['box1'], labels: { a: 'b' } } }, 'spec.on', /one of the two/, /labels/],
  ['no label', { on: { labels: {} } }, 'spec.on.labels', /is empty/, /site: north/],
  ['an unknown node', { on: { nodes: ['box9'] } }, 'spec.on.nodes[0]', /no node "box9"/, /box1/],
  ['port 0', { port: 0 }, 'spec.port', /./, /1 to 65535/],
  ['an address by name', { address: 'box1' }, 'spec.address', /./, /IP address/],
  ['routes of TCP', { to: undefined, routes: [{ to }] }, 'spec.routes', /protocol http/, /neither host nor path/],
  ['neither service nor routes', { to: undefined }, 'spec.to', /one of the two/, /routes/],
  [
    'one route twice',
    { protocol: 'http', to: undefined, routes: [{ to }, { path: '/', to }] },
    'spec.routes[1]',
    /earlier/,
    /once/,
  ],
  [
    'a path with dots',
    { protocol: 'http', to: undefined, routes: [{ path: '/a/..', to }] },
    'spec.routes[0].path',
    /./,
    /\/api/,
  ],
  [
    'a host that is an address',
    { protocol: 'http', to: undefined, routes: [{ host: '192.0.2.1', to }] },
    'spec.routes[0].host',
    /./,
    /DNS name/,
  ],
  ['both certificates', { tls: { names: ['a.example'], secret: 'x' } }, 'spec.tls', /one of the two/, /secret/],
  [
    'a certificate of an address',
    { tls: { names: ['192.0.2.1'] } },
    'spec.tls.names[0]',
    /./,
    /no certificate of an address/,
  ],
  ['a grant of nothing', grants({ name: 'a' }), 'spec.grants[0].cidrs', /is missing/, /0\.0\.0\.0\/0/],
  ['no range', grants({ name: 'a', cidrs: [] }), 'spec.grants[0].cidrs', /fewer than 1/, /everybody/],
  ['a bad range', grants({ name: 'a', cidrs: ['10.0.0.0/33'] }), 'spec.grants[0].cidrs[0]', /./, /10\.0\.0\.0\/8/],
  [
    'a token of TCP',
    grants({ name: 'a', token: { sha256: '0'.repeat(64) } }),
    'spec.grants[0].token',
    /in clear/,
    /tls/,
  ],
  ['a token itself', grants({ name: 'a', token: 'secret' }), 'spec.grants[0].token', /./, /SHA-256/],
  [
    'a certificate without TLS',
    grants({ name: 'a', clientCertificate: { sha256: '0'.repeat(64) } }),
    'spec.grants[0].clientCertificate',
    /spec\.tls/,
    /cidrs/,
  ],
  [
    'no certificate',
    { tls, ...grants({ name: 'a', clientCertificate: { authority: 'x' } }) },
    'spec.grants[0].clientCertificate.authority',
    /./,
    /PEM/,
  ],
  [
    'a time without a zone',
    grants({ name: 'a', cidrs: ['10.0.0.1'], until: '2027-01-01T00:00:00' }),
    'spec.grants[0].until',
    /./,
    /with a zone/,
  ],
  [
    'one name twice',
    grants({ name: 'a', cidrs: ['10.0.0.1'] }, { name: 'a', cidrs: ['10.0.0.2'] }),
    'spec.grants[1].name',
    /there twice/,
    /once/,
  ],
];

for (const [what, spec, path, reason, accepted] of refusals) {
  test(`refused: ${what}`, async (t) => {
    const { apply, fabric, told } = await fixture();
    const error = (await t.throwsAsync(apply([gateway(spec)]), { instanceOf: ManifestError })) as ManifestError;
    const issue = error.issues.find((one) => one.path === path);
    t.truthy(issue, error.message);
    t.regex(issue?.reason ?? '', reason);
    t.regex(issue?.accepted ?? '', accepted);
    t.deepEqual([await fabric.list('gateway/'), told()], [[], 0]);
  });
}

test('nobody takes the names by which gateways call', (t) => {
  const long = gateway({}, { name: 'a'.repeat(47) });
  t.throws(() => validateManifests([long]), { message: /metadata\.name: has 47 characters/ });
  const application = { ...gateway(), kind: 'Application', metadata: { name: 'selvedge-gateways' } };
  const one = { name: 'a', engine: 'process', command: ['run'] };
  t.throws(() => validateManifests([{ ...application, spec: { microservices: [one] } }]), {
    message: /Gateways are called by/,
  });
  const policy = { ...gateway(), kind: 'Policy', metadata: { name: 'selvedge-gateway-web' } };
  const allow = [{ from: { application: 'a' }, to: { application: 'b' } }];
  t.throws(() => validateManifests([{ ...policy, spec: { allow } }]), { message: /begins with selvedge-gateway-/ });
});

test('nodes get what is published on them, with the service’s balancing, the Secret’s files and the names to cover', (t) => {
  const on = { labels: { site: 'north' } };
  const base = { project: 'default', generation: 3, added: [], grants: [{ name: 'all', cidrs: ['0.0.0.0/0'] }] };
  const spec = { on, port: 8443, protocol: 'http' as const };
  const gateways: GatewayRecord[] = [
    { _id: 'gateway/default/web', name: 'web', ...base, spec: { ...spec, tls, routes: [{ to }, { path: '/b', to }] } },
    { _id: 'gateway/default/own', name: 'own', ...base, spec: { ...spec, tls: { secret: 'tls' }, routes: [{ to }] } },
    {
      _id: 'gateway/default/gone',
      name: 'gone',
      ...base,
      spec: { ...spec, tls: { secret: 'none' }, routes: [{ to }] },
    },
  ];
  const balancing = { policy: 'sticky' as const };
  const web = { name: 'web', balancing };
  const application = { _id: 'application/default/shop', project: 'default', name: 'shop', microservices: [web] };
  const data = { 'tls.crt': Buffer.alloc(40).toString('base64'), 'tls.key': Buffer.alloc(41).toString('base64') };
  const secret: SecretRecord = { _id: 'secret/default/tls', project: 'default', name: 'tls', generation: 1, data };
  const published = gatewaysByNode({
    gateways,
    applications: [application as unknown as ApplicationRecord],
    secrets: [secret],
  });
  t.deepEqual(published({ node: node('box2', { site: 'south' }), secrets: new Map() }), {
    gateways: [],
    secrets: new Map(),
  });
  const box1 = node('box1', { site: 'north' });
  const inputs = published({ node: box1, secrets: new Map() });
  t.deepEqual(
    inputs.gateways?.map(({ name }) => name),
    ['gone', 'own', 'web'],
  );
  t.deepEqual(inputs.gateways?.[0]?.tls, { missing: 'there is no Secret none in project default' });
  t.deepEqual(inputs.gateways?.[2]?.routes[1], { path: '/b', to: { project: 'default', ...to, balancing } });
  const compile = (of: typeof inputs) =>
    compilePlan({
      ...{ node: box1, applications: [], configs: [], placements: [], fabricId: 'f', signTicket: () => '' },
      ...{ version: { epoch: 1, term: 1, generation: 1 }, gateways: of.gateways, secrets: [...of.secrets.values()] },
    });
  const { plan, files, covers, publicNames } = compile(inputs);
  t.deepEqual(
    plan.files.map(({ slot }) => slot),
    ['secret.default.tls.tls.crt', 'secret.default.tls.tls.key'],
  );
  t.is(files.length, 2);
  t.deepEqual(
    covers.map(({ application: of, microservice }) => `${of}/${microservice}`),
    ['selvedge-gateways/gone', 'selvedge-gateways/own', 'selvedge-gateways/web'],
  );
  t.deepEqual(publicNames, ['shop.example']);
  t.false('gateways' in compile({ gateways: [], secrets: new Map() }).plan, 'what was not said is not in the plan');
  t.deepEqual(gatewayPolicy(gateways[0] as GatewayRecord), {
    ...{ project: 'default', name: 'selvedge-gateway-web' },
    allow: [
      {
        from: { project: 'default', application: 'selvedge-gateways', microservice: 'web' },
        to: { application: 'shop', microservice: 'web', ports: [8080] },
      },
    ],
  });
});

test('publish says what it would apply as a manifest, and what cannot be is a usage error', async (t) => {
  const folder = await temporaryFolder(t);
  const place = { node: 'box1', state: 'listening', reason: '', current: true, failing: [] };
  const view = { project: 'default', name: 'web', generation: 1, grants: [], nodes: [place], missing: [], routes: [] };
  const asked = await fakeDaemon(t, folder, {
    'POST /v1/apply': {
      applied: [{ kind: 'Gateway', project: 'default', name: 'web', generation: 1, change: 'created' }],
    },
    'GET /v1/gateways/default/web': view,
    'POST /v1/gateways/default/web/grants': {
      name: 'token-1',
      token: true,
      expired: false,
      declared: false,
      secret: 'S',
    },
    'DELETE /v1/gateways/default/web/grants/token-1': { name: 'token-1', expired: false, declared: true },
  });
  const run = (...args: string[]) => cli(['--data', folder, ...args]);
  const service = ['publish', 'shop/web:8080', '--port', '8443'];
  const made = await run(
    ...service,
    '--on',
    'box1',
    '--http',
    'shop.example/api',
    '--tls',
    'shop.example',
    '--grant-token',
  );
  t.deepEqual([made.status, made.out.trim()], [0, 'S']);
  t.regex(made.error, /Gateway default\/web created: box1 listens\./);
  const { documents } = (asked[0]?.body ?? {}) as { documents: { spec: Fields }[] };
  t.deepEqual(documents[0]?.spec, {
    ...{ on: { nodes: ['box1'] }, port: 8443, protocol: 'http', tls, grants: [] },
    routes: [{ host: 'shop.example', path: '/api', to }],
  });
  t.notThrows(() => validateManifests(documents));
  const revoked = await run('grants', 'revoke', 'web', 'token-1');
  t.regex(revoked.out, /Grant token-1 of web revoked\. Its manifest still has it/);
  for (const wrong of [
    service,
    [...service, '--on', 'box1', '--grant-token'],
    ['publish', 'web:8080', '--on', 'box1', '--port', '1'],
    ['publish', 'shop/web:8080', '--on', 'box1'],
    [...service, '--on', 'box1', '--grant-certificate', 'none.pem'],
    ['grants', 'create', 'web', '--cidr', '10.0.0.1', '--out', 'x'],
  ]) {
    t.is((await run(...wrong)).status, 2, wrong.join(' '));
  }
});

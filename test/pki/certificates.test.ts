import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import type { MicroserviceName } from '../../control/plan.ts';
import { dnsName, uriName } from '../../pki/certificate-extensions.ts';
import { issueNodeAuthority, issueWorkload } from '../../pki/certificates.ts';
import { createSigningRequest, readSigningRequest } from '../../pki/csr.ts';
import { dnsNameOf, workloadDnsName, workloadUri } from '../../pki/names.ts';
import { certificateToPem, chainFromPem, chainToPem } from '../../pki/pem.ts';
import { isIssuedAhead, renewAt, validityOf } from '../../pki/rotation.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createSimKeys } from '../../simulations/sim-keys.ts';
import { createSimRandom } from '../../simulations/sim-random.ts';
import { createFabric, dayMs, type Fabric, hourMs, monitor, sensor, strongRandom } from './fabric-fixture.ts';
import { forgeLeaf } from './forged-leaf.ts';

const run = promisify(execFile);

/** Resolves with what `openssl verify` says of the first certificate, with the root as its only anchor. */
async function opensslVerify(t: ExecutionContext, chain: readonly Uint8Array[], atMs: number): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-openssl-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const file = async (name: string, certificates: readonly Uint8Array[]): Promise<string> => {
    const path = join(folder, name);
    await writeFile(path, chainToPem(certificates));
    return path;
  };
  const root = await file('root.pem', chain.slice(-1));
  const between = chain.length > 2 ? ['-untrusted', await file('between.pem', chain.slice(1, -1))] : [];
  const leaf = await file('leaf.pem', chain.slice(0, 1));
  const at = String(Math.floor(atMs / 1000));
  const options = ['verify', '-x509_strict', '-check_ss_sig', '-attime', at, '-CAfile', root, ...between, leaf];
  return run('openssl', options).then(
    ({ stdout }) => stdout,
    (error: { stdout?: string; stderr?: string; message: string }) => `${error.stdout}${error.stderr}${error.message}`,
  );
}

const simulated = (): Fabric => {
  const random = createSimRandom(11);
  return createFabric({ keys: createSimKeys(random), random, clock: createSimClock() });
};

for (const [kind, make] of [
  ['P-256', () => createFabric()],
  ['Ed25519', simulated],
] as const) {
  test(`every kind of certificate satisfies node:crypto and openssl verify (${kind})`, async (t) => {
    const fabric = make();
    const node = fabric.addNode('box2', { covers: [monitor, sensor] });
    const workload = fabric.issueWorkload(node, monitor);
    for (const [index, der] of workload.chain.entries()) {
      const certificate = new X509Certificate(der);
      const issuer = new X509Certificate(workload.chain[index + 1] ?? fabric.root);
      t.true(certificate.verify(issuer.publicKey), `signature of ${index}`);
      t.true(certificate.checkIssued(issuer), `issuer of ${index}`);
      t.is(certificate.ca, index > 0);
    }
    for (const chain of [workload.chain, node.chain, fabric.controller.chain]) {
      t.regex(await opensslVerify(t, chain, fabric.clock.now()), /leaf\.pem: OK/);
    }
  });
}

test('openssl refuses a leaf outside the name constraints, and accepts one that names another service in its URI alone', async (t) => {
  const fabric = createFabric();
  const node = fabric.addNode('box2', { covers: [monitor] });
  const uri = uriName(workloadUri(fabric.id, sensor));
  const foreignDns = forgeLeaf(fabric, node, { names: [uri, dnsName(workloadDnsName(fabric.id, sensor))] });
  t.regex(await opensslVerify(t, foreignDns, fabric.clock.now()), /permitted subtree violation/);
  const foreignHost = forgeLeaf(fabric, node, {
    names: [uriName('spiffe://elsewhere/project/a/app/b/ms/c'), dnsName(workloadDnsName(fabric.id, monitor))],
  });
  t.regex(await opensslVerify(t, foreignHost, fabric.clock.now()), /permitted subtree violation/);
  // RFC 5280 constrains only the host of a URI: why our verifiers demand the DNS name (verify-chain.test.ts).
  t.regex(await opensslVerify(t, forgeLeaf(fabric, node, { names: [uri] }), fabric.clock.now()), /leaf\.pem: OK/);
});

test('a workload lives 24 hours from its issue, began 24 hours before, and has one SPIFFE ID and the DNS name to it', (t) => {
  const fabric = createFabric();
  const node = fabric.addNode('box2', { covers: [monitor] });
  const [leaf = new Uint8Array()] = fabric.issueWorkload(node, monitor).chain;
  const certificate = new X509Certificate(leaf);
  t.is(certificate.validToDate.getTime(), fabric.clock.now() + 24 * hourMs);
  t.is(certificate.validFromDate.getTime(), fabric.clock.now() - 24 * hourMs);
  const dns = dnsNameOf({ kind: 'workload', fabricId: fabric.id, ...monitor });
  t.is(certificate.subjectAltName, `URI:${workloadUri(fabric.id, monitor)}, DNS:${dns}`);
  t.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  t.is(certificate.checkHost(dns), dns);
});

test('nothing outlives its issuer', async (t) => {
  const fabric = createFabric();
  const node = fabric.addNode('box2', { covers: [monitor] });
  const end = new X509Certificate(node.issuer.certificate).validToDate.getTime();
  t.is(end, fabric.clock.now() + 30 * dayMs);
  await fabric.clock.advance(30 * dayMs - hourMs);
  const [leaf = new Uint8Array()] = fabric.issueWorkload(node, monitor).chain;
  t.is(new X509Certificate(leaf).validToDate.getTime(), end);
  await fabric.clock.advance(2 * hourMs);
  t.throws(() => fabric.issueWorkload(node, monitor), { name: 'CertificateRequestError' });
});

test('an authority that is signed again keeps its subject, so that leaves chain to either', async (t) => {
  const fabric = createFabric();
  const first = fabric.addNode('box2', { covers: [monitor] });
  const [leaf = new Uint8Array()] = fabric.issueWorkload(first, monitor).chain;
  const second = fabric.addNode('box2', {
    peerId: first.peerId,
    key: first.key,
    covers: [monitor, sensor],
    issueNumber: 2,
  });
  t.notDeepEqual(first.chain[0], second.chain[0]);
  t.is(new X509Certificate(first.issuer.certificate).subject, new X509Certificate(second.issuer.certificate).subject);
  t.regex(await opensslVerify(t, [leaf, ...second.chain], fabric.clock.now()), /leaf\.pem: OK/);
});

test('serial numbers are positive, long and differ', (t) => {
  const fabric = createFabric();
  const node = fabric.addNode('box2', { covers: [monitor] });
  const serials = Array.from({ length: 20 }, () => {
    const [leaf = new Uint8Array()] = fabric.issueWorkload(node, monitor).chain;
    return new X509Certificate(leaf).serialNumber;
  });
  t.is(new Set(serials).size, serials.length);
  for (const serial of serials) t.regex(serial, /^[4-7][0-9A-F]{31}$/);
});

test('a certificate past 2049 is encoded and read as well', async (t) => {
  const fabric = createFabric({ clock: createSimClock(Date.parse('2040-06-01T00:00:00Z')) });
  t.is(new X509Certificate(fabric.root).validToDate.getFullYear(), 2060);
  t.regex(await opensslVerify(t, fabric.controller.chain, fabric.clock.now()), /leaf\.pem: OK/);
});

test('what is not fit to be certified is refused', (t) => {
  const fabric = createFabric();
  const node = fabric.addNode('box2', { covers: [monitor] });
  const base = { publicKey: node.key.publicKey, random: strongRandom, nowMs: fabric.clock.now(), fabricId: fabric.id };
  const authority = {
    ...base,
    issuer: fabric.controller.issuer,
    node: 'box3',
    peerId: fabric.newPeerId(),
    covers: [],
    issueNumber: 1,
  };
  t.notThrows(() => issueNodeAuthority(authority));
  t.throws(() => issueNodeAuthority({ ...authority, node: 'Box 3' }), { name: 'NameError' });
  t.throws(() => issueNodeAuthority({ ...authority, peerId: 'x' }), { name: 'KeyFormatError' });
  t.throws(() => issueNodeAuthority({ ...authority, issueNumber: 0 }), { name: 'CertificateRequestError' });
  t.throws(() => issueNodeAuthority({ ...authority, publicKey: new Uint8Array(91) }), { name: 'KeyFormatError' });
  const many = Array.from({ length: 257 }, (_, index): MicroserviceName => ({ ...monitor, microservice: `m${index}` }));
  t.throws(() => issueNodeAuthority({ ...authority, covers: many }), { name: 'CertificateRequestError' });
  const strange = { key: fabric.keys.create('P-256'), certificate: node.issuer.certificate };
  t.throws(() => issueWorkload({ ...base, issuer: strange, name: monitor }), { name: 'CertificateRequestError' });
});

test('PEM text gives back the certificates in their order', (t) => {
  const { controller } = createFabric();
  t.deepEqual(chainFromPem(`# text\n${chainToPem(controller.chain)}`), controller.chain);
  t.is(new X509Certificate(certificateToPem(controller.issuer.certificate)).ca, true);
});

test('a request proves that its sender holds the key', async (t) => {
  const { keys } = createFabric();
  for (const key of [keys.create('P-256'), keys.create('Ed25519')]) {
    const request = createSigningRequest({ key, commonName: 'box2' });
    t.deepEqual(readSigningRequest(request), { publicKey: key.publicKey });
    const folder = await mkdtemp(join(tmpdir(), 'selvedge-csr-'));
    t.teardown(() => rm(folder, { recursive: true, force: true }));
    await writeFile(join(folder, 'request.der'), request);
    const { stderr } = await run('openssl', [
      'req',
      '-verify',
      '-noout',
      '-inform',
      'DER',
      '-in',
      join(folder, 'request.der'),
    ]);
    t.regex(stderr, /self-signature verify OK/);
  }
});

test('a request that was altered, cut, padded or is too large is refused', (t) => {
  const { keys } = createFabric();
  const request = createSigningRequest({ key: keys.create('P-256'), commonName: 'box2' });
  const altered = request.slice();
  const at = Buffer.from(request).indexOf('box2');
  altered[at] = 'B'.charCodeAt(0);
  const wrong = [
    altered,
    request.slice(0, -1),
    Uint8Array.of(...request, 0),
    new Uint8Array(5000),
    new Uint8Array(),
    Uint8Array.of(0x30, 0x80, 0, 0),
  ];
  for (const der of wrong) t.throws(() => readSigningRequest(der), { name: 'CertificateRequestError' });
  // Every single byte counts.
  for (let index = 0; index < request.length; index += 1) {
    const flipped = request.slice();
    flipped[index] = (flipped[index] ?? 0) ^ 1;
    t.throws(() => readSigningRequest(flipped), { name: 'CertificateRequestError' });
  }
});

test('authorities are renewed at half life, workloads at half of what was left at issue, with jitter', (t) => {
  const fabric = createFabric();
  const node = fabric.addNode('box2', { covers: [monitor] });
  const [leaf = new Uint8Array()] = fabric.issueWorkload(node, monitor).chain;
  const nowMs = fabric.clock.now();
  const authority = validityOf(node.issuer.certificate);
  t.like(authority, { kind: 'authority', issuedAtMs: nowMs, notAfterMs: nowMs + 30 * dayMs });
  t.is(renewAt(authority, 0), nowMs + 15 * dayMs);
  t.is(renewAt(authority, 1), nowMs + 14 * dayMs);
  const workload = validityOf(leaf);
  t.is(workload.kind, 'workload');
  t.is(renewAt(workload, 0), nowMs + 12 * hourMs);
  t.is(renewAt(workload, 0.5), nowMs + 0.45 * 24 * hourMs);
  t.is(renewAt({ kind: 'workload', issuedAtMs: 10, notAfterMs: 5 }, 0.5), 10);
});

test('a certificate that a clock far ahead issued is known by its beginning', (t) => {
  t.true(isIssuedAhead({ notBeforeMs: 1_001 }, 1_000));
  t.false(isIssuedAhead({ notBeforeMs: 1_000 }, 1_000));
});

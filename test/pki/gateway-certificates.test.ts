// Certificates by which gateways show themselves: good for clients that have the root, for their names alone, and nobody in the fabric.

import { X509Certificate } from 'node:crypto';
import test from 'ava';
import { dnsName, uriName } from '../../pki/certificate-extensions.ts';
import { issueGateway, issueNodeAuthority } from '../../pki/certificates.ts';
import { coveredServicesMax, publicNamesMax } from '../../pki/limits.ts';
import { isPublicName, nodeDnsName, workloadDnsName, workloadUri } from '../../pki/names.ts';
import { createChainVerifier } from '../../pki/verify-chain.ts';
import { createFabric, hourMs, monitor, sensor } from './fabric-fixture.ts';
import { forgeLeaf } from './forged-leaf.ts';

function published(names = ['shop.example']) {
  const fabric = createFabric();
  const node = fabric.addNode('box2', { covers: [monitor], publicNames: names });
  const { issuer } = node;
  const { publicKey } = fabric.keys.create('P-256');
  const moment = { random: fabric.random, nowMs: fabric.clock.now() };
  const issue = (of: readonly string[]) =>
    issueGateway({ issuer, publicKey, names: of, fabricId: fabric.id, ...moment });
  const verify = createChainVerifier({ fabricId: fabric.id, clock: fabric.clock, root: fabric.root });
  return { fabric, node, issue, verify, moment };
}

test('a node’s authority says which names it may show, and still covers its services alone', (t) => {
  const { fabric, node, verify } = published(['shop.example', 'api.shop.example']);
  const identity = verify(node.chain);
  t.like(identity, { kind: 'node', covers: [monitor], publicNames: ['shop.example', 'api.shop.example'] });
  t.false('publicNames' in verify(fabric.addNode('box3', { covers: [sensor] }).chain));
  t.like(verify(fabric.issueWorkload(node, monitor).chain), { kind: 'workload', microservice: monitor.microservice });
});

test('a gateway’s certificate is for servers, for a day and its names, and is nobody’s in the fabric', (t) => {
  const { fabric, node, issue, verify } = published();
  const leaf = issue(['shop.example']);
  const certificate = new X509Certificate(leaf);
  t.is(certificate.subjectAltName, 'DNS:shop.example');
  t.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1']);
  t.is(certificate.validToDate.getTime(), fabric.clock.now() + 24 * hourMs);
  t.throws(() => verify([leaf, ...node.chain]), { name: 'CertificateError' });
});

test('a public name gives nobody the identity of a service', (t) => {
  const { fabric, node, verify } = published();
  const uri = uriName(workloadUri(fabric.id, sensor));
  for (const names of [
    [uri, dnsName('shop.example')],
    [uri, dnsName(workloadDnsName(fabric.id, sensor))],
    [uriName(workloadUri(fabric.id, monitor)), dnsName('shop.example')],
  ]) {
    t.throws(() => verify(forgeLeaf(fabric, node, { names })), { name: 'CertificateError' });
  }
});

test('names of the fabric are no public names', (t) => {
  const { fabric, node, issue, moment } = published();
  const inside = [
    fabric.id,
    nodeDnsName(fabric.id, 'box1'),
    workloadDnsName(fabric.id, sensor),
    `x.${createFabric().id}`,
  ];
  for (const name of [...inside, '', '.', 'Shop.example', '*.shop.example', 'a..b', `${'a'.repeat(64)}.example`]) {
    t.false(isPublicName(name, fabric.id), name);
    t.throws(() => issue([name]), { name: 'NameError' });
    t.throws(() => fabric.addNode('box3', { publicNames: [name] }), { name: 'NameError' });
  }
  t.throws(() => issue([]), { name: 'NameError' });
  const many = Array.from({ length: publicNamesMax + 1 }, (_, index) => `a${index}.example`);
  t.throws(() => fabric.addNode('box3', { publicNames: many }), { name: 'CertificateRequestError' });
  t.truthy(moment && node);
});

test('the largest authority is read', (t) => {
  const { fabric, verify, moment } = published();
  const { publicKey } = fabric.keys.create('P-256');
  const label = 'a'.repeat(60);
  const covers = Array.from({ length: coveredServicesMax }, (_, index) => ({
    ...{ project: label, application: label },
    microservice: `${label}${String(index).padStart(3, '0')}`,
  }));
  const publicNames = Array.from(
    { length: publicNamesMax },
    (_, index) => `${[label, label, label, label].join('.')}.b${String(index).padStart(3, '0')}`,
  );
  const certificate = issueNodeAuthority({
    ...{ issuer: fabric.controller.issuer, publicKey, node: label, peerId: fabric.newPeerId(), fabricId: fabric.id },
    ...{ covers, publicNames, issueNumber: 1, ...moment },
  });
  t.like(verify([certificate, ...fabric.controller.chain]), { kind: 'node', publicNames });
});

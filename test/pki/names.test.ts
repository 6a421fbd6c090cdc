import { publicKeyFromRaw } from '@libp2p/crypto/keys';
import { peerIdFromPublicKey } from '@libp2p/peer-id';
import test from 'ava';
import {
  dnsNameOf,
  fabricIdOf,
  nodeUri,
  parseDnsName,
  parseSpiffeUri,
  spiffeUriOf,
  workloadUri,
} from '../../pki/names.ts';
import { createNodeKeys } from '../../pki/node-keys.ts';
import { peerIdOf, publicKeyOfPeerId } from '../../pki/peer-id.ts';
import { monitor } from './fabric-fixture.ts';

const fabricId = fabricIdOf(new Uint8Array([1, 2, 3]));

test('a fabric id is 52 characters of base32', (t) => {
  t.regex(fabricId, /^[a-z2-7]{52}$/);
});

test('names are read as they are written', (t) => {
  for (const name of [
    { kind: 'node', fabricId, node: 'box1' },
    { kind: 'workload', fabricId, ...monitor },
  ] as const) {
    t.deepEqual(parseSpiffeUri(spiffeUriOf(name)), name);
    t.deepEqual(parseDnsName(dnsNameOf(name)), name);
  }
  t.is(workloadUri(fabricId, monitor), `spiffe://${fabricId}/project/default/app/cold-chain/ms/monitor`);
  t.is(dnsNameOf({ kind: 'workload', fabricId, ...monitor }), `monitor.cold-chain.default.ms.${fabricId}`);
});

test('every other spelling of a name is none', (t) => {
  const uri = workloadUri(fabricId, monitor);
  for (const wrong of [
    uri.toUpperCase(),
    `${uri}/`,
    `${uri}?x`,
    uri.replace('monitor', '..'),
    uri.replace('monitor', 'mon%69tor'),
    uri.replace('monitor', '-monitor'),
    uri.replace('/ms/', '/ns/'),
    uri.replace('spiffe://', 'spiffe:///'),
    uri.replace(fabricId, fabricId.slice(1)),
    uri.replace(fabricId, `user@${fabricId}`),
    nodeUri(fabricId, 'box1').concat('/x'),
    '',
  ]) {
    t.is(parseSpiffeUri(wrong), undefined, wrong);
  }
  for (const wrong of [
    `a.b.node.${fabricId}`,
    `node.${fabricId}`,
    `.node.${fabricId}`,
    `a.b.c.d.ms.${fabricId}`,
    fabricId,
    'x.node.y',
  ]) {
    t.is(parseDnsName(wrong), undefined, wrong);
  }
});

test('a name that is no DNS label cannot be written', (t) => {
  for (const node of ['', 'Box', 'a.b', 'a/b', '-a', 'a-', 'a'.repeat(64), 'ä']) {
    t.throws(() => nodeUri(fabricId, node), { name: 'NameError' }, node);
  }
  t.throws(() => nodeUri('short', 'box1'), { name: 'NameError' });
});

test('peer ids are those of libp2p', (t) => {
  const spki = createNodeKeys().create('Ed25519').publicKey;
  const peerId = peerIdOf(spki);
  t.is(peerId, peerIdFromPublicKey(publicKeyFromRaw(spki.slice(-32))).toString());
  t.regex(peerId, /^12D3KooW/);
  t.deepEqual(publicKeyOfPeerId(peerId), spki);
});

test('a peer id is of an Ed25519 key only', (t) => {
  const keys = createNodeKeys();
  t.throws(() => peerIdOf(keys.create('P-256').publicKey), { name: 'KeyFormatError' });
  for (const wrong of [
    '',
    '12D3KooW',
    'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N',
    '0'.repeat(52),
    `${'1'.repeat(52)}`,
  ]) {
    t.throws(() => publicKeyOfPeerId(wrong), { name: 'KeyFormatError' }, wrong);
  }
});

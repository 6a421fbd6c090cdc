import { generateKeyPairSync } from 'node:crypto';
import test from 'ava';
import { createNodeKeys } from '../../pki/node-keys.ts';
import { createSimKeys } from '../../simulations/sim-keys.ts';
import { createSimRandom } from '../../simulations/sim-random.ts';
import { keysConformance } from '../conformance/keys.ts';

keysConformance(test, 'node keys', createNodeKeys);
keysConformance(test, 'simulated keys', () => createSimKeys(createSimRandom(7)));

test('simulated keys and signatures repeat with the seed and differ between seeds', (t) => {
  const make = (seed: number) => {
    const key = createSimKeys(createSimRandom(seed)).create('P-256');
    return Buffer.from(key.sign(key.publicKey)).toString('hex');
  };
  t.is(make(1), make(1));
  t.not(make(1), make(2));
});

test('an RSA key or another curve is refused', (t) => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey;
  const curve = generateKeyPairSync('ec', { namedCurve: 'secp384r1' }).privateKey;
  const other = generateKeyPairSync('x25519').privateKey;
  for (const key of [rsa, curve, other]) {
    const pem = key.export({ format: 'pem', type: 'pkcs8' }).toString();
    t.throws(() => createNodeKeys().fromPem(pem), { name: 'KeyFormatError' });
  }
});

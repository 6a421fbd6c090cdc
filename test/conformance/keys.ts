// What every keys adapter must do; test/pki/keys.test.ts runs it on the real and on the simulated one.

import { createPublicKey, verify } from 'node:crypto';
import type { TestFn } from 'ava';
import type { Keys } from '../../pki/keys.ts';

const data = new TextEncoder().encode('what is signed');

export function keysConformance(test: TestFn, adapter: string, createKeys: () => Keys): void {
  for (const algorithm of ['P-256', 'Ed25519'] as const) {
    test(`${adapter}: a ${algorithm} key signs what its public key verifies`, (t) => {
      const key = createKeys().create(algorithm);
      const publicKey = createPublicKey({ key: Buffer.from(key.publicKey), format: 'der', type: 'spki' });
      const signature = key.sign(data);
      const hash = key.algorithm === 'P-256' ? 'sha256' : null;
      t.true(verify(hash, data, publicKey, signature));
      t.false(verify(hash, Uint8Array.of(...data, 0), publicKey, signature));
    });

    test(`${adapter}: a ${algorithm} key comes back from its PEM`, (t) => {
      const keys = createKeys();
      const key = keys.create(algorithm);
      const again = keys.fromPem(key.toPem());
      t.is(again.algorithm, key.algorithm);
      t.deepEqual(again.publicKey, key.publicKey);
      t.regex(key.toPem(), /^-----BEGIN PRIVATE KEY-----\n/);
    });
  }

  test(`${adapter}: an identity key is Ed25519`, (t) => {
    t.is(createKeys().create('Ed25519').algorithm, 'Ed25519');
  });

  test(`${adapter}: every key is another one`, (t) => {
    const keys = createKeys();
    const all = Array.from({ length: 8 }, () => Buffer.from(keys.create('P-256').publicKey).toString('hex'));
    t.is(new Set(all).size, all.length);
  });

  test(`${adapter}: text that is no key is refused without showing it`, (t) => {
    const error = t.throws(
      () => createKeys().fromPem('-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n'),
      {
        name: 'KeyFormatError',
      },
    );
    t.false(String(error?.stack).includes('hunter2'));
  });

  test(`${adapter}: printing a key shows nothing of it`, (t) => {
    const key = createKeys().create('P-256');
    const secret = key.toPem().split('\n')[1] ?? '';
    t.false(JSON.stringify(key).includes(secret.slice(0, 20)));
  });
}

// The key derivation of real nodes: node:crypto's scrypt on the thread pool, so that the daemon goes on meanwhile. Made once by
// node-runtime/daemon.ts. It must never keep a code or a key.

import { scrypt } from 'node:crypto';
import { approvalKeyBytes, type DeriveKey, scryptParameters } from './approval-proof.ts';

export const deriveApprovalKey: DeriveKey = (code, salt) => {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  scrypt(code, salt, approvalKeyBytes, scryptParameters, (error, key) =>
    error === null ? resolve(new Uint8Array(key)) : reject(error),
  );
  return promise;
};

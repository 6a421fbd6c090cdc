// The key derivation under simulation: the same scrypt, synchronously. Real threads would answer at real times, and one seed
// would no longer give one trace.

import { scryptSync } from 'node:crypto';
import { approvalKeyBytes, type DeriveKey, scryptParameters } from '../pki/approval-proof.ts';

export const simDeriveKey: DeriveKey = async (code, salt) =>
  new Uint8Array(scryptSync(code, salt, approvalKeyBytes, scryptParameters));

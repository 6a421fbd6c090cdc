// Canonical JSON (keys in order, nothing between tokens) and hashes of it. Called by the compiler, the ledger and whoever
// compares documents. It must never depend on the order in which an object was built.

import { createHash } from 'node:crypto';
import { stringify } from 'safe-stable-stringify';

/** Text that is equal exactly when the JSON values are equal; undefined members are left out. */
export function canonicalJson(value: unknown): string {
  return stringify(value) ?? 'null';
}

/** SHA-256, hex. */
export function sha256(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

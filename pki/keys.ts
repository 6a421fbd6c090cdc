// The keys port: making keys and signing with them. Adapters: node-keys.ts (P-256 and Ed25519 of node:crypto) and
// simulations/sim-keys.ts (Ed25519 from the seed, so that signatures, and the documents that carry them, repeat).
// A private key never leaves the object but by `toPem`, which is for the data folder alone.

export type KeyAlgorithm = 'P-256' | 'Ed25519';

export interface PrivateKey {
  readonly algorithm: KeyAlgorithm;
  /** SubjectPublicKeyInfo, DER (RFC 5280, section 4.1.2.7). */
  readonly publicKey: Uint8Array;
  /** ECDSA with SHA-256 (r and s as a DER sequence) or Ed25519 (RFC 8032). */
  sign(data: Uint8Array): Uint8Array;
  /** PKCS#8, PEM. Only for files of the data folder (mode 0600) and for handing a workload its own key. */
  toPem(): string;
}

export interface Keys {
  /** `P-256` for authorities and workloads, `Ed25519` for a node's identity. The simulated adapter makes Ed25519 for both. */
  create(algorithm: KeyAlgorithm): PrivateKey;
  fromPem(pem: string): PrivateKey;
}

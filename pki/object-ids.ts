// The object identifiers that certificates and requests carry, dotted. Data only.

/** UUID 28ab80dd-aff4-4c89-8933-1764e2125f89 under 2.25 (ITU-T X.667): an arc that nobody needs to register. */
const selvedge = '2.25.54059616306514489562528134770663251849';

export const objectIds = {
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  /** RFC 4519, section 2.39. */
  userId: '0.9.2342.19200300.100.1.1',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  ed25519: '1.3.101.112',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAlternativeName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  /** UTF8String, `controller`. */
  role: `${selvedge}.1`,
  /** INTEGER: counts up each time a node's authority is signed again. */
  issueNumber: `${selvedge}.2`,
} as const;

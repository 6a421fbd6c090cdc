// Signed documents: JWS in compact form (RFC 7515) with the signer's chain in x5c, leaf first and the root last. Called by
// control for plans, tickets and facts, by nodes for announcements. The verifier trusts nothing of the header but x5c, and
// of that only what verifyChain accepts; it knows two algorithms and takes the one of the key.

import { verify } from 'node:crypto';
import { stringify } from 'safe-stable-stringify';
import { readCertificate } from './certificate-reader.ts';
import { isRawSignature, toRawSignature } from './ecdsa-form.ts';
import { CertificateError, SignatureError } from './errors.ts';
import type { Identity, SignPayload, VerifyChain, VerifySigned } from './identity.ts';
import type { KeyAlgorithm, PrivateKey } from './keys.ts';
import { chainLengthMax, jwsBytesMax } from './limits.ts';
import { algorithmOf } from './public-key.ts';

const jwsAlgorithms: Record<KeyAlgorithm, string> = { 'P-256': 'ES256', Ed25519: 'EdDSA' };

export interface SignerDependencies {
  key: PrivateKey;
  /** DER, the key's certificate first, the root last. */
  chain: readonly Uint8Array[];
}

/** Equal payloads give equal signed bytes. Throws SignatureError (payload, too-large). */
export function createSigner({ key, chain }: SignerDependencies): SignPayload {
  const x5c = chain.map((der) => Buffer.from(der).toString('base64'));
  const alg = jwsAlgorithms[key.algorithm];
  return (typ, payload) => {
    const json = stringify(payload);
    if (json === undefined) throw new SignatureError('payload', 'only JSON can be signed');
    const header = Buffer.from(JSON.stringify({ alg, typ, x5c })).toString('base64url');
    const signed = `${header}.${Buffer.from(json).toString('base64url')}`;
    const signature = key.sign(Buffer.from(signed));
    const raw = key.algorithm === 'P-256' ? toRawSignature(signature) : signature;
    const jws = `${signed}.${Buffer.from(raw).toString('base64url')}`;
    if (jws.length > jwsBytesMax) throw new SignatureError('too-large', 'the document is too large to be signed');
    return jws;
  };
}

/** Strict: exactly the text that encoding the bytes gives. */
function decodeText(text: string, encoding: 'base64' | 'base64url'): Buffer {
  const bytes = Buffer.from(text, encoding);
  if (bytes.toString(encoding) !== text) throw new SignatureError('malformed', `a part is not ${encoding}`);
  return bytes;
}

function parseJson(bytes: Uint8Array, reason: 'malformed' | 'payload'): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new SignatureError(reason, 'a part is not JSON');
  }
}

function readHeader(text: string, type: string): { alg: string; chain: Uint8Array[] } {
  const header = parseJson(decodeText(text, 'base64url'), 'malformed');
  if (typeof header !== 'object' || header === null) throw new SignatureError('malformed', 'the header is no object');
  const { alg, typ, x5c, ...more } = header as Record<string, unknown>;
  if (Object.keys(more).length > 0) throw new SignatureError('malformed', 'the header has members that we do not know');
  if (typ !== type) throw new SignatureError('type', `the document is not of type ${type}`);
  if (typeof alg !== 'string' || !Array.isArray(x5c) || x5c.length === 0 || x5c.length > chainLengthMax) {
    throw new SignatureError('malformed', 'the header has no algorithm or no chain');
  }
  const chain = x5c.map((entry: unknown) => {
    if (typeof entry !== 'string') throw new SignatureError('malformed', 'the chain is malformed');
    return new Uint8Array(decodeText(entry, 'base64'));
  });
  return { alg, chain };
}

function identify(verifyChain: VerifyChain, chain: readonly Uint8Array[]): Identity {
  try {
    return verifyChain(chain);
  } catch (cause) {
    if (!(cause instanceof CertificateError)) throw cause;
    throw new SignatureError('certificate', `the signer is not accepted (${cause.reason}): ${cause.message}`, {
      cause,
    });
  }
}

/** The result's `signer` may be of any kind: whether it may say what it says is the caller's to check. */
export function createSignatureVerifier({ verifyChain }: { verifyChain: VerifyChain }): VerifySigned {
  return (jws, type) => {
    if (jws.length > jwsBytesMax) throw new SignatureError('too-large', 'the document is too large');
    const [header, body, signature, ...more] = jws.split('.', 4);
    if (header === undefined || body === undefined || signature === undefined || more.length > 0) {
      throw new SignatureError('malformed', 'the document is no JWS in compact form');
    }
    const { alg, chain } = readHeader(header, type);
    const signer = identify(verifyChain, chain);
    const [leaf = new Uint8Array()] = chain;
    const { publicKey, publicKeySpki } = readCertificate(leaf);
    const algorithm = algorithmOf(publicKeySpki);
    if (alg !== jwsAlgorithms[algorithm]) throw new SignatureError('algorithm', 'the algorithm does not fit the key');
    const raw = decodeText(signature, 'base64url');
    const signed = Buffer.from(`${header}.${body}`);
    const valid =
      algorithm === 'P-256'
        ? isRawSignature(raw) && verify('sha256', signed, { key: publicKey, dsaEncoding: 'ieee-p1363' }, raw)
        : verify(null, signed, publicKey, raw);
    if (!valid) throw new SignatureError('bad-signature', 'the signature is wrong');
    return { payload: parseJson(decodeText(body, 'base64url'), 'payload'), signer };
  };
}

// A workload's credential as TLS wants it, and the chain of whoever is at the other end. Called by local-instances.ts and both
// sides of the tunnel. It judges nobody: that is VerifyChain's part. A private key never leaves this file.

import { constants, createPrivateKey, X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContext, type SecureVersion, type TLSSocket } from 'node:tls';
import type { MicroserviceName } from '../control/plan.ts';
import type { VerifyChain, WorkloadIdentity } from '../pki/identity.ts';
import { WorkloadCredentialError } from './errors.ts';
import { peerChainCertificatesMax } from './limits.ts';
import { serviceKey } from './service-names.ts';
import type { WorkloadCredential } from './service-network.ts';

export interface LoadedCredential {
  /** Made when it is first asked for: each takes 64 kB, and most workloads neither call nor are called all the time. */
  readonly context: SecureContext;
  readonly identity: WorkloadIdentity;
}

// Revoked callers must not come back on an old session, so that none is ever resumed: no tickets here, no session kept on the other side.
const neverResumed = constants.SSL_OP_NO_TICKET;

/** SNI of a connection between nodes; no microservice has it. */
export const nodeServerName = 'node.selvedge';

/** ALPN of a connection between nodes: who dialled asks, or is asked. */
export const nodeProtocols = { asks: 'http/1.1', isAsked: 'selvedge-back' };

/** What both sides pass to node:tls; peers are verified by VerifyChain after the handshake, not by OpenSSL's list of roots. */
export const tunnelTls = {
  minVersion: 'TLSv1.3' as SecureVersion,
  maxVersion: 'TLSv1.3' as SecureVersion,
  ALPNProtocols: ['h2'],
  secureOptions: neverResumed,
  rejectUnauthorized: false,
};

/** Throws WorkloadCredentialError when it is not the microservice's own or cannot be used. */
export function loadCredential(
  credential: WorkloadCredential,
  name: MicroserviceName,
  verifyChain: VerifyChain,
): LoadedCredential {
  const { keyPem: key, chainPem: cert } = credential;
  try {
    const chain = cert.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    const certificates = chain.map((pem) => new X509Certificate(pem));
    const identity = verifyChain(certificates.map(({ raw }) => new Uint8Array(raw)));
    if (identity.kind !== 'workload' || serviceKey(identity) !== serviceKey(name)) {
      throw new WorkloadCredentialError(`the credential given for ${serviceKey(name)} is somebody else's`);
    }
    if (certificates[0]?.checkPrivateKey(createPrivateKey(key)) !== true) throw new Error('its key is another one');
    const { minVersion, maxVersion, secureOptions } = tunnelTls;
    let context: SecureContext | undefined;
    return {
      get context() {
        // Without any roots: left out, Node.js would read the hundred and forty that it has, for nothing.
        context ??= createSecureContext({ key, cert, ca: [], minVersion, maxVersion, secureOptions });
        return context;
      },
      identity,
    };
  } catch (error) {
    if (error instanceof WorkloadCredentialError) throw error;
    throw new WorkloadCredentialError(`the credential of ${serviceKey(name)} cannot be used`, { cause: error });
  }
}

/** A node's own authority, for connections between nodes. */
export function createNodeContext({ keyPem: key, chainPem: cert }: WorkloadCredential): SecureContext {
  const { minVersion, maxVersion, secureOptions } = tunnelTls;
  return createSecureContext({ key, cert, ca: [], minVersion, maxVersion, secureOptions });
}

/** The certificates that the other end sent, leaf first, DER; empty when it sent none. */
export function peerChain(socket: TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = [];
  let certificate = socket.getPeerX509Certificate();
  while (certificate !== undefined && chain.length < peerChainCertificatesMax) {
    chain.push(new Uint8Array(certificate.raw));
    certificate = certificate.issuerCertificate;
  }
  return chain;
}

// What each kind of certificate holds (design, section 6), and issuing it: root, issuing authority of a controller,
// authority of a node, workload. Called at founding, by controllers, and by nodes for their own workloads.
// Never makes a key and never sees one but the issuer's, through the keys port.

import type { MicroserviceName } from '../control/plan.ts';
import type { Random } from '../node-runtime/random.ts';
import { type CertificateContent, keyIdOf, signCertificate } from './certificate-builder.ts';
import * as extensions from './certificate-extensions.ts';
import { readCertificate } from './certificate-reader.ts';
import { CertificateRequestError, NameError } from './errors.ts';
import type { PrivateKey } from './keys.ts';
import {
  backdatingMs,
  controllerAuthorityLifetimeMs,
  coveredServicesMax,
  nodeAuthorityLifetimeMs,
  publicNamesMax,
  rootLifetimeMs,
  workloadLifetimeMs,
} from './limits.ts';
import { fabricIdOf, isFabricId, isLabel, isPublicName, nodeDnsName, workloadDnsName, workloadUri } from './names.ts';
import { publicKeyOfPeerId } from './peer-id.ts';
import { readPublicKey } from './public-key.ts';

/** Who signs: its key and its own certificate (DER). */
export interface Issuer {
  key: PrivateKey;
  certificate: Uint8Array;
}

interface Moment {
  random: Random;
  /** Milliseconds since 1970. */
  nowMs: number;
}

/** What X.520 allows a common name to have. */
const commonNameCharactersMax = 64;

type Issued = Pick<CertificateContent, 'subject' | 'publicKey' | 'extensions'> & { lifetimeMs: number };

/** Ends no later than the issuer does. */
function issue(issuer: Issuer, { lifetimeMs, ...content }: Issued, { random, nowMs }: Moment): Uint8Array {
  const { subject, keyId, publicKeySpki, notAfterMs } = readCertificate(issuer.certificate);
  if (!Buffer.from(publicKeySpki).equals(issuer.key.publicKey)) {
    throw new CertificateRequestError('the issuer’s key and certificate do not belong together');
  }
  if (notAfterMs <= nowMs) throw new CertificateRequestError('the issuer’s certificate has expired');
  readPublicKey(content.publicKey);
  return signCertificate(
    {
      ...content,
      issuerName: subject,
      issuerKeyId: keyId ?? keyIdOf(publicKeySpki),
      notBeforeMs: nowMs - backdatingMs,
      notAfterMs: Math.min(nowMs + lifetimeMs, notAfterMs),
    },
    issuer.key,
    random,
  );
}

function checkHolder(node: string, peerId: string): void {
  if (!isLabel(node)) throw new NameError('the node’s name is no DNS label');
  publicKeyOfPeerId(peerId);
}

/** The fabric's root: signs itself, 20 years. The hash of its key is the fabric's id. DER. Throws NameError. */
export function createRoot({
  key,
  fabricName,
  random,
  nowMs,
}: Moment & { key: PrivateKey; fabricName: string }): Uint8Array {
  if (!isLabel(fabricName)) throw new NameError('the fabric’s name is no DNS label');
  const commonName = `${fabricName} root`.slice(0, commonNameCharactersMax);
  return signCertificate(
    {
      subject: { organization: fabricIdOf(key.publicKey), commonName },
      issuerName: undefined,
      issuerKeyId: keyIdOf(key.publicKey),
      publicKey: key.publicKey,
      notBeforeMs: nowMs - backdatingMs,
      notAfterMs: nowMs + rootLifetimeMs,
      extensions: [extensions.authority(undefined), extensions.authorityKeyUsage],
    },
    key,
    random,
  );
}

export interface ControllerAuthorityRequest extends Moment {
  issuer: Issuer;
  /** SubjectPublicKeyInfo. */
  publicKey: Uint8Array;
  node: string;
  peerId: string;
}

/** A controller's issuing authority: signed by the root, 1 year, path length 1, the role extension. DER. */
export function issueControllerAuthority({
  issuer,
  publicKey,
  node,
  peerId,
  ...moment
}: ControllerAuthorityRequest): Uint8Array {
  checkHolder(node, peerId);
  return issue(
    issuer,
    {
      subject: { commonName: node, userId: peerId },
      publicKey,
      lifetimeMs: controllerAuthorityLifetimeMs,
      extensions: [extensions.authority(1), extensions.authorityKeyUsage, extensions.controllerRole],
    },
    moment,
  );
}

export interface NodeAuthorityRequest extends ControllerAuthorityRequest {
  fabricId: string;
  /** Services whose workloads the node may certify. */
  covers: readonly MicroserviceName[];
  /** DNS names of what it publishes: none below the fabric's id. */
  publicNames?: readonly string[];
  /** Counts up from 1 at each issue for the same key. The subject stays, so that leaves chain to the old and the new. */
  issueNumber: number;
}

/** A node's authority: signed by an issuing authority, 30 days, path length 0, critical name constraints. DER. */
export function issueNodeAuthority(request: NodeAuthorityRequest): Uint8Array {
  const { issuer, publicKey, node, peerId, fabricId, covers, publicNames = [], issueNumber, ...moment } = request;
  checkHolder(node, peerId);
  if (covers.length > coveredServicesMax) {
    throw new CertificateRequestError(`a node authority covers ${coveredServicesMax} services at most`);
  }
  if (publicNames.length > publicNamesMax) {
    throw new CertificateRequestError(`a node authority allows ${publicNamesMax} public names at most`);
  }
  const wrong = publicNames.find((name) => !isPublicName(name, fabricId));
  if (wrong !== undefined) throw new NameError(`${JSON.stringify(wrong.slice(0, 300))} is no public DNS name`);
  if (!Number.isSafeInteger(issueNumber) || issueNumber < 1) {
    throw new CertificateRequestError('an issue number is a whole number from 1');
  }
  const services = [...new Set(covers.map((name) => workloadDnsName(fabricId, name)))].sort();
  return issue(
    issuer,
    {
      subject: { commonName: node, userId: peerId },
      publicKey,
      lifetimeMs: nodeAuthorityLifetimeMs,
      extensions: [
        extensions.authority(0),
        extensions.authorityKeyUsage,
        extensions.nameConstraints(fabricId, [nodeDnsName(fabricId, node), ...services, ...publicNames]),
        extensions.issueNumberOf(issueNumber),
      ],
    },
    moment,
  );
}

export interface WorkloadRequest extends Moment {
  issuer: Issuer;
  publicKey: Uint8Array;
  name: MicroserviceName;
  fabricId: string;
}

/** A workload's certificate: signed by the node's authority, 24 hours at most, its SPIFFE ID and the DNS name to it. DER. */
export function issueWorkload({ issuer, publicKey, name, fabricId, ...moment }: WorkloadRequest): Uint8Array {
  if (!isFabricId(fabricId)) throw new NameError('this is no fabric id');
  return issue(
    issuer,
    {
      subject: { commonName: name.microservice },
      publicKey,
      lifetimeMs: workloadLifetimeMs,
      extensions: [
        extensions.noAuthority,
        extensions.workloadKeyUsage,
        extensions.workloadPurposes,
        extensions.alternativeNames(
          extensions.uriName(workloadUri(fabricId, name)),
          extensions.dnsName(workloadDnsName(fabricId, name)),
        ),
      ],
    },
    moment,
  );
}

/**
 * A certificate by which a gateway shows itself to clients outside the fabric, for public names alone: nothing in the fabric takes it for
 * anybody. Signed by the node's authority, 24 hours at most. DER.
 */
export function issueGateway({
  issuer,
  publicKey,
  names,
  fabricId,
  ...moment
}: Moment & { issuer: Issuer; publicKey: Uint8Array; names: readonly string[]; fabricId: string }): Uint8Array {
  if (names.length === 0 || !names.every((name) => isPublicName(name, fabricId))) {
    throw new NameError('a gateway’s names are public DNS names');
  }
  return issue(
    issuer,
    {
      subject: { commonName: 'gateway' },
      publicKey,
      lifetimeMs: workloadLifetimeMs,
      extensions: [
        extensions.noAuthority,
        extensions.workloadKeyUsage,
        extensions.serverPurpose,
        extensions.alternativeNames(...names.map(extensions.dnsName)),
      ],
    },
    moment,
  );
}

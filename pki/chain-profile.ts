// What each certificate of a chain must be, by its place under the root: the profile of design, section 6. Called by
// verify-chain.ts after the signatures were checked. Stricter than RFC 5280: what we do not issue is refused.

import type { MicroserviceName } from '../control/plan.ts';
import type { ReadCertificate } from './certificate-reader.ts';
import { CertificateError, type CertificateFault } from './errors.ts';
import { backdatingMs, coveredServicesMax, publicNamesMax, workloadLifetimeMs } from './limits.ts';
import { dnsNameOf, isLabel, isPublicName, nodeDnsName, parseDnsName, parseSpiffeUri } from './names.ts';
import { isPeerId } from './peer-id.ts';

const digitalSignature = 0x80;
const certificateSign = 0x04;

export interface Holder {
  node: string;
  peerId: string;
}

function demand(condition: boolean, reason: CertificateFault, message: string): asserts condition {
  if (!condition) throw new CertificateError(reason, message);
}

/** Only a certificate with both may sign others. */
export function checkAuthority(certificate: ReadCertificate): void {
  demand(certificate.authority, 'not-an-authority', 'a certificate that is no authority signed another one');
  demand(
    ((certificate.keyUsage ?? 0) & certificateSign) !== 0,
    'not-an-authority',
    'an authority’s key usage does not allow signing certificates',
  );
}

function checkPlain(certificate: ReadCertificate): void {
  demand(certificate.alternativeNames === undefined, 'profile', 'an authority has alternative names');
  demand(certificate.purposes === undefined, 'profile', 'an authority is limited to purposes');
}

export function checkRoot(certificate: ReadCertificate): void {
  checkAuthority(certificate);
  checkPlain(certificate);
  const { role, issueNumber, constraints, userId } = certificate;
  const plain = [role, issueNumber, constraints, userId].every((part) => part === undefined);
  demand(plain, 'profile', 'the root has extensions of other kinds');
}

function holderOf({ commonName = '', userId = '' }: ReadCertificate): Holder {
  demand(isLabel(commonName), 'profile', 'an authority’s common name is no node name');
  demand(isPeerId(userId), 'profile', 'an authority names no peer id');
  return { node: commonName, peerId: userId };
}

/** The certificate under the root. */
export function checkController(certificate: ReadCertificate): Holder {
  checkAuthority(certificate);
  checkPlain(certificate);
  const { role, issueNumber, constraints, pathLength } = certificate;
  demand(role === 'controller', 'profile', 'the certificate under the root is no issuing authority');
  demand(
    issueNumber === undefined && constraints === undefined,
    'profile',
    'an issuing authority has a node’s extensions',
  );
  demand(pathLength === 1, 'path-length', 'an issuing authority’s path length is not 1');
  return holderOf(certificate);
}

/** The certificate under an issuing authority. */
export function checkNode(
  certificate: ReadCertificate,
  fabricId: string,
): Holder & { issueNumber: number; covers: MicroserviceName[]; publicNames?: string[] } {
  checkAuthority(certificate);
  checkPlain(certificate);
  const { role, issueNumber = 0, constraints, constraintsCritical, pathLength } = certificate;
  demand(role === undefined, 'profile', 'a node’s authority has a role');
  demand(issueNumber >= 1, 'profile', 'a node’s authority has no issue number');
  demand(pathLength === 0, 'path-length', 'a node’s authority’s path length is not 0');
  demand(
    constraints !== undefined && constraintsCritical,
    'name-constraints',
    'a node’s authority has no critical name constraints',
  );
  const { permitted, otherExclusions } = constraints;
  demand(
    permitted.others === 0 && otherExclusions === 0,
    'name-constraints',
    'the name constraints have forms that we do not use',
  );
  demand(
    permitted.uris.length === 1 && permitted.uris[0] === fabricId,
    'name-constraints',
    'the name constraints permit another URI host than the fabric’s',
  );
  const holder = holderOf(certificate);
  const publicNames = permitted.dnsNames.filter((name) => isPublicName(name, fabricId));
  const own = permitted.dnsNames.filter((name) => !publicNames.includes(name));
  const services = own.filter((name) => name !== nodeDnsName(fabricId, holder.node));
  demand(
    publicNames.length <= publicNamesMax,
    'name-constraints',
    'the name constraints permit too many names outside the fabric',
  );
  demand(
    own.length === services.length + 1 && services.length <= coveredServicesMax,
    'name-constraints',
    'the name constraints do not permit the node’s own name once',
  );
  const covers = services.map((name) => {
    const parsed = parseDnsName(name);
    demand(
      parsed?.kind === 'workload' && parsed.fabricId === fabricId,
      'name-constraints',
      'the name constraints permit a name that is no service of this fabric',
    );
    const { project, application, microservice } = parsed;
    return { project, application, microservice };
  });
  return { ...holder, issueNumber, covers, ...(publicNames.length > 0 && { publicNames }) };
}

/** The certificate under a node's authority, which covers `covers`. */
export function checkWorkload(
  certificate: ReadCertificate,
  fabricId: string,
  covers: readonly MicroserviceName[],
): MicroserviceName {
  demand(!certificate.authority, 'path-length', 'a node’s authority signed another authority');
  const { role, issueNumber, constraints, keyUsage = 0, purposes, alternativeNames } = certificate;
  demand(
    role === undefined && issueNumber === undefined && constraints === undefined,
    'profile',
    'a workload has an authority’s extensions',
  );
  demand(
    (keyUsage & digitalSignature) !== 0 && (keyUsage & certificateSign) === 0,
    'profile',
    'a workload’s key usage is wrong',
  );
  demand(purposes?.length === 2, 'profile', 'a workload is not for servers and clients alone');
  demand(
    certificate.notAfterMs - certificate.notBeforeMs <= workloadLifetimeMs + backdatingMs,
    'lifetime',
    'a workload’s certificate is longer-lived than 24 hours',
  );
  const { uris = [], dnsNames = [], others = 0 } = alternativeNames ?? {};
  const [uri = ''] = uris;
  const [dnsName = ''] = dnsNames;
  demand(uris.length === 1, 'names', 'a workload has not exactly one SPIFFE ID');
  demand(dnsNames.length === 1 && others === 0, 'names', 'a workload has not exactly one DNS name');
  const name = parseSpiffeUri(uri);
  demand(
    name?.kind === 'workload' && name.fabricId === fabricId,
    'names',
    'a workload’s SPIFFE ID is none of this fabric',
  );
  demand(dnsNameOf(name) === dnsName, 'names', 'a workload’s DNS name is not that of its SPIFFE ID');
  const { project, application, microservice } = name;
  const covered = covers.some(
    (other) => other.project === project && other.application === application && other.microservice === microservice,
  );
  demand(covered, 'name-constraints', 'the node’s authority does not cover this workload’s name');
  return { project, application, microservice };
}

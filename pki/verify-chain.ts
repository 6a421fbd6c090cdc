// Verifies a certificate chain down from the fabric's root and says whose it is. Called for every admission, tunnel
// handshake and signed document. Never consults the system's trust store: the one anchor is the hash of the root's key.

import type { Clock } from '../node-runtime/clock.ts';
import { type ReadCertificate, readCertificate } from './certificate-reader.ts';
import { checkAuthority, checkController, checkNode, checkRoot, checkWorkload } from './chain-profile.ts';
import { CertificateError } from './errors.ts';
import type { Identity, VerifyChain } from './identity.ts';
import { certificateBytesMax, chainLengthMax, checkedChainsMax } from './limits.ts';
import { fabricIdOf, isFabricId } from './names.ts';
import { objectIds } from './object-ids.ts';
import { sha256Hex } from './public-key.ts';

export interface ChainVerifierDependencies {
  fabricId: string;
  clock: Clock;
  /** The root (DER), for chains that leave it out; without it such chains are refused as foreign. */
  root?: Uint8Array;
  /** By the bulletin. A revoked peer's certificates are refused, and so is what it issued. */
  revoked?: (peerId: string) => boolean;
  /** By the bulletin: the lowest issue number that is valid for the peer's authority. */
  authorityFloor?: (peerId: string) => number;
}

/** What never changes about a chain; time, revocation and floors are looked at each time. */
interface CheckedChain {
  identity: Identity;
  notBeforeMs: number;
  /** Every holder on the way: the controller's and the node's. */
  peerIds: string[];
}

const acceptedAlgorithms: readonly string[] = [objectIds.ecdsaWithSha256, objectIds.ed25519];

/** Signatures between authorities that were found good, by both fingerprints: every chain repeats them. */
type KnownLinks = Set<string>;

/** Throws CertificateError when `issuer` did not sign `certificate`. */
function checkLink(certificate: ReadCertificate, issuer: ReadCertificate, known: KnownLinks): void {
  const link = `${certificate.fingerprint} ${issuer.fingerprint}`;
  if (known.has(link)) return;
  if (!acceptedAlgorithms.includes(certificate.signatureAlgorithm)) {
    throw new CertificateError('algorithm', 'a certificate is signed with an algorithm that we do not use');
  }
  if (certificate.unknownCritical.length > 0) {
    throw new CertificateError('profile', 'a certificate has critical extensions that we do not know');
  }
  checkAuthority(issuer);
  if (!certificate.x509.checkIssued(issuer.x509)) {
    throw new CertificateError('not-issued', 'a certificate does not name the next one of the chain as its issuer');
  }
  if (!certificate.x509.verify(issuer.publicKey)) {
    throw new CertificateError('bad-signature', 'a certificate is not signed by the next one of the chain');
  }
  if (!certificate.authority) return;
  const [oldest] = known;
  if (known.size >= checkedChainsMax && oldest !== undefined) known.delete(oldest);
  known.add(link);
}

/** RFC 5280, section 6.1.4 (l, m): authorities below one with a path length, the last certificate not counted. */
function checkPathLengths(path: readonly ReadCertificate[]): void {
  for (const [index, { pathLength }] of path.entries()) {
    if (pathLength !== undefined && Math.max(0, index - 1) > pathLength) {
      throw new CertificateError('path-length', 'there are more authorities below one than it allows');
    }
  }
}

/** Leaf first, root last. */
function identityOf(path: readonly ReadCertificate[], fabricId: string): { identity: Identity; peerIds: string[] } {
  const [root, controllerAuthority, nodeAuthority, workload] = path.toReversed();
  if (root === undefined || controllerAuthority === undefined) {
    throw new CertificateError('chain-length', 'the chain is the root alone');
  }
  checkRoot(root);
  const notAfter = Math.min(...path.map(({ notAfterMs }) => notAfterMs));
  const controller = checkController(controllerAuthority);
  if (nodeAuthority === undefined) {
    const authorityKeySha256 = sha256Hex(controllerAuthority.publicKeySpki);
    return {
      identity: { kind: 'controller', fabricId, ...controller, authorityKeySha256, notAfter },
      peerIds: [controller.peerId],
    };
  }
  const { covers, publicNames, ...node } = checkNode(nodeAuthority, fabricId);
  const certified = { fabricId, ...node, authorityKeySha256: sha256Hex(nodeAuthority.publicKeySpki), notAfter };
  const peerIds = [controller.peerId, node.peerId];
  if (workload === undefined)
    return { identity: { kind: 'node', ...certified, covers, ...(publicNames && { publicNames }) }, peerIds };
  return { identity: { kind: 'workload', ...certified, ...checkWorkload(workload, fabricId, covers) }, peerIds };
}

function checkChain(
  chain: readonly Uint8Array[],
  fabricId: string,
  root: ReadCertificate | undefined,
  known: KnownLinks,
): CheckedChain {
  const path = chain.map(readCertificate);
  const last = path.at(-1);
  if (last !== undefined && fabricIdOf(last.publicKeySpki) !== fabricId && root !== undefined) path.push(root);
  const anchor = path.at(-1);
  if (path.length < 2 || path.length > chainLengthMax || anchor === undefined) {
    throw new CertificateError('chain-length', `a chain has 2 to ${chainLengthMax} certificates, the root included`);
  }
  if (fabricIdOf(anchor.publicKeySpki) !== fabricId) {
    throw new CertificateError('foreign-root', 'the chain does not end in the root of this fabric');
  }
  for (const [index, certificate] of path.entries()) checkLink(certificate, path[index + 1] ?? certificate, known);
  checkPathLengths(path);
  return { ...identityOf(path, fabricId), notBeforeMs: Math.max(...path.map(({ notBeforeMs }) => notBeforeMs)) };
}

/** One key per sequence of certificates: lengths are hashed too, so that no two splits of the same bytes are alike. */
const chainKey = (chain: readonly Uint8Array[]): string => sha256Hex(chain.map((der) => sha256Hex(der)).join());

/**
 * The verifier of one fabric; the same chain costs its signatures once. Throws
 * CertificateError (foreign-root) when the fabric id is none, or `root` is not that fabric’s.
 */
export function createChainVerifier(dependencies: ChainVerifierDependencies): VerifyChain {
  const { fabricId, clock, revoked = () => false, authorityFloor = () => 0 } = dependencies;
  const root = dependencies.root && readCertificate(dependencies.root);
  if (!isFabricId(fabricId) || (root !== undefined && fabricIdOf(root.publicKeySpki) !== fabricId)) {
    throw new CertificateError('foreign-root', 'the root does not belong to the fabric id');
  }
  const checked = new Map<string, CheckedChain>();
  const links: KnownLinks = new Set();

  function check(chain: readonly Uint8Array[]): CheckedChain {
    if (chain.length > chainLengthMax) throw new CertificateError('chain-length', 'the chain is too long');
    if (chain.some((der) => der.length > certificateBytesMax)) {
      throw new CertificateError('too-large', 'a certificate is too large');
    }
    const key = chainKey(chain);
    const known = checked.get(key);
    if (known !== undefined) return known;
    const result = checkChain(chain, fabricId, root, links);
    const [oldest] = checked.keys();
    if (checked.size >= checkedChainsMax && oldest !== undefined) checked.delete(oldest);
    checked.set(key, result);
    return result;
  }

  return (chain) => {
    const { identity, notBeforeMs, peerIds } = check(chain);
    const nowMs = clock.now();
    if (nowMs < notBeforeMs)
      throw new CertificateError('not-yet-valid', 'the chain is not valid yet by this node’s clock');
    if (nowMs > identity.notAfter) throw new CertificateError('expired', 'the chain has expired by this node’s clock');
    if (peerIds.some(revoked))
      throw new CertificateError('revoked', 'the peer, or the controller that certified it, is revoked');
    if (identity.kind !== 'controller' && identity.issueNumber < authorityFloor(identity.peerId)) {
      throw new CertificateError('stale-issue-number', 'a newer authority of this node is in use');
    }
    return structuredClone(identity);
  };
}

/** A chain is public and can be replayed: whoever presents it must be the peer that Noise authenticated. */
export function checkPresenter(identity: Identity, peerId: string, kinds: readonly Identity['kind'][]): void {
  if (!kinds.includes(identity.kind))
    throw new CertificateError('wrong-kind', 'the chain ends in another kind of certificate');
  if (identity.peerId !== peerId)
    throw new CertificateError('wrong-peer', 'the chain names another peer than the presenter');
}

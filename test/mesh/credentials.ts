// A fabric's certificates for tests of the mesh: root, one controller, nodes with their authorities, workloads. Made with pki/.

import { createHash } from 'node:crypto';
import type { MicroserviceName, Ticket } from '../../control/plan.ts';
import type { WorkloadCredential } from '../../mesh/service-network.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSystemRandom } from '../../node-runtime/system-random.ts';
import {
  createRoot,
  type Issuer,
  issueControllerAuthority,
  issueNodeAuthority,
  issueWorkload,
} from '../../pki/certificates.ts';
import type { SignPayload, VerifyChain, VerifySigned } from '../../pki/identity.ts';
import type { PrivateKey } from '../../pki/keys.ts';
import { fabricIdOf } from '../../pki/names.ts';
import { createNodeKeys } from '../../pki/node-keys.ts';
import { peerIdOf } from '../../pki/peer-id.ts';
import { chainToPem } from '../../pki/pem.ts';
import { createSignatureVerifier, createSigner } from '../../pki/signature.ts';
import { createChainVerifier } from '../../pki/verify-chain.ts';

const keys = createNodeKeys();
const random = createSystemRandom();
const clock = createSystemClock();

export interface TestNode {
  name: string;
  peerId: string;
  authorityKeySha256: string;
  /** Signs as the node's authority. */
  sign: SignPayload;
  /** A workload's credential under the node's authority, valid or not. */
  issue(name: MicroserviceName): WorkloadCredential;
  /** The authority's own key and chain, as if it were a workload's. */
  ownCredential: WorkloadCredential;
}

export interface TestFabric {
  fabricId: string;
  rootDer: Uint8Array;
  verifyChain: VerifyChain;
  verifySigned: VerifySigned;
  /** Signs as the controller. */
  sign: SignPayload;
  controllerPeerId: string;
  /** Of any peer id when none is given. */
  node(name: string, covers: readonly MicroserviceName[], peerId?: string): TestNode;
  ticket(ticket: Partial<Ticket> & Pick<Ticket, 'instance' | 'peerId'>, sign?: SignPayload): string;
}

const newPeerId = () => peerIdOf(keys.create('Ed25519').publicKey);

export function createTestFabric(): TestFabric {
  const moment = { random, nowMs: clock.now() };
  const rootKey = keys.create('P-256');
  const root = createRoot({ key: rootKey, fabricName: 'test', ...moment });
  const fabricId = fabricIdOf(rootKey.publicKey);
  const controllerKey = keys.create('P-256');
  const controllerPeerId = newPeerId();
  const controller = issueControllerAuthority({
    issuer: { key: rootKey, certificate: root },
    publicKey: controllerKey.publicKey,
    node: 'box1',
    peerId: controllerPeerId,
    ...moment,
  });
  const controllerIssuer: Issuer = { key: controllerKey, certificate: controller };
  const verifyChain = createChainVerifier({ fabricId, clock, root });
  const signAsController = createSigner({ key: controllerKey, chain: [controller, root] });

  function node(name: string, covers: readonly MicroserviceName[], peerId = newPeerId()): TestNode {
    const key = keys.create('P-256');
    const request = {
      issuer: controllerIssuer,
      publicKey: key.publicKey,
      node: name,
      peerId,
      fabricId,
      covers,
      issueNumber: 1,
    };
    const authority = issueNodeAuthority({ ...request, ...moment });
    const credentialOf = (own: PrivateKey, chain: Uint8Array[]) => ({
      keyPem: own.toPem(),
      chainPem: chainToPem(chain),
    });
    return {
      name,
      peerId,
      authorityKeySha256: createHash('sha256').update(key.publicKey).digest('hex'),
      sign: createSigner({ key, chain: [authority, controller, root] }),
      issue(workload) {
        const own = keys.create('P-256');
        const issuer = { key, certificate: authority };
        const leaf = issueWorkload({ issuer, publicKey: own.publicKey, name: workload, fabricId, ...moment });
        return credentialOf(own, [leaf, authority, controller, root]);
      },
      ownCredential: credentialOf(key, [authority, controller, root]),
    };
  }

  return {
    fabricId,
    rootDer: root,
    verifyChain,
    verifySigned: createSignatureVerifier({ verifyChain }),
    sign: signAsController,
    controllerPeerId,
    node,
    ticket: (ticket, sign = signAsController) =>
      sign('selvedge-ticket+jws', {
        fabricId,
        project: 'default',
        application: 'cold-chain',
        microservice: 'monitor',
        ports: [8080],
        epoch: 1,
        term: 1,
        generation: 1,
        ...ticket,
      }),
  };
}

// The certificates of simulated routers (sim-routers.ts): root, controller and the authorities of the members, all from the seed, and tickets for
// what they serve. Signatures are real ones, and each is verified once for all routers.

import type { Ticket } from '../control/plan.ts';
import { ticketType } from '../mesh/announcement-format.ts';
import type { PeerId } from '../mesh/mesh.ts';
import { createRoot, issueControllerAuthority, issueNodeAuthority } from '../pki/certificates.ts';
import type { SignPayload, VerifySigned } from '../pki/identity.ts';
import { fabricIdOf } from '../pki/names.ts';
import { peerIdOf } from '../pki/peer-id.ts';
import { createSignatureVerifier, createSigner } from '../pki/signature.ts';
import { createChainVerifier } from '../pki/verify-chain.ts';
import type { SimClock } from './sim-clock.ts';
import { createSimKeys } from './sim-keys.ts';
import type { SimRandom } from './sim-random.ts';

export interface SimRouterFabric {
  readonly fabricId: string;
  verifySigned: VerifySigned;
  /** The same text as one object: thousands of them are held by hundreds of nodes in one process. */
  shared(jws: string): string;
  member(index: number): { peerId: PeerId; node: string; sign: SignPayload };
  /** Signed by the controller, with one port. */
  ticket(about: Pick<Ticket, 'application' | 'microservice' | 'instance' | 'peerId' | 'generation'>): string;
}

export function createSimRouterFabric(clock: SimClock, random: SimRandom): SimRouterFabric {
  const keys = createSimKeys(random.fork('keys'));
  const moment = { random: random.fork('certificates'), nowMs: clock.now() };
  const rootKey = keys.create('P-256');
  const root = createRoot({ key: rootKey, fabricName: 'routers', ...moment });
  const fabricId = fabricIdOf(rootKey.publicKey);
  const controllerKey = keys.create('P-256');
  const newPeerId = (): PeerId => peerIdOf(keys.create('Ed25519').publicKey);
  const controller = issueControllerAuthority({
    issuer: { key: rootKey, certificate: root },
    ...{ publicKey: controllerKey.publicKey, node: 'controller', peerId: newPeerId(), ...moment },
  });
  const verify = createSignatureVerifier({ verifyChain: createChainVerifier({ fabricId, clock, root }) });
  const verified = new Map<string, ReturnType<VerifySigned>>();
  const texts = new Map<string, string>();
  const signTicket = createSigner({ key: controllerKey, chain: [controller, root] });
  return {
    fabricId,
    shared(jws) {
      const known = texts.get(jws) ?? jws;
      texts.set(known, known);
      return known;
    },
    /** A signature says the same to each of them. */
    verifySigned(jws, type) {
      const known = verified.get(jws) ?? verify(jws, type);
      verified.set(jws, known);
      return known;
    },
    member(index) {
      const key = keys.create('P-256');
      const [peerId, node] = [newPeerId(), `router-${index}`];
      const authority = issueNodeAuthority({
        issuer: { key: controllerKey, certificate: controller },
        ...{ publicKey: key.publicKey, node, peerId, fabricId, covers: [], issueNumber: 1, ...moment },
      });
      return { peerId, node, sign: createSigner({ key, chain: [authority, controller, root] }) };
    },
    ticket: (about) =>
      signTicket(ticketType, { fabricId, project: 'default', ports: [8080], epoch: 1, term: 1, ...about }),
  };
}

// The answering side of `/selvedge/enroll/1`, the one protocol that anybody may open. Every member answers `present`; a
// controller also takes tokens, and hands boxes that wait for an operator to pending-requests.ts. Decides by the token book and the chain verifier; what a new node gets is decided by
// `admit`, which control implements. Never tells an asker why a token was refused: that goes to the ledger alone.

import type { FrameStream, StreamHandler } from '../mesh/mesh.ts';
import type { Clock } from '../node-runtime/clock.ts';
import { readSigningRequest } from './csr.ts';
import {
  type AdmittedFrame,
  type Conversation,
  createConversation,
  decodeChain,
  encodeChain,
  frames,
  type TokenFrame,
} from './enrollment-frames.ts';
import { CertificateError, CertificateRequestError, EnrollmentProtocolError } from './errors.ts';
import type { ControllerIdentity, Identity, NodeIdentity, VerifyChain } from './identity.ts';
import {
  enrollmentAttemptsPerPeerMax,
  enrollmentPeersCountedMax,
  enrollmentRefusalsReportedMax,
  enrollmentStreamsMax,
  enrollmentTokenAttemptsMax,
  enrollmentWindowMs,
} from './limits.ts';
import { publicKeyOfPeerId } from './peer-id.ts';
import type { PendingRequests } from './pending-requests.ts';
import { createRateLimiter } from './rate-limit.ts';
import type { TokenBook, TokenRecord } from './token-book.ts';
import { checkPresenter } from './verify-chain.ts';

export type MemberIdentity = ControllerIdentity | NodeIdentity;

/** What control gets to decide on, after the token was used up for this peer and key, the code was proved, or the window let it in. */
export interface AdmissionRequest {
  peerId: string;
  name: string;
  nameChosen: boolean;
  /** SubjectPublicKeyInfo of the node's authority key. */
  publicKey: Uint8Array;
  /** The node's own, overruled by the token's or the operator's. */
  labels: Record<string, string>;
  router: TokenRecord['router'];
  engines: string[];
  platform: TokenFrame['platform'];
  by: 'token' | 'approval' | 'window';
}

/** `refused` is shown to the operator of the new box: say only what its token entitles it to know (a name that is taken). */
export type AdmissionAnswer = Omit<AdmittedFrame, 'type'> | { refused: string };

/** The same peer and key asking again must get an equivalent answer: its first one may have been lost. */
export type Admit = (request: AdmissionRequest) => Promise<AdmissionAnswer>;

export interface EnrollmentServerDependencies {
  fabricId: string;
  fabricName: string;
  /** This node's own chain, as it is now: a controller's issuing authority, or a node's authority; the root last. */
  chain: () => readonly Uint8Array[];
  verifyChain: VerifyChain;
  clock: Clock;
  /** A member proved itself: called before it is welcomed. */
  onAdmitted: (peerId: string, identity: MemberIdentity) => void | Promise<void>;
  /** For the ledger. `reason` is exact and never holds a secret. */
  onRefused: (refusal: { peerId: string; reason: string }) => void;
  /** Controllers only. */
  admission?: { tokens: TokenBook; admit: Admit; pending?: Pick<PendingRequests, 'hold'> };
}

/** One text for wrong, used and expired tokens and for bad requests: an attacker learns nothing of which it was. */
export const uniformRefusal = 'this token does not admit this box';
const noController = 'this node is no controller';
const presentRefusal = 'this membership is not accepted here';

class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly shown: string;
  constructor(shown: string, reason: string) {
    super(reason);
    this.shown = shown;
  }
}

export function createEnrollmentServer(dependencies: EnrollmentServerDependencies): StreamHandler {
  const { fabricId, fabricName, verifyChain, clock, onAdmitted, admission } = dependencies;
  const counted = { clock, windowMs: enrollmentWindowMs, keysMax: enrollmentPeersCountedMax };
  // Members that come back together after an outage are not limited as a whole, only each for itself.
  const perPeer = createRateLimiter({ ...counted, perKeyMax: enrollmentAttemptsPerPeerMax, totalMax: Infinity });
  const tokenAttempts = createRateLimiter({
    ...counted,
    perKeyMax: enrollmentAttemptsPerPeerMax,
    totalMax: enrollmentTokenAttemptsMax,
  });
  const reports = createRateLimiter({ ...counted, perKeyMax: Infinity, totalMax: enrollmentRefusalsReportedMax });
  let unreported = 0;
  let openStreams = 0;

  function report(peerId: string, reason: string): void {
    if (!reports.allow('')) {
      unreported += 1;
      return;
    }
    if (unreported > 0) dependencies.onRefused({ peerId, reason: `${unreported} earlier refusals were not recorded` });
    unreported = 0;
    dependencies.onRefused({ peerId, reason });
  }

  function verifyMember(chain: readonly string[], from: string): MemberIdentity {
    let identity: Identity;
    try {
      identity = verifyChain(decodeChain(chain));
      checkPresenter(identity, from, ['controller', 'node']);
    } catch (error) {
      if (error instanceof CertificateError) throw new Refusal(presentRefusal, `presented chain: ${error.reason}`);
      throw error;
    }
    if (identity.kind === 'workload') throw new Refusal(presentRefusal, 'presented chain: wrong-kind');
    return identity;
  }

  function readRequest(request: string): Uint8Array {
    try {
      return readSigningRequest(new Uint8Array(Buffer.from(request, 'base64'))).publicKey;
    } catch (error) {
      if (error instanceof CertificateRequestError) throw new Refusal(uniformRefusal, error.message);
      throw error;
    }
  }

  async function admitByToken(frame: TokenFrame, from: string): Promise<AdmittedFrame> {
    if (admission === undefined) throw new Refusal(noController, 'a token was sent to a node that is no controller');
    const publicKey = readRequest(frame.request);
    // Both keys: a box that lost its authority key but kept its identity is another asker.
    const bound = Buffer.concat([publicKeyOfPeerId(from), publicKey]);
    const consumed = await admission.tokens.consume(frame.secret, new Uint8Array(bound));
    if (!consumed.admitted) throw new Refusal(uniformRefusal, `token ${consumed.reason}`);
    const { labels, router } = consumed.record;
    const { name, nameChosen, engines, platform } = frame;
    const answer = await admission.admit({
      peerId: from,
      name,
      nameChosen,
      publicKey,
      labels: { ...frame.labels, ...labels },
      router,
      engines,
      platform,
      by: 'token',
    });
    if ('refused' in answer) throw new Refusal(answer.refused, answer.refused);
    return { type: 'admitted', ...answer };
  }

  async function answerClaim(conversation: Conversation, from: string): Promise<void> {
    const claim = await conversation.receive(frames.claim);
    try {
      if (claim.type === 'present') {
        await onAdmitted(from, verifyMember(claim.chain, from));
        await conversation.send({ type: 'welcome' });
      } else if (claim.type === 'pending') {
        if (admission?.pending === undefined)
          throw new Refusal(noController, 'a box wants approval of a node that is no controller');
        // It may wait for an hour: it has a limit of its own, and leaves room for those who are quick.
        openStreams -= 1;
        await admission.pending.hold(conversation, claim, from).finally(() => {
          openStreams += 1;
        });
      } else if (tokenAttempts.allow(from)) {
        await conversation.send(await admitByToken(claim, from));
      } else {
        await conversation.send({ type: 'busy' });
      }
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      report(from, error.message);
      await conversation.send({ type: 'refused', message: error.shown });
    }
  }

  async function serve(stream: FrameStream, from: string): Promise<void> {
    const conversation = createConversation({ stream, clock });
    try {
      await conversation.receive(frames.helloRequest);
      const chain = encodeChain(dependencies.chain());
      await conversation.send({ type: 'hello', fabricId, fabricName, chain });
      await answerClaim(conversation, from);
      await stream.close();
    } catch (error) {
      if (error instanceof EnrollmentProtocolError) report(from, error.message);
      throw error;
    }
  }

  return async (stream, from) => {
    if (openStreams >= enrollmentStreamsMax || !perPeer.allow(from)) {
      const conversation = createConversation({ stream, clock });
      await conversation.send({ type: 'busy' });
      await stream.close();
      return;
    }
    openStreams += 1;
    try {
      await serve(stream, from);
    } finally {
      openStreams -= 1;
    }
  };
}

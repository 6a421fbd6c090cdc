// A box without a token asks a controller to be approved, and waits: `/selvedge/enroll/1`, the asking side. Called by
// node-runtime/approving.ts for each controller that answers. Before the controller has proved that it knows the code it learns
// what the box calls itself, and no more; the root that it proved is the one that the box pins.

import type { ApprovalDesk } from './approval-desk.ts';
import { createSigningRequest } from './csr.ts';
import {
  type Answerer,
  converse,
  type Enrolled,
  type Greeting,
  greet,
  verifyAdmission,
  verifyAnswerer,
} from './enrollment-client.ts';
import { type Conversation, frames, type PendingFrame } from './enrollment-frames.ts';
import {
  EnrollmentBusyError,
  EnrollmentDeniedError,
  EnrollmentProtocolError,
  EnrollmentRefusedError,
  NotAControllerError,
} from './errors.ts';
import type { ControllerIdentity, VerifyChain } from './identity.ts';
import type { PrivateKey } from './keys.ts';
import { approvalBusyPauseMs } from './limits.ts';
import { createChainVerifier } from './verify-chain.ts';

export interface ApprovalRequest extends Answerer {
  desk: Pick<ApprovalDesk, 'current' | 'check'>;
  name: string;
  nameChosen: boolean;
  /** Our own peer id. */
  self: string;
  /** The node's authority key, already persisted. */
  key: PrivateKey;
  labels: Record<string, string>;
  engines: string[];
  platform: PendingFrame['platform'];
  /** The box was started with --trust-lan: it may be invited. */
  trustLan: boolean;
  /** The controller holds the request. Called once. */
  onWaiting: (fabric: { fabricId: string; fabricName: string }) => void;
  /** The controller sent a wrong proof. */
  onWrongProof: (fabric: { fabricId: string; fabricName: string }) => void;
  /** From here on this controller alone is asked: the code is used up, or the window was accepted. */
  onDecided: () => void;
  /** Asked when the fabric's window is open: whether this box trusts it on first use. */
  mayTrust: (fabricId: string) => Promise<boolean>;
}

interface Session {
  request: ApprovalRequest;
  conversation: Conversation;
  greeting: Greeting;
  verifyChain: VerifyChain;
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
const fromBase64 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'));

/** Throws UntrustedAnswerError and NotAControllerError. The chain ends in the root that the fabric's id is the hash of. */
function verifyController({ greeting, verifyChain, request }: Session): ControllerIdentity {
  const identity = verifyAnswerer(greeting, request.peerId, verifyChain);
  if (identity.kind !== 'controller') throw new NotAControllerError(`${identity.node} is no controller`);
  return identity;
}

const signingRequest = ({ request: { key, name } }: Session): string =>
  base64(createSigningRequest({ key, commonName: name }));

/** The controller has decided: the certificate, or why not. */
async function receiveAdmission(session: Session, serverIdentity: ControllerIdentity): Promise<Enrolled> {
  const { conversation, greeting, verifyChain, request } = session;
  const answer = await conversation.receive(frames.tokenAnswer);
  if (answer.type === 'busy') throw new EnrollmentBusyError('the controller has too many requests at the moment');
  if (answer.type === 'refused') throw new EnrollmentRefusedError(answer.message);
  const identity = verifyAdmission(answer, request, verifyChain);
  const { type: _, chain, ...admitted } = answer;
  const { fabricId, fabricName } = greeting;
  return { ...admitted, chain: chain.map(fromBase64), fabricId, fabricName, identity, serverIdentity };
}

/** Answers one proof; the certificate when it was right, else undefined. */
async function answerProof(session: Session, prove: { nonce: string; proof: string }): Promise<Enrolled | undefined> {
  const { conversation, greeting, request } = session;
  const verdict = request.desk.check({
    controllerPeerId: request.peerId,
    controllerNonce: fromBase64(prove.nonce),
    fabricId: greeting.fabricId,
    proof: fromBase64(prove.proof),
  });
  if (verdict.verdict === 'right') {
    request.onDecided();
    // Hours may have passed since the greeting.
    const serverIdentity = verifyController(session);
    await conversation.send({ type: 'proved', proof: base64(verdict.proof), request: signingRequest(session) });
    return await receiveAdmission(session, serverIdentity);
  }
  await conversation.send({ type: verdict.verdict });
  if (verdict.verdict === 'wrong') request.onWrongProof(greeting);
  else await request.clock.sleep(approvalBusyPauseMs, request.signal);
  return undefined;
}

async function answerInvitation(session: Session): Promise<Enrolled | undefined> {
  const { conversation, greeting, request } = session;
  if (!request.trustLan || !(await request.mayTrust(greeting.fabricId))) {
    await conversation.send({ type: 'decline' });
    return undefined;
  }
  request.onDecided();
  const serverIdentity = verifyController(session);
  await conversation.send({ type: 'accept', request: signingRequest(session) });
  return await receiveAdmission(session, serverIdentity);
}

async function waitForDecision(session: Session): Promise<Enrolled> {
  const { conversation, greeting, request } = session;
  let waiting = false;
  for (;;) {
    const heard = await conversation.receiveAtLeisure(frames.pendingAnswer);
    if (heard === undefined) throw new EnrollmentProtocolError('the controller no longer holds the request');
    if (heard.type === 'busy') throw new EnrollmentBusyError('the controller has too many requests at the moment');
    if (heard.type === 'denied')
      throw new EnrollmentDeniedError(`an operator of ${greeting.fabricName} denied this box`);
    if (heard.type === 'refused') throw new EnrollmentRefusedError(heard.message);
    if (heard.type === 'waiting') {
      if (waiting) throw new EnrollmentProtocolError('the controller repeats itself');
      waiting = true;
      request.onWaiting(greeting);
      continue;
    }
    const enrolled = heard.type === 'prove' ? await answerProof(session, heard) : await answerInvitation(session);
    if (enrolled !== undefined) return enrolled;
  }
}

/**
 * Registers with the controller and stays until it has decided, the stream ends or the signal aborts. Wrong proofs change
 * nothing. Throws UntrustedAnswerError, NotAControllerError, EnrollmentBusyError, EnrollmentDeniedError,
 * EnrollmentRefusedError, WrongAdmissionError, EnrollmentProtocolError, EnrollmentTimeoutError.
 */
export function registerForApproval(request: ApprovalRequest): Promise<Enrolled> {
  return converse(request, async (conversation) => {
    const greeting = await greet(conversation);
    const verifyChain = createChainVerifier({ fabricId: greeting.fabricId, clock: request.clock });
    const session: Session = { request, conversation, greeting, verifyChain };
    verifyController(session);
    const { handle, nonce } = request.desk.current();
    const { name, nameChosen, labels, engines, platform, trustLan } = request;
    const description = { name, nameChosen, labels, engines, platform };
    await conversation.send({ type: 'pending', handle, nonce: base64(nonce), trustLan, ...description });
    return await waitForDecision(session);
  });
}

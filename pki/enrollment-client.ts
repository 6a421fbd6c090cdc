// The asking side of `/selvedge/enroll/1`: a box with a token, or a member that proves its membership. Called by the
// enrollment and uplink actors' services; approval-client.ts shares its steps. Nothing secret is sent, and no own chain is shown, before the answerer has proved
// by a chain to the pinned root that it is the very peer which Noise authenticated (design, section 5.2).

import type { FrameStream } from '../mesh/mesh.ts';
import type { Clock } from '../node-runtime/clock.ts';
import { createSigningRequest } from './csr.ts';
import {
  type AdmittedFrame,
  type Conversation,
  createConversation,
  decodeChain,
  encodeChain,
  frames,
  type TokenFrame,
} from './enrollment-frames.ts';
import type { MemberIdentity } from './enrollment-server.ts';
import {
  CertificateError,
  EnrollmentBusyError,
  EnrollmentRefusedError,
  ForeignFabricError,
  NotAControllerError,
  UntrustedAnswerError,
  WrongAdmissionError,
} from './errors.ts';
import type { ControllerIdentity, NodeIdentity, VerifyChain } from './identity.ts';
import type { PrivateKey } from './keys.ts';
import { sha256Hex } from './public-key.ts';
import { parseToken } from './tokens.ts';
import { checkPresenter, createChainVerifier } from './verify-chain.ts';

export interface Answerer {
  stream: FrameStream;
  /** Who Noise says is at the other end. */
  peerId: string;
  clock: Clock;
  signal?: AbortSignal | undefined;
}

export interface Presentation extends Answerer {
  /** Our own chain: a controller's issuing authority, or a node's authority; the root last. */
  chain: readonly Uint8Array[];
  verifyChain: VerifyChain;
  /** Called once the answerer is verified and before our chain is sent: admit it, it may open streams at once. */
  onVerified?: (identity: MemberIdentity) => void;
}

export interface TokenEnrollment extends Answerer {
  token: string;
  /** A DNS label. */
  name: string;
  nameChosen: boolean;
  /** Our own peer id: the answer must be about it. */
  self: string;
  /** The node's authority key, already persisted: asking again after a lost reply needs the same one. */
  key: PrivateKey;
  labels: Record<string, string>;
  engines: string[];
  platform: TokenFrame['platform'];
}

export interface Enrolled extends Omit<AdmittedFrame, 'type' | 'chain'> {
  /** DER: our node authority, the issuing authority, the root. */
  chain: Uint8Array[];
  fabricId: string;
  fabricName: string;
  identity: NodeIdentity;
  serverIdentity: ControllerIdentity;
}

/** Runs `use` with the conversation; closes the stream after it, resets it when it throws. */
export async function converse<T>(
  { stream, clock, signal }: Answerer,
  use: (conversation: Conversation) => Promise<T>,
): Promise<T> {
  try {
    const result = await use(createConversation({ stream, clock, signal }));
    await stream.close();
    return result;
  } catch (error) {
    stream.abort(error instanceof Error ? error : new Error('the enrollment failed'));
    throw error;
  }
}

export interface Greeting {
  fabricId: string;
  fabricName: string;
  chain: Uint8Array[];
}

export async function greet(conversation: Conversation): Promise<Greeting> {
  await conversation.send({ type: 'hello' });
  const answer = await conversation.receive(frames.greeting);
  if (answer.type === 'busy') throw new EnrollmentBusyError('the answerer has too many requests at the moment');
  return { fabricId: answer.fabricId, fabricName: answer.fabricName, chain: decodeChain(answer.chain) };
}

/** Throws UntrustedAnswerError unless the chain is the answerer's own membership. */
export function verifyAnswerer({ chain }: Greeting, peerId: string, verifyChain: VerifyChain): MemberIdentity {
  try {
    const identity = verifyChain(chain);
    checkPresenter(identity, peerId, ['controller', 'node']);
    if (identity.kind !== 'workload') return identity;
  } catch (cause) {
    if (!(cause instanceof CertificateError)) throw cause;
    throw new UntrustedAnswerError(
      `the answerer ${peerId} did not prove its membership (${cause.reason}): ${cause.message}`,
      {
        cause,
      },
    );
  }
  throw new UntrustedAnswerError(`the answerer ${peerId} presented a workload’s certificate`);
}

/**
 * Mutual admission between members. Resolves with the answerer's identity once it has welcomed us. Throws
 * UntrustedAnswerError, EnrollmentRefusedError, EnrollmentBusyError, EnrollmentProtocolError, EnrollmentTimeoutError.
 */
export function presentMembership(presentation: Presentation): Promise<MemberIdentity> {
  const { peerId, chain, verifyChain, onVerified } = presentation;
  return converse(presentation, async (conversation) => {
    const identity = verifyAnswerer(await greet(conversation), peerId, verifyChain);
    onVerified?.(identity);
    await conversation.send({ type: 'present', chain: encodeChain(chain) });
    const answer = await conversation.receive(frames.presentAnswer);
    if (answer.type === 'welcome') return identity;
    if (answer.type === 'busy') throw new EnrollmentBusyError('the answerer has too many requests at the moment');
    throw new EnrollmentRefusedError(answer.message);
  });
}

/** What the controller gave must be ours: our key, our peer id, the name it says. */
export function verifyAdmission(
  answer: AdmittedFrame,
  { self, key }: Pick<TokenEnrollment, 'self' | 'key'>,
  verifyChain: VerifyChain,
): NodeIdentity {
  try {
    const identity = verifyChain(decodeChain(answer.chain));
    checkPresenter(identity, self, ['node']);
    const ours = identity.kind === 'node' && identity.authorityKeySha256 === sha256Hex(key.publicKey);
    if (ours && identity.node === answer.node) return identity;
  } catch (cause) {
    if (!(cause instanceof CertificateError)) throw cause;
    throw new WrongAdmissionError(
      `the certificate that we were given is not valid (${cause.reason}): ${cause.message}`,
      {
        cause,
      },
    );
  }
  throw new WrongAdmissionError('the certificate that we were given is for another key or name');
}

/**
 * Joins the token's fabric. Asking again with the same token, key and peer id gives an equivalent answer. Throws
 * TokenFormatError, ForeignFabricError, UntrustedAnswerError, NotAControllerError (nothing secret was sent in any of
 * these), EnrollmentRefusedError, WrongAdmissionError, EnrollmentBusyError, EnrollmentProtocolError, EnrollmentTimeoutError.
 */
export function enrollWithToken(enrollment: TokenEnrollment): Promise<Enrolled> {
  const { peerId, clock, name, nameChosen, key, labels, engines, platform } = enrollment;
  return converse(enrollment, async (conversation) => {
    const { fabricId, secret } = parseToken(enrollment.token);
    const verifyChain = createChainVerifier({ fabricId, clock });
    const greeting = await greet(conversation);
    if (greeting.fabricId !== fabricId) {
      throw new ForeignFabricError(
        `${peerId} belongs to the fabric ${greeting.fabricName} (${greeting.fabricId}), not to the token’s`,
      );
    }
    const serverIdentity = verifyAnswerer(greeting, peerId, verifyChain);
    if (serverIdentity.kind !== 'controller') {
      throw new NotAControllerError(`${serverIdentity.node} is a member of the fabric, but no controller`);
    }
    const request = Buffer.from(createSigningRequest({ key, commonName: name })).toString('base64');
    await conversation.send({ type: 'token', secret, name, nameChosen, request, labels, engines, platform });
    const answer = await conversation.receive(frames.tokenAnswer);
    if (answer.type === 'busy') throw new EnrollmentBusyError('the controller has too many requests at the moment');
    if (answer.type === 'refused') throw new EnrollmentRefusedError(answer.message);
    const identity = verifyAdmission(answer, enrollment, verifyChain);
    const { node, router, controllers } = answer;
    const { fabricName } = greeting;
    return {
      chain: decodeChain(answer.chain),
      node,
      router,
      controllers,
      fabricId,
      fabricName,
      identity,
      serverIdentity,
    };
  });
}

// The frames of `/selvedge/enroll/1`: JSON, one object per frame, client and server in turn. Called by both ends.
// Everything that arrives is checked against these shapes; a frame that does not fit ends the stream.
//
//   client                         server
//   hello                    →
//                            ←     hello (fabric, chain)
//   present (chain)          →                              a member: mutual admission
//                            ←     welcome | refused | busy
//   token (secret, request)  →                              a box that wants to join; controllers only
//                            ←     admitted | refused | busy
//   pending (handle, nonce)  →                              a box without token; controllers only. The stream stays open:
//                            ←     waiting | refused | busy
//                            ←     prove (nonce, proof)     somebody typed a code
//   proved (proof, request)  →     | wrong | busy           after wrong and busy it goes on waiting
//                            ←     invite                   a window is open, and the box said --trust-lan
//   accept (request)         →     | decline                after decline it goes on waiting
//                            ←     admitted | refused

import * as z from 'zod';
import type { FrameStream } from '../mesh/mesh.ts';
import type { Clock } from '../node-runtime/clock.ts';
import { isHandle } from './approval-code.ts';
import { EnrollmentProtocolError, EnrollmentTimeoutError } from './errors.ts';
import {
  addressCharactersMax,
  addressesMax,
  approvalNonceBytes,
  certificateBytesMax,
  chainLengthMax,
  controllersMax,
  enrollmentFrameBytesMax,
  enrollmentStepTimeoutMs,
  labelTextCharactersMax,
  signingRequestBytesMax,
} from './limits.ts';
import { isFabricId, isLabel } from './names.ts';
import { isPeerId } from './peer-id.ts';
import { labelsSchema } from './token-files.ts';
import { isTokenSecret } from './tokens.ts';

export const enrollmentProtocol = '/selvedge/enroll/1';

const base64 = (bytesMax: number) => z.base64().max(Math.ceil(bytesMax / 3) * 4);
const chain = z.array(base64(certificateBytesMax)).min(1).max(chainLengthMax);
const label = z.string().refine(isLabel, 'not a DNS label');
const shortText = z.string().max(labelTextCharactersMax);

const helloRequest = z.strictObject({ type: z.literal('hello') });
const helloAnswer = z.strictObject({
  type: z.literal('hello'),
  fabricId: z.string().refine(isFabricId, 'not a fabric id'),
  fabricName: label,
  /** DER, base64: a controller's issuing authority or a node's authority first, the root last. */
  chain,
});
const present = z.strictObject({ type: z.literal('present'), chain });
/** PKCS#10 of the node's authority key. */
const request = base64(signingRequestBytesMax);
/** What a box says of itself. */
const description = {
  name: label,
  /** The operator chose the name: another one is not an answer. */
  nameChosen: z.boolean(),
  labels: labelsSchema,
  engines: z.array(shortText).max(8),
  platform: z.strictObject({ os: shortText, arch: shortText, software: shortText }),
};
const token = z.strictObject({
  type: z.literal('token'),
  secret: z.string().refine(isTokenSecret, 'not a token’s secret'),
  request,
  ...description,
});
const bytesOf = (count: number) =>
  z.base64().refine((text) => Buffer.from(text, 'base64').length === count, `not ${count} bytes`);
const nonce = bytesOf(approvalNonceBytes);
/** HMAC-SHA-256. */
const proof = bytesOf(32);
const pending = z.strictObject({
  type: z.literal('pending'),
  handle: z.string().refine(isHandle, 'not a handle'),
  nonce,
  /** The box was started with --trust-lan. */
  trustLan: z.boolean(),
  ...description,
});
const waiting = z.strictObject({ type: z.literal('waiting') });
const prove = z.strictObject({ type: z.literal('prove'), nonce, proof });
const proved = z.strictObject({ type: z.literal('proved'), proof, request });
const wrong = z.strictObject({ type: z.literal('wrong') });
const invite = z.strictObject({ type: z.literal('invite') });
const accept = z.strictObject({ type: z.literal('accept'), request });
const decline = z.strictObject({ type: z.literal('decline') });
const welcome = z.strictObject({ type: z.literal('welcome') });
const admitted = z.strictObject({
  type: z.literal('admitted'),
  /** The new node authority first, the root last. */
  chain,
  node: label,
  /** What the fabric allows the node to be. */
  router: z.enum(['interior', 'edge']),
  controllers: z
    .array(
      z.strictObject({
        peerId: z.string().refine(isPeerId, 'not a peer id'),
        addresses: z.array(z.string().max(addressCharactersMax)).max(addressesMax),
      }),
    )
    .max(controllersMax),
});
const refused = z.strictObject({ type: z.literal('refused'), message: z.string().max(1000) });
const denied = z.strictObject({ type: z.literal('denied') });
const busy = z.strictObject({ type: z.literal('busy') });

export const frames = {
  helloRequest,
  greeting: z.discriminatedUnion('type', [helloAnswer, busy]),
  claim: z.discriminatedUnion('type', [present, token, pending]),
  presentAnswer: z.discriminatedUnion('type', [welcome, refused, busy]),
  tokenAnswer: z.discriminatedUnion('type', [admitted, refused, busy]),
  /** What a box that waits may hear. */
  pendingAnswer: z.discriminatedUnion('type', [waiting, prove, invite, denied, refused, busy]),
  /** What it may say to it. */
  pendingReply: z.discriminatedUnion('type', [proved, wrong, busy, accept, decline]),
};

export type TokenFrame = z.infer<typeof token>;
export type AdmittedFrame = z.infer<typeof admitted>;
export type PendingFrame = z.infer<typeof pending>;
export type PendingReply = z.infer<typeof frames.pendingReply>;
export type ServerFrame =
  | z.infer<typeof helloAnswer>
  | z.infer<typeof welcome>
  | AdmittedFrame
  | z.infer<typeof frames.pendingAnswer>;
export type ClientFrame =
  | z.infer<typeof helloRequest>
  | z.infer<typeof present>
  | TokenFrame
  | PendingFrame
  | PendingReply;

export const encodeChain = (certificates: readonly Uint8Array[]): string[] =>
  certificates.map((der) => Buffer.from(der).toString('base64'));
export const decodeChain = (texts: readonly string[]): Uint8Array[] =>
  texts.map((text) => new Uint8Array(Buffer.from(text, 'base64')));

/** One conversation on a stream, each step with a time-out on the clock. */
export interface Conversation {
  send(frame: ServerFrame | ClientFrame): Promise<void>;
  /** Throws EnrollmentProtocolError for the wrong frame or none, EnrollmentTimeoutError, the signal's reason. */
  receive<T>(schema: z.ZodType<T>): Promise<T>;
  /** The same for as long as it takes; undefined when the far end has closed its side. */
  receiveAtLeisure<T>(schema: z.ZodType<T>): Promise<T | undefined>;
}

export function createConversation({
  stream,
  clock,
  signal,
}: {
  stream: FrameStream;
  clock: Clock;
  signal?: AbortSignal | undefined;
}): Conversation {
  /** A send that is stuck has no signal to abort: resetting the stream ends it. */
  async function step<T>(run: (signal: AbortSignal) => Promise<T>, timeoutMs = enrollmentStepTimeoutMs): Promise<T> {
    signal?.throwIfAborted();
    const end = new AbortController();
    const stop = (reason: Error) => {
      end.abort(reason);
      stream.abort(reason);
    };
    const late = () => stop(new EnrollmentTimeoutError(`the far end did not answer within ${timeoutMs} ms`));
    const timer = timeoutMs === Infinity ? undefined : clock.setTimeout(late, timeoutMs);
    const abort = () =>
      stop(signal?.reason instanceof Error ? signal.reason : new Error('the enrollment was cancelled'));
    signal?.addEventListener('abort', abort, { once: true });
    try {
      return await run(end.signal);
    } catch (error) {
      throw end.signal.aborted ? end.signal.reason : error;
    } finally {
      clock.clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    }
  }

  function decode<T>(bytes: Uint8Array, schema: z.ZodType<T>): T {
    if (bytes.length > enrollmentFrameBytesMax) throw new EnrollmentProtocolError('a frame is too large');
    let value: unknown;
    try {
      value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    } catch {
      throw new EnrollmentProtocolError('a frame is not JSON');
    }
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    // Names the place, never the value: it may be a secret.
    const place = parsed.error.issues[0]?.path.join('.') || 'type';
    throw new EnrollmentProtocolError(`a frame is malformed at ${place}`);
  }

  return {
    send: (frame) => step(() => stream.send(new TextEncoder().encode(JSON.stringify(frame)))),
    async receive(schema) {
      const bytes = await step((ended) => stream.receive(ended));
      if (bytes === undefined) throw new EnrollmentProtocolError('the far end closed before it answered');
      return decode(bytes, schema);
    },
    async receiveAtLeisure(schema) {
      const bytes = await step((ended) => stream.receive(ended), Infinity);
      return bytes === undefined ? undefined : decode(bytes, schema);
    },
  };
}

// The conversation of two linked nodes over one stream of `/selvedge/link/1`: who I am in the mesh, who serves what, whom
// else I know. Called by links.ts. Everything received is a hint until its own signature or a dialled connection proves it.

import { z } from 'zod';
import {
  announcementBytesMax,
  announcementPartsMax,
  certificateNameCharacters,
  certificatesPerMessageMax,
  certificateTextMax,
  linkStateBytesMax,
  reachWantedMax,
  referencedCertificatesMax,
  referencedChainMax,
  servicesWantedMax,
  statementsPerMessageMax,
  summaryPositionsMax,
} from '../mesh/limits.ts';
import type { FrameStream } from '../mesh/mesh.ts';
import { statementKinds } from '../mesh/statements.ts';
import {
  conditionCharactersMax,
  conditionsMax,
  keepAliveSaidMsMax,
  linkMessagesWaitingMax,
  neighboursMax,
} from './limits.ts';

export const linkProtocol = '/selvedge/link/1';

const address = z.string().max(256);
/** An Ed25519 key's, base58btc. */
const peerId = z.string().regex(/^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/);

const nodeMessage = z.object({
  type: z.literal('node'),
  node: z.string().max(63),
  router: z.enum(['interior', 'edge']),
  controller: z.boolean(),
  addresses: z.array(address).max(32),
  /** How long it would have this link believed in although nothing is heard; absent where that is as usual. */
  keepAliveMs: z.number().int().min(1).max(keepAliveSaidMsMax).optional(),
  /** What stands in its way on its box; absent where nothing does, and from older nodes. */
  conditions: z.array(z.string().max(conditionCharactersMax)).max(conditionsMax).optional(),
  offer: z.object({ addresses: z.array(address).max(32), authorityKeySha256: z.string().max(64) }).optional(),
});

const statementKind = z.enum(statementKinds);
const counter = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const position = z.object({
  peerId,
  part: z
    .number()
    .int()
    .min(0)
    .max(announcementPartsMax - 1),
  bootCounter: counter,
  sequence: counter,
});

/** What the sender holds of what the receiver could send (mesh/spreading.ts). */
const summaryMessage = z.object({
  type: z.literal('summary'),
  of: statementKind,
  list: z.array(position).max(summaryPositionsMax),
  last: z.boolean(),
  answer: z.boolean(),
  /** The sender takes statements whose certificates are named (mesh/referenced-links.ts). */
  references: z.boolean().optional(),
});

const statementsMessage = z.object({
  type: z.literal('statements'),
  of: statementKind,
  list: z
    .array(position.extend({ jws: z.string().max(Math.max(announcementBytesMax, linkStateBytesMax)) }))
    .max(statementsPerMessageMax),
});

const certificateName = z.string().length(certificateNameCharacters);

/** What is in it is looked at where it is put together (mesh/statement-references.ts). */
const referencedMessage = z.object({
  type: z.literal('referenced'),
  of: statementKind,
  list: z
    .array(
      position.extend({
        certificates: z.array(certificateName).max(referencedCertificatesMax),
        referenced: z.object({
          alg: z.string().max(16),
          chain: z.array(counter).max(referencedChainMax),
          payload: z.unknown(),
          signature: z.string().max(256),
        }),
      }),
    )
    .max(statementsPerMessageMax),
});

const certificatesWantedMessage = z.object({
  type: z.literal('certificates-wanted'),
  list: z.array(certificateName).max(certificatesPerMessageMax),
});

const certificatesMessage = z.object({
  type: z.literal('certificates'),
  list: z.array(z.string().max(certificateTextMax)).max(certificatesPerMessageMax),
});

/**
 * To which nodes an edge node would like to know the cost, of a router that it is attached to, and of which services it would like to hear, as
 * `<project>.<application>.<microservice>`; all of them when it says none. The whole lists each time.
 */
const reachWantedMessage = z.object({
  type: z.literal('reach-wanted'),
  list: z.array(peerId).max(reachWantedMax),
  services: z.array(z.string().min(1).max(255)).max(servicesWantedMax).optional(),
});

/** What it costs from there; without a cost it cannot be reached. Of what is not in the list nothing has changed. */
const reachMessage = z.object({
  type: z.literal('reach'),
  list: z.array(z.object({ peerId, costMicroseconds: counter.optional() })).max(reachWantedMax),
});

const neighboursMessage = z.object({
  type: z.literal('neighbours'),
  list: z
    .array(
      z.object({
        peerId,
        router: z.enum(['interior', 'edge']),
        controller: z.boolean(),
        addresses: z.array(address).max(32),
      }),
    )
    .max(neighboursMax),
});

const linkMessage = z.discriminatedUnion('type', [
  nodeMessage,
  neighboursMessage,
  summaryMessage,
  statementsMessage,
  referencedMessage,
  certificatesWantedMessage,
  certificatesMessage,
  reachWantedMessage,
  reachMessage,
]);

export type LinkMessage = z.infer<typeof linkMessage>;
export type NodeMessage = z.infer<typeof nodeMessage>;
export type NeighboursMessage = z.infer<typeof neighboursMessage>;
/** What goes over a link beside what its two nodes say of themselves and their neighbours (routing.ts). */
export type TrafficMessage = Exclude<LinkMessage, NodeMessage | NeighboursMessage>;

export interface LinkSession {
  /** Resolves when the message is handed on, which waits for a far end that is slow, or the conversation is over. */
  send(message: LinkMessage): Promise<void>;
  /** Resolves when the conversation has ended, for whatever reason. */
  readonly ended: Promise<string>;
  end(): void;
}

/** The reason goes into events: it names the place, and says neither the value nor every fault of a long list. */
function readMessage(frame: Uint8Array): LinkMessage {
  const parsed = linkMessage.safeParse(JSON.parse(Buffer.from(frame).toString('utf8')));
  if (parsed.success) return parsed.data;
  throw new Error(
    `a message of the link is malformed at ${parsed.error.issues[0]?.path.join('.').slice(0, 100) || 'its type'}`,
  );
}

/** Runs until either side ends it. A malformed message ends it. */
export function runLinkSession(stream: FrameStream, onMessage: (message: LinkMessage) => void): LinkSession {
  const stop = new AbortController();
  let waiting = 0;

  async function read(): Promise<string> {
    try {
      for (;;) {
        const frame = await stream.receive(stop.signal);
        if (frame === undefined) return 'the other side ended the link';
        onMessage(readMessage(frame));
      }
    } catch (error) {
      stream.abort(error instanceof Error ? error : new Error(String(error)));
      return error instanceof Error ? error.message : String(error);
    }
  }

  return {
    ended: read(),
    async send(message) {
      if (waiting >= linkMessagesWaitingMax) {
        stop.abort(new Error('the other side reads too slowly'));
        return;
      }
      waiting += 1;
      try {
        await stream.send(Buffer.from(JSON.stringify(message)));
      } catch (error) {
        stop.abort(error);
      } finally {
        waiting -= 1;
      }
    },
    end() {
      void stream.close().catch(() => undefined);
      stop.abort(new Error('the link was ended'));
    },
  };
}

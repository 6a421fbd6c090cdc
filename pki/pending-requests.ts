// Boxes that wait for an operator's decision, on a controller: a bounded list, and the conversation with each while its stream is
// open. Fed by enrollment-server.ts; approvals and the open window ask the boxes through it. Nothing that a box says of itself
// is believed here: anybody may claim any handle and name.

import type { Clock, TimerId } from '../node-runtime/clock.ts';
import { subnetOf } from './address-ranges.ts';
import { readSigningRequest } from './csr.ts';
import type { Conversation, PendingFrame, PendingReply, ServerFrame } from './enrollment-frames.ts';
import { frames } from './enrollment-frames.ts';
import type { Admit } from './enrollment-server.ts';
import { CertificateRequestError, EnrollmentProtocolError, EnrollmentTimeoutError } from './errors.ts';
import {
  deniedMax,
  deniedMs,
  enrollmentWindowMs,
  pendingAttemptsPerAddressMax,
  pendingPerAddressMax,
  pendingPerSubnetMax,
  pendingRequestsMax,
} from './limits.ts';
import { createRateLimiter } from './rate-limit.ts';

export interface PendingRequest {
  peerId: string;
  /** Where its connection came from; `unknown` when the mesh did not say. */
  address: string;
  handle: string;
  name: string;
  labels: Record<string, string>;
  platform: PendingFrame['platform'];
  trustLan: boolean;
  since: number;
}

/** What an operator, or a window, says of the node that is to be. */
export interface AdmissionWish {
  by: 'approval' | 'window';
  name?: string;
  labels: Record<string, string>;
  router: 'interior' | 'edge';
}

export type AdmissionOutcome = { admitted: { node: string } } | { refused: string };

export interface PendingEntry extends PendingRequest {
  /** Counts up: a box that registers anew is another entry. */
  readonly id: number;
  readonly nonce: Uint8Array;
  /**
   * Asks the box and waits for one of the expected answers. One question at a time: others wait. No answer in time, another
   * answer, or an aborted signal ends the entry. Rejects when the entry has ended.
   */
  ask<Type extends PendingReply['type']>(
    question: ServerFrame,
    expected: readonly Type[],
    options: { timeoutMs: number; signal: AbortSignal },
  ): Promise<Extract<PendingReply, { type: Type }>>;
  /** Decides on the box's request (PKCS#10, base64), answers it and ends the entry. Call it after proof alone. */
  admit(request: string, wish: AdmissionWish): Promise<AdmissionOutcome>;
  /** Answers, if there is something to say, and closes the stream. Idempotent. */
  end(last?: ServerFrame): Promise<void>;
}

export interface PendingRequests {
  /** Serves one box until it is admitted, denied, pushed out, or gone. */
  hold(conversation: Conversation, claim: PendingFrame, from: string): Promise<void>;
  entries(): PendingEntry[];
  list(): PendingRequest[];
  has(peerId: string): boolean;
  /** Called with each new entry. */
  subscribe(listener: (entry: PendingEntry) => void): () => void;
  /** Ends them, and does not list these peers again for an hour. */
  deny(matches: (request: PendingRequest) => boolean): Promise<PendingRequest[]>;
}

export function createPendingRequests(dependencies: {
  clock: Clock;
  /** The IP address that a connected peer comes from. */
  addressOf: (peerId: string) => string | undefined;
  admit: Admit;
}): PendingRequests {
  const { clock, addressOf, admit } = dependencies;
  const attempts = createRateLimiter({
    clock,
    windowMs: enrollmentWindowMs,
    perKeyMax: pendingAttemptsPerAddressMax,
    // A total would let whoever floods keep the others out.
    totalMax: Infinity,
    keysMax: deniedMax,
  });
  /** Oldest first. */
  const entries = new Map<number, PendingEntry>();
  const denied = new Map<string, number>();
  const listeners = new Set<(entry: PendingEntry) => void>();
  let lastId = 0;

  const all = (): PendingEntry[] => [...entries.values()];
  const factsOf = ({
    peerId,
    address,
    handle,
    name,
    labels,
    platform,
    trustLan,
    since,
  }: PendingEntry): PendingRequest => ({
    ...{ peerId, address, handle, name, labels, platform, trustLan, since },
  });

  function isDenied(peerId: string): boolean {
    const until = denied.get(peerId);
    if (until === undefined) return false;
    if (clock.now() < until) return true;
    denied.delete(peerId);
    return false;
  }

  /** Those that share with most others what `of` says of them. */
  function crowd(among: PendingEntry[], of: (entry: PendingEntry) => string): PendingEntry[] {
    const counts = new Map<string, number>();
    for (const entry of among) counts.set(of(entry), (counts.get(of(entry)) ?? 0) + 1);
    const most = Math.max(...counts.values());
    return among.filter((entry) => counts.get(of(entry)) === most);
  }

  /** The oldest of the address that holds most, in the subnet that holds most: nobody pushes out others with one address. */
  function pushOut(among: PendingEntry[]): void {
    const [oldest] = crowd(
      crowd(among, ({ address }) => subnetOf(address)),
      ({ address }) => address,
    );
    void oldest?.end({ type: 'busy' });
  }

  /** The newest request of a source takes the place of its oldest. */
  function makeRoom(peerId: string, address: string): void {
    for (const entry of all()) if (entry.peerId === peerId) void entry.end();
    const ofAddress = all().filter((entry) => entry.address === address);
    const ofSubnet = all().filter((entry) => subnetOf(entry.address) === subnetOf(address));
    if (ofAddress.length >= pendingPerAddressMax) pushOut(ofAddress);
    else if (ofSubnet.length >= pendingPerSubnetMax) pushOut(ofSubnet);
    else if (entries.size >= pendingRequestsMax) pushOut(all());
  }

  function createEntry(conversation: Conversation, claim: PendingFrame, from: string, address: string) {
    const { handle, name, nameChosen, labels, engines, platform, trustLan } = claim;
    const { promise: ended, resolve: finish } = Promise.withResolvers<void>();
    let over = false;
    let turn: Promise<unknown> = Promise.resolve();
    let waiter: { resolve(reply: PendingReply): void; reject(error: Error): void } | undefined;

    async function end(last?: ServerFrame): Promise<void> {
      if (over) return;
      over = true;
      entries.delete(entry.id);
      waiter?.reject(new EnrollmentProtocolError('the request has ended'));
      waiter = undefined;
      if (last !== undefined) await conversation.send(last).catch(() => undefined);
      finish();
    }

    /** One reader for the whole stream: it also notices that the box is gone. */
    async function read(): Promise<void> {
      for (;;) {
        const reply = await conversation.receiveAtLeisure(frames.pendingReply);
        if (reply === undefined || over) return;
        if (waiter === undefined) throw new EnrollmentProtocolError('the box answered what nobody had asked');
        waiter.resolve(reply);
        waiter = undefined;
      }
    }

    async function askNow(
      question: ServerFrame,
      expected: readonly string[],
      { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
    ): Promise<PendingReply> {
      signal.throwIfAborted();
      if (over) throw new EnrollmentProtocolError('the request has ended');
      const { promise, resolve, reject } = Promise.withResolvers<PendingReply>();
      promise.catch(() => undefined);
      waiter = { resolve, reject };
      const late = () => reject(new EnrollmentTimeoutError(`the box did not answer within ${timeoutMs} ms`));
      const timer: TimerId = clock.setTimeout(late, timeoutMs);
      const abort = () => reject(signal.reason instanceof Error ? signal.reason : new Error('cancelled'));
      signal.addEventListener('abort', abort, { once: true });
      try {
        // A box that does not read cannot be waited for longer than one that does not answer.
        const reply = await Promise.race([promise, conversation.send(question).then(() => promise)]);
        if (!expected.includes(reply.type)) throw new EnrollmentProtocolError(`the box answered ${reply.type}`);
        return reply;
      } catch (error) {
        // What it would answer now would be taken for the answer to the next question.
        void end();
        throw error;
      } finally {
        clock.clearTimeout(timer);
        signal.removeEventListener('abort', abort);
      }
    }

    async function admitNow(request: string, wish: AdmissionWish): Promise<AdmissionOutcome> {
      const refuse = async (message: string): Promise<AdmissionOutcome> => {
        await end({ type: 'refused', message });
        return { refused: message };
      };
      try {
        const { publicKey } = readSigningRequest(new Uint8Array(Buffer.from(request, 'base64')));
        const answer = await admit({
          peerId: from,
          name: wish.name ?? name,
          nameChosen: wish.name !== undefined || nameChosen,
          publicKey,
          labels: { ...labels, ...wish.labels },
          router: wish.router,
          engines,
          platform,
          by: wish.by,
        });
        if ('refused' in answer) return await refuse(answer.refused);
        await end({ type: 'admitted', ...answer });
        return { admitted: { node: answer.node } };
      } catch (error) {
        if (error instanceof CertificateRequestError) return await refuse(error.message);
        await end();
        throw error;
      }
    }

    const entry: PendingEntry = {
      id: ++lastId,
      nonce: new Uint8Array(Buffer.from(claim.nonce, 'base64')),
      ...{ peerId: from, address, handle, name, labels, platform, trustLan, since: clock.now() },
      ask(question, expected, options) {
        const asked = turn.then(() => askNow(question, expected, options));
        turn = asked.catch(() => undefined);
        return asked as Promise<never>;
      },
      admit: admitNow,
      end,
    };
    return { entry, ended, read };
  }

  return {
    async hold(conversation, claim, from) {
      if (isDenied(from)) return await conversation.send({ type: 'denied' });
      const address = addressOf(from) ?? 'unknown';
      if (!attempts.allow(address)) return await conversation.send({ type: 'busy' });
      makeRoom(from, address);
      const { entry, ended, read } = createEntry(conversation, claim, from, address);
      entries.set(entry.id, entry);
      try {
        await conversation.send({ type: 'waiting' });
        for (const listener of [...listeners]) listener(entry);
        const reading = read();
        // After the end the stream closes under the reader.
        reading.catch(() => undefined);
        await Promise.race([reading, ended]);
      } catch (error) {
        // A box that goes away is no event; one that breaks the protocol is.
        if (error instanceof EnrollmentProtocolError) throw error;
      } finally {
        await entry.end();
      }
    },
    entries: all,
    list: () => all().map(factsOf),
    has: (peerId) => all().some((entry) => entry.peerId === peerId),
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async deny(matches) {
      const found = all().filter(matches);
      for (const { peerId } of found) {
        const [oldest] = denied.keys();
        if (denied.size >= deniedMax && oldest !== undefined) denied.delete(oldest);
        denied.set(peerId, clock.now() + deniedMs);
      }
      await Promise.all(found.map((entry) => entry.end({ type: 'denied' })));
      return found.map(factsOf);
    },
  };
}

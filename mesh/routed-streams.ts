// Streams to peers that are reached through others: each interior router on the way opens the next piece and carries frames between the two
// (design, section 7). Called by libp2p-mesh.ts. A router sees which peers talk, and nothing of what they say: what runs on such a stream
// is a connection of its own, with Noise from end to end. It decides no route, and forwards for admitted peers alone.

import { z } from 'zod';
import type { Clock } from '../node-runtime/clock.ts';
import { RouteError } from './errors.ts';
import {
  forwardedStreamsMax,
  forwardedStreamsPerPeerMax,
  nextHopsTriedMax,
  routeAnswerMs,
  routeHopsMax,
} from './limits.ts';
import type { FindStep, FrameStream, Mesh, PeerId } from './mesh.ts';

export const routeProtocol = '/selvedge/route/1';

const peer = z.string().min(1).max(128);
/** The first frame, towards the far end. */
const wishShape = z.object({ to: peer, from: peer, via: z.array(peer).max(routeHopsMax) });
/** The first frame back: where it was refused and why, or nothing when the far end has it. */
const answerShape = z.object({ at: peer.optional(), reason: z.string().max(256).optional() });
type Wish = z.infer<typeof wishShape>;
type Answer = z.infer<typeof answerShape>;

export interface RoutedStream {
  stream: FrameStream;
  /** The neighbour that it comes from or goes to. */
  neighbour: PeerId;
}

export interface RoutedStreams {
  /** Whether a way to the peer is known that goes through others. */
  leads(to: PeerId): boolean;
  /** Rejects with RouteError, which says where it ended, or the signal's reason. */
  open(to: PeerId, signal: AbortSignal): Promise<RoutedStream>;
  /** Serves what others send this way. */
  serve(): void;
}

export interface RoutedStreamsOptions {
  clock: Clock;
  self: PeerId;
  mesh: Pick<Mesh, 'open' | 'handle'>;
  /** Undefined while nobody has said how. */
  step: () => FindStep | undefined;
  /** In which order the neighbours that lead to the peer are tried. */
  order(to: PeerId, neighbours: readonly PeerId[]): readonly PeerId[];
  /** One that is meant for us; lasts as long as the conversation. Of `from` nothing is proved yet. */
  onArrived(stream: RoutedStream, from: PeerId): Promise<void>;
}

const encode = (value: Wish | Answer): Uint8Array => Buffer.from(JSON.stringify(value));

async function read<T>(shape: z.ZodType<T>, stream: FrameStream, signal: AbortSignal): Promise<T> {
  const frame = await stream.receive(signal);
  return shape.parse(JSON.parse(Buffer.from(frame ?? []).toString('utf8')));
}

export function createRoutedStreams(options: RoutedStreamsOptions): RoutedStreams {
  const { clock, self, mesh, step, order, onArrived } = options;
  /** Streams that are carried for others, by the neighbour that they came from. */
  const carried = new Map<PeerId, number>();

  /** Runs with a signal that aborts when the answer is overdue. */
  async function inTime<T>(outer: AbortSignal | undefined, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const late = new AbortController();
    const timer = clock.setTimeout(() => late.abort(new RouteError(self, 'no answer in time')), routeAnswerMs);
    try {
      return await run(outer === undefined ? late.signal : AbortSignal.any([outer, late.signal]));
    } finally {
      clock.clearTimeout(timer);
    }
  }

  /** The next piece of the way, answered by the far end. Rejects with RouteError. */
  async function extend(neighbour: PeerId, wish: Wish, signal: AbortSignal): Promise<FrameStream> {
    let stream: FrameStream | undefined;
    try {
      stream = await mesh.open(neighbour, routeProtocol, signal);
      await stream.send(encode(wish));
      const { at, reason } = await read(answerShape, stream, signal);
      if (at !== undefined) throw new RouteError(at, reason ?? 'it said no');
      return stream;
    } catch (error) {
      const failure = error instanceof RouteError ? error : new RouteError(self, `${neighbour} was not reached`, error);
      stream?.abort(failure);
      signal.throwIfAborted();
      throw failure;
    }
  }

  /** Why it is not carried on, or to whom it may be. */
  function decide({ to, from, via }: Wish, sender: PeerId): { reason: string } | { nextHops: readonly PeerId[] } {
    if (via.includes(self) || from === self) return { reason: 'it goes in a circle' };
    const next = step()?.({ destination: to, from: sender, hopsLeft: routeHopsMax - 1 - via.length });
    if (next?.type !== 'forward') return { reason: next?.type === 'refuse' ? next.reason : 'nothing is carried here' };
    // Tables that do not agree yet.
    const nextHops = next.nextHops.filter((peerId) => !via.includes(peerId) && peerId !== from);
    if (nextHops.length === 0) return { reason: 'its route leads back' };
    const total = [...carried.values()].reduce((sum, count) => sum + count, 0);
    if (total >= forwardedStreamsMax || (carried.get(sender) ?? 0) >= forwardedStreamsPerPeerMax)
      return { reason: 'too many streams are carried' };
    return { nextHops };
  }

  /** By the first of them that leads there; of several uplinks each may have lost its way. */
  async function extendByAny(nextHops: readonly PeerId[], wish: Wish, signal: AbortSignal): Promise<RoutedStream> {
    let failure: unknown = new RouteError(self, 'there is no route to it');
    for (const neighbour of nextHops.slice(0, nextHopsTriedMax)) {
      try {
        return { stream: await extend(neighbour, wish, signal), neighbour };
      } catch (error) {
        signal.throwIfAborted();
        failure = error;
      }
    }
    throw failure;
  }

  async function refuse(stream: FrameStream, answer: Answer): Promise<void> {
    await stream.send(encode(answer));
    await stream.close();
  }

  async function carry(stream: FrameStream, wish: Wish, sender: PeerId, nextHops: readonly PeerId[]): Promise<void> {
    carried.set(sender, (carried.get(sender) ?? 0) + 1);
    try {
      let onward: FrameStream;
      try {
        const onwards = { ...wish, via: [...wish.via, self] };
        onward = (await inTime(undefined, (signal) => extendByAny(nextHops, onwards, signal))).stream;
      } catch (error) {
        const failure = error instanceof RouteError ? error : new RouteError(self, (error as Error).message);
        await refuse(stream, { at: failure.at, reason: failure.reason.slice(0, 256) });
        return;
      }
      try {
        await stream.send(encode({}));
        await Promise.all([pump(stream, onward), pump(onward, stream)]);
      } catch (error) {
        onward.abort(error as Error);
        throw error;
      }
    } finally {
      const left = (carried.get(sender) ?? 1) - 1;
      if (left > 0) carried.set(sender, left);
      else carried.delete(sender);
    }
  }

  /** The neighbours through which it may be reached from here. */
  function ways(to: PeerId): readonly PeerId[] {
    const next = step()?.({ destination: to, from: undefined, hopsLeft: routeHopsMax });
    return next?.type === 'forward'
      ? order(
          to,
          next.nextHops.filter((peerId) => peerId !== to),
        )
      : [];
  }

  return {
    leads: (to) => ways(to).length > 0,
    open: (to, signal) => inTime(signal, (limit) => extendByAny(ways(to), { to, from: self, via: [] }, limit)),
    serve() {
      mesh.handle(routeProtocol, 'admitted', async (stream, sender) => {
        const wish = await inTime(undefined, (signal) => read(wishShape, stream, signal));
        // Each node vouches for the one before it: what is counted by `from` cannot be put on another's account.
        if ((wish.via.at(-1) ?? wish.from) !== sender)
          return refuse(stream, { at: self, reason: 'it did not come the way that it says' });
        if (wish.to === self) {
          await stream.send(encode({}));
          return onArrived({ stream, neighbour: sender }, wish.from);
        }
        const decided = decide(wish, sender);
        if ('reason' in decided) return refuse(stream, { at: self, reason: decided.reason });
        return carry(stream, wish, sender, decided.nextHops);
      });
    },
  };
}

/** One direction: who reads slowly slows who writes, and nobody else. */
async function pump(source: FrameStream, target: FrameStream): Promise<void> {
  for (;;) {
    const frame = await source.receive();
    if (frame === undefined) return target.close();
    await target.send(frame);
  }
}

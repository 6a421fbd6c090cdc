// Streams to peers that are reached through others: each interior router on the way opens the next piece and carries frames between the two
// (design, section 7). Called by libp2p-mesh.ts. A router sees which peers talk, and nothing of what they say: what runs on such a stream
// is a connection of its own, with Noise from end to end. It decides no route, and forwards for admitted peers alone.

import { z } from 'zod';
import type { Clock } from '../node-runtime/clock.ts';
import { RouteError } from './errors.ts';
import { createForwarding, type Wish, wishFrom, wishShape } from './forwarding.ts';
import type { FindStep, FrameStream, Mesh, PeerId } from './mesh.ts';

export const routeProtocol = '/selvedge/route/1';

/** The first frame back: where it was refused and why, or nothing when the far end has it. */
const answerShape = z.object({ at: z.string().min(1).max(128).optional(), reason: z.string().max(256).optional() });
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
  /** Those of them that led there to no good end. */
  failed(to: PeerId, neighbours: readonly PeerId[]): readonly PeerId[];
  /** One that is meant for us; lasts as long as the conversation. Of `from` nothing is proved yet. */
  onArrived(stream: RoutedStream, from: PeerId): Promise<void>;
}

const encode = (value: Wish | Answer): Uint8Array => Buffer.from(JSON.stringify(value));

async function read<T>(shape: z.ZodType<T>, stream: FrameStream, signal: AbortSignal): Promise<T> {
  const frame = await stream.receive(signal);
  return shape.parse(JSON.parse(Buffer.from(frame ?? []).toString('utf8')));
}

export function createRoutedStreams(options: RoutedStreamsOptions): RoutedStreams {
  const { self, mesh, order, failed, onArrived } = options;
  const { decide, begin, byAny, inTime, ...forwarding } = createForwarding(options);

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

  const extendByAny = (
    nextHops: readonly PeerId[],
    wishOf: (neighbour: PeerId) => Wish,
    signal: AbortSignal,
  ): Promise<RoutedStream> =>
    byAny(nextHops, signal, async (neighbour) => ({
      ...{ stream: await extend(neighbour, wishOf(neighbour), signal), neighbour },
    }));

  async function refuse(stream: FrameStream, answer: Answer): Promise<void> {
    await stream.send(encode(answer));
    await stream.close();
  }

  async function carry(stream: FrameStream, wish: Wish, sender: PeerId, nextHops: readonly PeerId[]): Promise<void> {
    const carried = begin(wish, sender);
    try {
      let onward: FrameStream;
      try {
        const onwards = { ...wish, via: [...wish.via, self] };
        onward = (await inTime(undefined, (signal) => extendByAny(nextHops, () => onwards, signal))).stream;
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
      carried();
    }
  }

  /** The neighbours through which it may be reached from here. */
  const ways = (to: PeerId): readonly PeerId[] =>
    order(
      to,
      forwarding.ways(to).filter((peerId) => peerId !== to),
    );

  return {
    leads: (to) => ways(to).length > 0,
    open: (to, signal) =>
      inTime(signal, (limit) => {
        const neighbours = ways(to);
        const avoid = failed(to, neighbours);
        return extendByAny(neighbours, (neighbour) => wishFrom(self, to, neighbour, avoid), limit);
      }),
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

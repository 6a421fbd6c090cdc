// What a router carries for others, and to which neighbour next: one decision for streams of links (routed-streams.ts) and calls
// (tunnel-through-nodes.ts). It opens nothing. Whoever asks has proved that the wish comes from an admitted neighbour.

import { z } from 'zod';
import type { Clock } from '../node-runtime/clock.ts';
import { RouteError } from './errors.ts';
import {
  avoidedMax,
  forwardedStreamsMax,
  forwardedStreamsPerPeerMax,
  forwardedStreamsPerRouterMax,
  nextHopsTriedMax,
  routeAnswerMs,
  routeHopsMax,
} from './limits.ts';
import type { FindStep, PeerId } from './mesh.ts';

const peer = z.string().min(1).max(128);
/** To whom, from whom, who has carried it so far, and who led it to a bad end before: they are passed by where there is another way. */
export const wishShape = z.object({
  ...{ to: peer, from: peer, via: z.array(peer).max(routeHopsMax) },
  avoid: z.array(peer).max(avoidedMax).optional(),
});
export type Wish = z.infer<typeof wishShape>;

/** Of this node itself, to a neighbour. It may be asked although it failed: then it is not told to avoid itself. */
export function wishFrom(self: PeerId, to: PeerId, neighbour: PeerId, failed: readonly PeerId[]): Wish {
  const avoid = failed.filter((other) => other !== neighbour).slice(0, avoidedMax);
  return { to, from: self, via: [], ...(avoid.length > 0 && { avoid }) };
}

export interface Forwarding {
  /** The neighbours that may lead there from here, the far end itself if it is one. */
  ways(to: PeerId): readonly PeerId[];
  /** Why it is not carried on, or to whom it may be. */
  decide(wish: Wish, sender: PeerId): { reason: string } | { nextHops: readonly PeerId[] };
  /** One more of that neighbour; returns the function that takes it off again. */
  begin(wish: Wish, sender: PeerId): () => void;
  /** By the first neighbour that leads there; of several uplinks each may have lost its way. Rejects with the last failure. */
  byAny<T>(nextHops: readonly PeerId[], signal: AbortSignal, attempt: (neighbour: PeerId) => Promise<T>): Promise<T>;
  /** Runs with a signal that aborts when the answer is overdue. */
  inTime<T>(outer: AbortSignal | undefined, run: (signal: AbortSignal) => Promise<T>): Promise<T>;
}

export function createForwarding({
  clock,
  self,
  step,
}: {
  clock: Clock;
  self: PeerId;
  /** Undefined while nobody has said how. */
  step: () => FindStep | undefined;
}): Forwarding {
  /** What is carried, by the neighbour that it came from and, of what that carries itself, by who asked. */
  const carried = new Map<PeerId, Map<PeerId, number>>();

  /** One that fills what it may have through a router has filled nothing of what others have through that router. */
  function isTooMuch({ from }: Wish, sender: PeerId): boolean {
    const sumOf = (counts: ReadonlyMap<PeerId, number>) => [...counts.values()].reduce((sum, count) => sum + count, 0);
    const ofSender = carried.get(sender) ?? new Map<PeerId, number>();
    const ofOthers = sumOf(ofSender) - (ofSender.get(sender) ?? 0);
    const total = [...carried.values()].reduce((sum, counts) => sum + sumOf(counts), 0);
    if (total >= forwardedStreamsMax || (ofSender.get(from) ?? 0) >= forwardedStreamsPerPeerMax) return true;
    return from !== sender && ofOthers >= forwardedStreamsPerRouterMax;
  }

  return {
    ways(to) {
      const next = step()?.({ destination: to, from: undefined, hopsLeft: routeHopsMax });
      return next?.type === 'forward' ? next.nextHops : [];
    },
    decide(wish, sender) {
      const { to, from, via, avoid } = wish;
      if (via.includes(self) || from === self) return { reason: 'it goes in a circle' };
      const next = step()?.({ destination: to, from: sender, hopsLeft: routeHopsMax - 1 - via.length, avoid });
      if (next?.type !== 'forward')
        return { reason: next?.type === 'refuse' ? next.reason : 'nothing is carried here' };
      // Tables that do not agree yet.
      const nextHops = next.nextHops.filter((peerId) => !via.includes(peerId) && peerId !== from);
      if (nextHops.length === 0) return { reason: 'its route leads back' };
      if (isTooMuch(wish, sender)) return { reason: 'too many streams are carried' };
      return { nextHops };
    },
    begin({ from }, sender) {
      const counts = carried.get(sender) ?? new Map<PeerId, number>();
      carried.set(sender, counts.set(from, (counts.get(from) ?? 0) + 1));
      return () => {
        const left = (counts.get(from) ?? 1) - 1;
        if (left > 0) counts.set(from, left);
        else counts.delete(from);
        if (counts.size === 0 && carried.get(sender) === counts) carried.delete(sender);
      };
    },
    async byAny(nextHops, signal, attempt) {
      let failure: unknown = new RouteError(self, 'there is no route to it');
      for (const neighbour of nextHops.slice(0, nextHopsTriedMax)) {
        try {
          return await attempt(neighbour);
        } catch (error) {
          signal.throwIfAborted();
          failure = error;
        }
      }
      throw failure;
    },
    async inTime(outer, run) {
      const late = new AbortController();
      const timer = clock.setTimeout(() => late.abort(new RouteError(self, 'no answer in time')), routeAnswerMs);
      try {
        return await run(outer === undefined ? late.signal : AbortSignal.any([outer, late.signal]));
      } finally {
        clock.clearTimeout(timer);
      }
    },
  };
}

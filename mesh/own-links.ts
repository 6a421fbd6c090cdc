// Which of its links a router says, and at which cost. Pure; called by node-runtime/router.ts with what comes and goes. A link that comes
// and goes all the time is said later each time, so that it costs the others ever less, and a link that is lost is never said for longer.

import { createBoundedMap } from './bounded-map.ts';
import {
  attachedSaidMax,
  flapForgottenMs,
  flapHoldMs,
  flapHoldMsMax,
  flapsRememberedMax,
  neighboursSaidMax,
  unknownCostMicroseconds,
} from './limits.ts';
import type { LinkEnd } from './link-state-format.ts';
import type { PeerId } from './mesh.ts';

export type RouterMode = 'interior' | 'edge';

/** What is said, in order of peer id: equal links give an equal link state. */
export interface SaidLinks {
  neighbours: LinkEnd[];
  attached: LinkEnd[];
}

export interface OwnLinks {
  /** The link is there, or its far end or its cost is another; undefined is a cost that is not known yet. */
  set(peerId: PeerId, router: RouterMode, costMicroseconds: number | undefined, nowMs: number): void;
  lost(peerId: PeerId, nowMs: number): void;
  /** All that there are, for this node's own routes: what it has itself it need not doubt. */
  current(): SaidLinks;
  /** What to say of them now. */
  said(nowMs: number): SaidLinks;
  /** In how many milliseconds the next link that is held back will be said; undefined when none is. */
  nextMs(nowMs: number): number | undefined;
}

interface OwnLink {
  router: RouterMode;
  costMicroseconds: number;
  /** Not said before. */
  fromMs: number;
  sinceMs: number;
}

export function createOwnLinks(): OwnLinks {
  const links = new Map<PeerId, OwnLink>();
  /** How often a link was lost before it had stood for long, and when it was lost last. */
  const flaps = createBoundedMap<PeerId, { count: number; lostAtMs: number }>(flapsRememberedMax);

  function holdMs(peerId: PeerId): number {
    const { count } = flaps.get(peerId) ?? { count: 0 };
    // A router that was restarted once has not flapped.
    return count < 2 ? 0 : Math.min(flapHoldMs * 2 ** (count - 2), flapHoldMsMax);
  }

  function pick(matches: (link: OwnLink) => boolean): SaidLinks {
    const ends = (router: RouterMode, sizeMax: number): LinkEnd[] =>
      [...links]
        .filter(([, link]) => link.router === router && matches(link))
        .map(([peerId, { costMicroseconds }]) => ({ peerId, costMicroseconds }))
        .sort((one, other) => (one.peerId < other.peerId ? -1 : 1))
        .slice(0, sizeMax);
    return { neighbours: ends('interior', neighboursSaidMax), attached: ends('edge', attachedSaidMax) };
  }

  const isSaid = ({ fromMs }: OwnLink, nowMs: number): boolean => nowMs >= fromMs;

  return {
    set(peerId, router, costMicroseconds = unknownCostMicroseconds, nowMs) {
      const { sinceMs = nowMs, fromMs = nowMs + holdMs(peerId) } = links.get(peerId) ?? {};
      links.set(peerId, { router, costMicroseconds, sinceMs, fromMs });
    },
    lost(peerId, nowMs) {
      const link = links.get(peerId);
      if (link === undefined) return;
      links.delete(peerId);
      const stood = nowMs - link.sinceMs >= flapForgottenMs;
      flaps.set(peerId, { count: stood ? 1 : (flaps.get(peerId)?.count ?? 0) + 1, lostAtMs: nowMs });
      flaps.deleteWhere(({ lostAtMs }) => nowMs - lostAtMs >= flapForgottenMs);
    },
    current: () => pick(() => true),
    said: (nowMs) => pick((link) => isSaid(link, nowMs)),
    nextMs(nowMs) {
      const waits = [...links.values()].flatMap((link) => (isSaid(link, nowMs) ? [] : [link.fromMs - nowMs]));
      return waits.length > 0 ? Math.min(...waits) : undefined;
    },
  };
}

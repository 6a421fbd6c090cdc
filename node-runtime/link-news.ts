// When what a node says of its links is worth another write: links that come and go are told by links.ts, the rest (what they cost, what they
// carry, who cannot be reached) is looked at here once in a while. Called by member.ts. It writes nothing itself, and a hair more or less
// is no news: an idle node must stay silent.

import type { ObservedLink, ObservedUnreached } from '../control/fabric.ts';
import type { Clock, TimerId } from './clock.ts';
import { linkNewsBytes, linkNewsCostMicrosecondsMin, linkNewsCostPart, linkNewsLookMs, linkNewsMs } from './limits.ts';

export interface LinksSaid {
  links: readonly ObservedLink[];
  unreached: readonly ObservedUnreached[];
}

/** `now`: to be said at once; `later`: worth it when nothing was said for a while. */
export function linkNews(said: LinksSaid, current: LinksSaid): 'none' | 'later' | 'now' {
  const peers = (unreached: readonly ObservedUnreached[]): string =>
    unreached
      .map(({ peerId }) => peerId)
      .sort()
      .join();
  if (peers(said.unreached) !== peers(current.unreached)) return 'now';
  const before = new Map(said.links.map((link) => [link.peerId, link]));
  let later = false;
  for (const link of current.links) {
    const known = before.get(link.peerId);
    if (known !== undefined && known.through !== link.through) return 'now';
    if (known !== undefined && (known.indirect === undefined) !== (link.indirect === undefined)) return 'now';
    if (known === undefined || known.costMicroseconds === undefined) {
      if (link.costMicroseconds !== undefined) return 'now';
      continue;
    }
    const difference = Math.abs((link.costMicroseconds ?? known.costMicroseconds) - known.costMicroseconds);
    const band = Math.max(known.costMicroseconds * linkNewsCostPart, linkNewsCostMicrosecondsMin);
    later ||= difference > band || carried(link) - carried(known) >= linkNewsBytes;
  }
  return later ? 'later' : 'none';
}

const carried = ({ sentBytes = 0, receivedBytes = 0 }: ObservedLink): number => sentBytes + receivedBytes;

export interface LinkNews {
  start(): void;
  stop(): void;
  /** This is written now. */
  said(links: LinksSaid): void;
}

export function createLinkNews({
  clock,
  current,
  onNews,
}: {
  clock: Clock;
  current(): LinksSaid;
  onNews(): void;
}): LinkNews {
  let last: LinksSaid = { links: [], unreached: [] };
  let saidAtMs = clock.elapsed();
  let timer: TimerId | undefined;

  function look(): void {
    timer = clock.setTimeout(look, linkNewsLookMs);
    const news = linkNews(last, current());
    const agoMs = clock.elapsed() - saidAtMs;
    if (news === 'now' || (news === 'later' && agoMs >= linkNewsMs)) onNews();
  }

  return {
    start() {
      timer ??= clock.setTimeout(look, linkNewsLookMs);
    },
    stop() {
      clock.clearTimeout(timer);
      timer = undefined;
    },
    said(links) {
      last = links;
      saidAtMs = clock.elapsed();
    },
  };
}

// What the far end of a link wants to hear of, and what of it it holds: so that it is sent the announcements of services that may be called
// there, and no others. Pure state of one link; called by spreading.ts. It decides what is sent, never what is believed.

import type { PeerId } from './mesh.ts';
import { compareVersions, type Position } from './statements.ts';

export interface Interest {
  /** Services that may be called there; undefined is all there are. */
  want(services: ReadonlySet<string> | undefined): void;
  /** It holds this, by its own word. */
  holds(position: Position): void;
  /** It was sent this. */
  sent(position: Position, serves: ReadonlySet<string>): void;
  /** It is about to say anew what it holds. */
  forget(): void;
  /** Whether it is to be sent this, which says of those services. */
  lacks(position: Position, serves: ReadonlySet<string>): boolean;
}

type Version = Pick<Position, 'bootCounter' | 'sequence'>;

export function createInterest(): Interest {
  let wanted: ReadonlySet<string> | undefined;
  /** By node and part. */
  const held = new Map<PeerId, Map<number, Version>>();

  const isWanted = (serves: ReadonlySet<string>): boolean => {
    if (wanted === undefined) return true;
    for (const service of serves) if (wanted.has(service)) return true;
    return false;
  };

  function note({ peerId, part, bootCounter, sequence }: Position, keep: boolean): void {
    const parts = held.get(peerId) ?? new Map<number, Version>();
    // What a node said before its last start counts no more, wherever it is held.
    for (const [each, version] of parts) if (version.bootCounter < bootCounter) parts.delete(each);
    if (keep) parts.set(part, { bootCounter, sequence });
    else parts.delete(part);
    if (parts.size > 0) held.set(peerId, parts);
    else held.delete(peerId);
  }

  return {
    want(services) {
      wanted = services;
    },
    holds: (position) => note(position, true),
    /** Once it has heard that there is nothing for it any more, it need not hear of it again. */
    sent: (position, serves) => note(position, isWanted(serves)),
    forget: () => held.clear(),
    lacks(position, serves) {
      const parts = held.get(position.peerId);
      const known = parts?.get(position.part);
      if (known !== undefined) return compareVersions(position, known) > 0;
      if (isWanted(serves)) return true;
      // It goes by what the node said before its last start.
      return [...(parts?.values() ?? [])].some(({ bootCounter }) => bootCounter < position.bootCounter);
    },
  };
}

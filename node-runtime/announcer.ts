// Announces what this node serves, and holds what others announced. Called by node.ts: local readiness goes in, what links
// bring goes in; out come endpoints for the service network and messages for the links. Works with no controller.

import { createAnnouncedParts } from '../mesh/announced-parts.ts';
import { announcementType } from '../mesh/announcement-format.ts';
import { createAnnouncementTable } from '../mesh/announcements.ts';
import type { PeerId } from '../mesh/mesh.ts';
import type { Endpoint } from '../mesh/service-network.ts';
import type { SignPayload, VerifySigned } from '../pki/identity.ts';
import type { Clock, TimerId } from './clock.ts';
import { announceIntervalMs } from './limits.ts';

export interface Announcer {
  /** Readiness, placement or authority changed: says what is new, at once or a moment after the last time. */
  announce(): void;
  stop(): void;
  /** What a link brought. */
  receive(from: PeerId, jws: string): void;
  /** For a new link: everything held when this node forwards, else its own alone. */
  current(): string[];
  forget(peerId: PeerId): void;
  endpoints(): Endpoint[];
}

export function createAnnouncer(dependencies: {
  fabricId: string;
  peerId: PeerId;
  node: string;
  bootCounter: number;
  clock: Clock;
  /** Interior routers pass on what is news; edge nodes never do. */
  forwards: boolean;
  sign: () => SignPayload;
  verifySigned: VerifySigned;
  served: () => { instance: string; ready: boolean; ticket: string }[];
  send(jws: string, but: PeerId | undefined): void;
  onEndpoints(endpoints: Endpoint[]): void;
  onRefused(from: PeerId, reason: string): void;
}): Announcer {
  const { fabricId, peerId, node, bootCounter, clock, forwards } = dependencies;
  const table = createAnnouncementTable({ fabricId, verifySigned: dependencies.verifySigned });
  const parts = createAnnouncedParts();
  let sequence = 0;
  /** As last said, by part: what was signed, and by whom. */
  const own = new Map<number, { jws: string; said: string }>();
  let signedBy: SignPayload | undefined;
  /** Set for a moment after each announcement; what changes meanwhile is said with the next one. */
  let resting: TimerId | undefined;
  let changed = false;
  let stopped = false;

  function announce(): void {
    if (stopped) return;
    changed = resting !== undefined;
    if (changed) return;
    // It names many instances, and is signed and verified by many: one that crashes in a loop must not cost that each time.
    resting = clock.setTimeout(() => {
      resting = undefined;
      if (changed) announce();
    }, announceIntervalMs);
    say();
  }

  /** Only the parts that say something else than before; all of them when another authority signs. */
  function say(): void {
    const sign = dependencies.sign();
    if (sign !== signedBy) own.clear();
    signedBy = sign;
    let heard = false;
    for (const [part, instances] of parts.divide(dependencies.served())) {
      const said = JSON.stringify(instances);
      if (own.get(part)?.said === said) continue;
      sequence += 1;
      const named = { fabricId, peerId, node, bootCounter, sequence, ...(part > 0 && { part }) };
      const jws = sign(announcementType, { ...named, instances });
      own.set(part, { jws, said });
      const accepted = table.accept(jws);
      if ('refused' in accepted) {
        dependencies.onRefused(peerId, accepted.refused);
        continue;
      }
      dependencies.send(jws, undefined);
      heard ||= accepted.changed;
    }
    if (heard) dependencies.onEndpoints(table.endpoints());
  }

  return {
    announce,
    stop() {
      clock.clearTimeout(resting);
      resting = undefined;
      stopped = true;
    },
    receive(from, jws) {
      const accepted = table.accept(jws);
      if ('refused' in accepted) {
        if (!accepted.stale) dependencies.onRefused(from, accepted.refused);
        return;
      }
      for (const { instance, reason } of accepted.dropped) dependencies.onRefused(from, `${instance}: ${reason}`);
      if (accepted.changed) dependencies.onEndpoints(table.endpoints());
      if (forwards && accepted.forward) dependencies.send(jws, from);
    },
    current: () => (forwards ? table.current() : [...own.values()].map(({ jws }) => jws)),
    forget(gone) {
      table.forget(gone);
      dependencies.onEndpoints(table.endpoints());
    },
    endpoints: () => table.endpoints(),
  };
}

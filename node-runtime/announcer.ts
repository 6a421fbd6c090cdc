// Announces what this node serves, and holds what others announced. Called by node.ts: local readiness goes in, what links
// bring goes in; out come endpoints for the service network and messages for the links. Works with no controller.

import { announcementType } from '../mesh/announcement-format.ts';
import { createAnnouncementTable } from '../mesh/announcements.ts';
import type { PeerId } from '../mesh/mesh.ts';
import type { Endpoint } from '../mesh/service-network.ts';
import type { SignPayload, VerifySigned } from '../pki/identity.ts';
import type { Clock, TimerId } from './clock.ts';
import { announceIntervalMs } from './limits.ts';

export interface Announcer {
  /** Readiness, placement or authority changed: says it again, at once or a moment after the last time. */
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
  let sequence = 0;
  let own: string | undefined;
  /** Set for a moment after each announcement; what changes meanwhile is said with the next one. */
  let resting: TimerId | undefined;
  let changed = false;
  let stopped = false;

  function announce(): void {
    if (stopped) return;
    changed = resting !== undefined;
    if (changed) return;
    // It names all instances, and is signed and verified by many: one that crashes in a loop must not cost that each time.
    resting = clock.setTimeout(() => {
      resting = undefined;
      if (changed) announce();
    }, announceIntervalMs);
    say();
  }

  function say(): void {
    sequence += 1;
    own = dependencies.sign()(announcementType, {
      fabricId,
      peerId,
      node,
      bootCounter,
      sequence,
      instances: dependencies.served(),
    });
    const accepted = table.accept(own);
    if ('refused' in accepted) {
      dependencies.onRefused(peerId, accepted.refused);
      return;
    }
    dependencies.send(own, undefined);
    if (accepted.changed) dependencies.onEndpoints(table.endpoints());
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
    current: () => (forwards ? table.current() : own === undefined ? [] : [own]),
    forget(gone) {
      table.forget(gone);
      dependencies.onEndpoints(table.endpoints());
    },
    endpoints: () => table.endpoints(),
  };
}

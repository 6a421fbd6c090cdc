// Announces what this node serves, and holds what others announced. Called by node.ts: local readiness goes in, what links
// bring goes in; out come endpoints for the service network and messages for the links. Works with no controller.

import { createAnnouncedParts } from '../mesh/announced-parts.ts';
import { type Announcement, announcementType } from '../mesh/announcement-format.ts';
import { createAnnouncementTable } from '../mesh/announcements.ts';
import type { PeerId } from '../mesh/mesh.ts';
import type { Endpoint } from '../mesh/service-network.ts';
import type { Statement, StatementTable } from '../mesh/statements.ts';
import type { SignPayload, VerifySigned } from '../pki/identity.ts';
import { createAtMostEvery } from './at-most-every.ts';
import type { Clock, TimerId } from './clock.ts';
import { announcedBytesPerSecond, announceIntervalMs, endpointsToldMs } from './limits.ts';

type Announced = Announcement['instances'][number];

export interface Announcer {
  /** Readiness, placement or authority changed: says what is new, at once or a moment after the last time. */
  announce(): void;
  stop(): void;
  /** What a link brought. */
  receive(from: PeerId, jws: string): void;
  /** What is held, for links. */
  readonly table: StatementTable;
  /** Nothing else is called from here any more: forgets what others serve beside these. */
  keepServing(services: ReadonlySet<string>): void;
  /** Revoked nodes go, also those that are no neighbours. */
  forget(isGone: (peerId: PeerId) => boolean): void;
  endpoints(): Endpoint[];
  /** Microservices that have a ready instance somewhere: `<project>.<application>.<microservice>`. */
  ready(): ReadonlySet<string>;
}

export function createAnnouncer(dependencies: {
  fabricId: string;
  peerId: PeerId;
  node: string;
  bootCounter: number;
  clock: Clock;
  sign: () => SignPayload;
  verifySigned: VerifySigned;
  served: () => Announced[];
  /** For the links that it concerns; not for the one that it came on. */
  news(statement: Statement, from: PeerId | undefined): void;
  onEndpoints(endpoints: Endpoint[]): void;
  onRefused(from: PeerId, reason: string): void;
}): Announcer {
  const { fabricId, peerId, node, bootCounter, clock } = dependencies;
  const table = createAnnouncementTable({ fabricId, verifySigned: dependencies.verifySigned });
  const parts = createAnnouncedParts();
  let sequence = 0;
  /** As last said, by part: what was signed, and by whom. */
  const own = new Map<number, { jws: string; instances: Announced[] }>();
  let signedBy: SignPayload | undefined;
  /** Set for a moment after each announcement; what changes meanwhile is said with the next one. */
  let resting: TimerId | undefined;
  let changed = false;
  let stopped = false;
  /** A router that starts hears of thousands of instances in hundreds of messages. */
  const tellEndpoints = createAtMostEvery(clock, endpointsToldMs, () => dependencies.onEndpoints(table.endpoints()));

  function announce(): void {
    if (stopped) return;
    changed = resting !== undefined;
    if (changed) return;
    // It names many instances, and is signed and verified by many: one that crashes in a loop must not cost that each time.
    const restMs = (say() / announcedBytesPerSecond) * 1_000;
    resting = clock.setTimeout(
      () => {
        resting = undefined;
        if (changed) announce();
      },
      Math.max(announceIntervalMs, restMs),
    );
  }

  /** Only the parts that say something else than before; all of them when another authority signs. Returns their bytes. */
  function say(): number {
    const sign = dependencies.sign();
    if (sign !== signedBy) own.clear();
    signedBy = sign;
    let heard = false;
    let bytes = 0;
    for (const [part, instances] of parts.divide(dependencies.served())) {
      if (sayTheSame(own.get(part)?.instances, instances)) continue;
      sequence += 1;
      const named = { fabricId, peerId, node, bootCounter, sequence, ...(part > 0 && { part }) };
      const jws = sign(announcementType, { ...named, instances });
      own.set(part, { jws, instances });
      bytes += jws.length;
      const accepted = table.accept(jws);
      if ('refused' in accepted) {
        dependencies.onRefused(peerId, accepted.refused);
        continue;
      }
      dependencies.news(accepted.statement, undefined);
      heard ||= accepted.changed;
    }
    if (heard) dependencies.onEndpoints(table.endpoints());
    return bytes;
  }

  return {
    announce,
    stop() {
      clock.clearTimeout(resting);
      resting = undefined;
      tellEndpoints.stop();
      stopped = true;
    },
    receive(from, jws) {
      const accepted = table.accept(jws);
      if ('refused' in accepted) {
        if (!accepted.stale) dependencies.onRefused(from, accepted.refused);
        return;
      }
      for (const { instance, reason } of accepted.dropped) dependencies.onRefused(from, `${instance}: ${reason}`);
      if (accepted.changed) tellEndpoints.ask();
      if (accepted.forward) dependencies.news(accepted.statement, from);
    },
    table,
    keepServing: (services) => table.keepServing(services, peerId),
    forget(isGone) {
      if (table.forget(isGone)) dependencies.onEndpoints(table.endpoints());
    },
    endpoints: () => table.endpoints(),
    ready: () => table.ready(),
  };
}

/** Compared one by one: tickets are the same strings as before, and making one text of hundreds of them is what costs. */
function sayTheSame(before: readonly Announced[] | undefined, now: readonly Announced[]): boolean {
  return (
    before?.length === now.length &&
    now.every(({ instance, ready, ticket }, index) => {
      const earlier = before[index];
      return earlier?.instance === instance && earlier.ready === ready && earlier.ticket === ticket;
    })
  );
}

// Who serves what, where and how ready, as the serving nodes announce it. A pure table: called by node-runtime with what links
// bring; it never sends anything and never believes what is not signed by the node concerned and covered by a controller's ticket.

import { createHash } from 'node:crypto';
import type { PlanVersion, Ticket } from '../control/plan.ts';
import type { VerifySigned } from '../pki/identity.ts';
import {
  type Announcement,
  announcementType,
  peekPayload,
  readAnnouncement,
  readTicket,
  ticketType,
} from './announcement-format.ts';
import { createBoundedMap } from './bounded-map.ts';
import { announcementBytesMax, announcingPeersMax, rememberedMarksMax, verifiedTicketsMax } from './limits.ts';
import type { PeerId } from './mesh.ts';
import type { Endpoint } from './service-network.ts';
import { type Statement, signerProblem } from './statements.ts';

export interface Accepted {
  /** The peer serves something else than before: `endpoints()` may be another. */
  changed: boolean;
  /** It was news: pass it on to the other links. */
  forward: boolean;
  statement: Statement;
  /** Instances whose ticket was not valid for the peer, with the reason; they are left out. */
  dropped: { instance: string; reason: string }[];
}

export interface Refused {
  refused: string;
  /** Only late: a newer one is held. Normal where announcements come over several links. */
  stale: boolean;
}

export interface AnnouncementTable {
  /** Takes in one announcement, or one part of it (compact JWS). Never throws. One that is held already is no news and no refusal. */
  accept(jws: string): Accepted | Refused;
  /** These are revoked, wherever they are. Older announcements of them stay refused; the same one is taken again. True when one was held. */
  forget(isGone: (peerId: PeerId) => boolean): boolean;
  /** One per instance, port and protocol, in order of instance and port; of each instance the place with the newest ticket. */
  endpoints(): Endpoint[];
  /** Microservices that have a ready instance, also those without a port: `<project>.<application>.<microservice>`. */
  ready(): ReadonlySet<string>;
  /** Of a held announcement, the microservices that it says of; ready or not. */
  serves(peerId: PeerId, part: number): ReadonlySet<string>;
  /** Forgets all peers but `self` that serve none of these, as far as is held. */
  keepServing(services: ReadonlySet<string>, self: PeerId): void;
  /** The announcements held, for links. */
  held(peerId: PeerId, part: number): Statement | undefined;
  all(): Iterable<Statement>;
}

export interface AnnouncementTableOptions {
  fabricId: string;
  verifySigned: VerifySigned;
}

interface HeldPart {
  jws: string;
  sequence: number;
  serves: { ticket: Ticket; ready: boolean }[];
  services: ReadonlySet<string>;
}

const nothing: ReadonlySet<string> = new Set();

/** Of one peer: what it said since its last start, by part. */
interface Held {
  bootCounter: number;
  parts: Map<number, HeldPart>;
}

/** How far a peer had come: its start, and the sequence of each part. */
interface Mark {
  bootCounter: number;
  sequences: ReadonlyMap<number, number>;
}

type Position = Pick<Announcement, 'bootCounter' | 'sequence' | 'part'>;
type Place = PlanVersion & { peerId: PeerId };

export function createAnnouncementTable({ fabricId, verifySigned }: AnnouncementTableOptions): AnnouncementTable {
  const held = new Map<PeerId, Held>();
  /** Of peers that were forgotten: how far they had come then. */
  const marks = createBoundedMap<PeerId, Mark>(rememberedMarksMax);
  /** Of each instance the newest place heard of, so that an old place never comes back when the new one is out of reach. */
  const places = createBoundedMap<string, Place>(rememberedMarksMax);
  const verified = createBoundedMap<string, { ticket: Ticket; signer: PeerId }>(verifiedTicketsMax);
  /** Made when somebody asks: many announcements come together, and with thousands of instances this is what costs. */
  let served: { endpoints: Endpoint[]; ready: ReadonlySet<string> } | undefined;

  function staleReason(peerId: PeerId, { bootCounter, sequence, part = 0 }: Position): string | undefined {
    const current = held.get(peerId);
    if (current !== undefined && bootCounter <= current.bootCounter) {
      const known = current.parts.get(part)?.sequence ?? -1;
      if (bootCounter < current.bootCounter || sequence <= known) return 'older than the one that is held';
    }
    const mark = marks.get(peerId);
    if (mark !== undefined && bootCounter <= mark.bootCounter) {
      const known = mark.sequences.get(part) ?? -1;
      if (bootCounter < mark.bootCounter || sequence < known) return 'older than one that was held';
    }
    return undefined;
  }

  /** The ticket when it is good for the peer, else why not. */
  function checkTicket(jws: string, instance: string, peerId: PeerId): Ticket | string {
    const key = createHash('sha256').update(jws).digest('base64');
    let ticket = verified.get(key)?.ticket;
    if (ticket === undefined) {
      try {
        const { payload, signer } = verifySigned(jws, ticketType);
        if (signer.kind !== 'controller') return 'its ticket is not signed by a controller';
        if (signer.fabricId !== fabricId) return 'its ticket is of another fabric';
        ticket = readTicket(payload);
        if (ticket === undefined) return 'its ticket is malformed';
        verified.set(key, { ticket, signer: signer.peerId });
      } catch (error) {
        return `its ticket cannot be verified: ${messageOf(error)}`;
      }
    }
    if (ticket.fabricId !== fabricId) return 'its ticket is of another fabric';
    if (ticket.peerId !== peerId) return 'its ticket is for another peer';
    if (ticket.instance !== instance) return 'its ticket is for another instance';
    return ticket;
  }

  function rememberPlace(ticket: Ticket): void {
    const { instance, peerId, epoch, term, generation } = ticket;
    const known = places.get(instance);
    const place = { peerId, epoch, term, generation };
    if (known === undefined || comparePlaces(place, known) > 0) places.set(instance, place);
  }

  /** What it said until now stays refused, but for the newest. */
  function drop(peerId: PeerId, { bootCounter, parts }: Held): void {
    const mark = marks.get(peerId);
    const earlier = mark?.bootCounter === bootCounter ? mark.sequences : [];
    const reached = [...parts].map(([part, { sequence }]) => [part, sequence] as const);
    marks.set(peerId, { bootCounter, sequences: new Map([...earlier, ...reached]) });
    held.delete(peerId);
  }

  /** Of each instance of a peer what was said of it last: it may have been in another part before. */
  function servedBy({ parts }: Held): HeldPart['serves'] {
    const ordered = [...parts.values()].sort((one, other) => one.sequence - other.sequence);
    return [...new Map(ordered.flatMap(({ serves }) => serves.map((one) => [one.ticket.instance, one]))).values()];
  }

  function serving(): NonNullable<typeof served> {
    if (served !== undefined) return served;
    const list = [...held.values()]
      .flatMap(servedBy)
      .filter(({ ticket }) => places.get(ticket.instance)?.peerId === ticket.peerId);
    served = {
      ready: new Set(list.flatMap(({ ticket, ready }) => (ready ? [microserviceKey(ticket)] : []))),
      endpoints: list
        .flatMap(({ ticket, ready }) => endpointsOf(ticket, ready))
        .sort((one, other) => compareText(one.instance, other.instance) || one.port - other.port),
    };
    return served;
  }

  return {
    accept(jws) {
      if (Buffer.byteLength(jws) > announcementBytesMax)
        return { refused: 'larger than an announcement may be', stale: false };
      const claimed = readAnnouncement(peekPayload(jws));
      if (claimed === undefined) return { refused: 'malformed', stale: false };
      // The same one comes over several links: it is known without any verification.
      if (held.get(claimed.peerId)?.parts.get(claimed.part ?? 0)?.jws === jws)
        return { changed: false, forward: false, dropped: [], statement: statementOf(claimed, jws) };
      const early = staleReason(claimed.peerId, claimed);
      if (early !== undefined) return { refused: early, stale: true };
      if (!held.has(claimed.peerId) && held.size >= announcingPeersMax)
        return { refused: 'too many peers are held', stale: false };

      let announcement: Announcement | undefined;
      try {
        const { payload, signer } = verifySigned(jws, announcementType);
        announcement = readAnnouncement(payload);
        if (announcement === undefined) return { refused: 'malformed', stale: false };
        const problem = signerProblem(announcement, signer, fabricId);
        if (problem !== undefined) return { refused: problem, stale: false };
      } catch (error) {
        return { refused: messageOf(error), stale: false };
      }
      // The verified bytes are the peeked ones, but only the verified ones count.
      const { peerId, bootCounter, sequence, part = 0 } = announcement;
      const late = staleReason(peerId, announcement);
      if (late !== undefined) return { refused: late, stale: true };

      const dropped: Accepted['dropped'] = [];
      const serves = new Map<string, HeldPart['serves'][number]>();
      for (const { instance, ready, ticket: ticketJws } of announcement.instances) {
        const ticket = checkTicket(ticketJws, instance, peerId);
        if (typeof ticket === 'string') dropped.push({ instance, reason: ticket });
        else serves.set(instance, { ticket, ready });
      }
      const before = held.get(peerId);
      // What it said before its last start counts no more, also the parts that it has not said again yet.
      const restarted = before !== undefined && before.bootCounter < bootCounter;
      const parts = before === undefined || restarted ? new Map<number, HeldPart>() : before.parts;
      const known = (restarted ? [...before.parts.values()] : [parts.get(part)]).flatMap((one) => one?.serves ?? []);
      const after = [...serves.values()];
      const services = new Set(after.map(({ ticket }) => microserviceKey(ticket)));
      parts.set(part, { jws, sequence, serves: after, services });
      held.set(peerId, { bootCounter, parts });
      // Most announcements are heartbeats that change nothing: the table is made again only for the others.
      const changed = JSON.stringify(known) !== JSON.stringify(after);
      if (changed) {
        for (const { ticket } of after) rememberPlace(ticket);
        served = undefined;
      }
      return { changed, forward: true, dropped, statement: statementOf(announcement, jws) };
    },

    forget(isGone) {
      // Tickets that a revoked controller signed are verified, and refused, again with the next announcement.
      verified.deleteWhere(({ signer }) => isGone(signer));
      const gone = [...held].filter(([peerId]) => isGone(peerId));
      for (const [peerId, current] of gone) drop(peerId, current);
      if (gone.length > 0) served = undefined;
      return gone.length > 0;
    },

    keepServing(services, self) {
      const isWanted = ({ services: served }: HeldPart): boolean => [...served].some((one) => services.has(one));
      const unwanted = [...held].filter(
        ([peerId, { parts }]) => peerId !== self && ![...parts.values()].some(isWanted),
      );
      for (const [peerId, current] of unwanted) drop(peerId, current);
      if (unwanted.length > 0) served = undefined;
    },

    serves: (peerId, part) => held.get(peerId)?.parts.get(part)?.services ?? nothing,

    endpoints: () => serving().endpoints,
    ready: () => serving().ready,
    held(peerId, part) {
      const current = held.get(peerId);
      const known = current?.parts.get(part);
      if (current === undefined || known === undefined) return undefined;
      return { peerId, part, bootCounter: current.bootCounter, sequence: known.sequence, jws: known.jws };
    },
    *all() {
      for (const [peerId, { bootCounter, parts }] of held)
        for (const [part, { jws, sequence }] of parts) yield { peerId, part, bootCounter, sequence, jws };
    },
  };
}

function statementOf({ peerId, bootCounter, sequence, part = 0 }: Announcement, jws: string): Statement {
  return { peerId, part, bootCounter, sequence, jws };
}

function microserviceKey({ project, application, microservice }: Ticket): string {
  return `${project}.${application}.${microservice}`;
}

function endpointsOf(ticket: Ticket, ready: boolean): Endpoint[] {
  const { project, application, microservice, instance, peerId, ports, udpPorts = [] } = ticket;
  const endpoint = { project, application, microservice, instance, peerId, ready };
  return [
    ...ports.map((port) => ({ ...endpoint, port })),
    ...udpPorts.map((port) => ({ ...endpoint, port, protocol: 'udp' as const })),
  ];
}

/** Two tickets of one version for two peers are a controller's fault; every node then takes the same one. */
function comparePlaces(one: Place, other: Place): number {
  return (
    one.epoch - other.epoch ||
    one.term - other.term ||
    one.generation - other.generation ||
    compareText(one.peerId, other.peerId)
  );
}

function compareText(one: string, other: string): number {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'it cannot be verified';
}

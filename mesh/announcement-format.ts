// The shapes of announcements and tickets as they arrive: validated before anything is believed. Pure; used by announcements.ts
// and by whoever makes an announcement.

import { z } from 'zod';
import type { Ticket } from '../control/plan.ts';
import { announcementInstancesMax, announcementPartsMax, ticketPortsMax } from './limits.ts';

export const announcementType = 'selvedge-announcement+jws';
export const ticketType = 'selvedge-ticket+jws';

const name = z.string().min(1).max(255);
const counter = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

const announcementShape = z.object({
  fabricId: name,
  peerId: name,
  node: name,
  /** Counts the node's starts; synced to its disk before the first announcement. */
  bootCounter: counter,
  /** Counts the announcements since that start. */
  sequence: counter,
  /** A node with many instances says them in parts, each on its own; left out it is the first one. */
  part: z
    .number()
    .int()
    .min(1)
    .max(announcementPartsMax - 1)
    .optional(),
  instances: z
    .array(z.object({ instance: name, ready: z.boolean(), ticket: z.string().min(1) }))
    .max(announcementInstancesMax),
});

/** What a node says of itself: which instances it serves, and how ready they are; or one part of that. The payload of a JWS signed by its authority. */
export type Announcement = z.infer<typeof announcementShape>;

const ports = z.array(z.number().int().min(1).max(65_535)).max(ticketPortsMax);

const ticketShape = z.object({
  fabricId: name,
  instance: name,
  peerId: name,
  project: name,
  application: name,
  microservice: name,
  ports,
  udpPorts: ports.exactOptional(),
  epoch: counter,
  term: counter,
  generation: counter,
});

/** Undefined when the payload has not the shape. */
export function readAnnouncement(payload: unknown): Announcement | undefined {
  return announcementShape.safeParse(payload).data;
}

/** Undefined when the payload has not the shape. */
export function readTicket(payload: unknown): Ticket | undefined {
  return ticketShape.safeParse(payload).data;
}

/** The payload of a compact JWS (RFC 7515, section 3.1) without any verification: only for refusing early. */
export function peekPayload(jws: string): unknown {
  try {
    return JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString('utf8'));
  } catch {
    return undefined;
  }
}

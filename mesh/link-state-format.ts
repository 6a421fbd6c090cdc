// The shape of a link state as it arrives: validated before anything is believed. Pure; used by link-states.ts and by whoever makes
// one (node-runtime/router.ts).

import { z } from 'zod';
import { attachedSaidMax, linkCostMicrosecondsMax, neighboursSaidMax } from './limits.ts';

export const linkStateType = 'selvedge-link-state+jws';

const name = z.string().min(1).max(255);
const counter = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

const linkEnd = z.object({
  peerId: name,
  /** At least 1: with a cost of nothing a loop would cost nothing. */
  costMicroseconds: z.number().int().min(1).max(linkCostMicrosecondsMax),
});

/** Nobody twice: which cost counts must not depend on who reads it. */
const linkEnds = (sizeMax: number) =>
  z
    .array(linkEnd)
    .max(sizeMax)
    .refine((ends) => new Set(ends.map(({ peerId }) => peerId)).size === ends.length);

const linkStateShape = z.object({
  fabricId: name,
  peerId: name,
  node: name,
  router: z.enum(['interior', 'edge']),
  /** Counts the node's starts; synced to its disk before the first link state. */
  bootCounter: counter,
  /** Counts the link states since that start. */
  sequence: counter,
  /** Routers that it is linked to. A link counts when its other end says it too. */
  neighbours: linkEnds(neighboursSaidMax),
  /** Edge nodes that it is linked to: they are reached through it, and nobody through them. */
  attached: linkEnds(attachedSaidMax),
});

/** What a router says of its links. The payload of a JWS signed by the authority of its node. */
export type LinkState = z.infer<typeof linkStateShape>;
export type LinkEnd = z.infer<typeof linkEnd>;

/** Undefined when the payload has not the shape. */
export function readLinkState(payload: unknown): LinkState | undefined {
  return linkStateShape.safeParse(payload).data;
}

// Which plan is newer, and reading plans out of their documents. Called by the compiler, the planner and the views. Pure; it must
// never take an unverified plan for more than a record of what was written (nodes verify).

import type { Plan, PlanVersion, Ticket } from './plan.ts';

/** Negative when `left` is older: epoch, then term, then generation. */
export function compareVersions(left: PlanVersion, right: PlanVersion): number {
  return left.epoch - right.epoch || left.term - right.term || left.generation - right.generation;
}

/** The payload of a compact JWS (RFC 7515, section 7.1), unverified; undefined when it is none. */
export function decodePayload(jws: string): unknown {
  const [, payload, signature] = jws.split('.');
  if (payload === undefined || signature === undefined) return undefined;
  try {
    return JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'));
  } catch {
    return undefined;
  }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

export function isVersion(value: unknown): value is PlanVersion {
  if (typeof value !== 'object' || value === null) return false;
  const { epoch, term, generation } = value as Record<string, unknown>;
  return isCount(epoch) && isCount(term) && isCount(generation);
}

/** A decoded payload as a plan; undefined when it has not the form of one. */
export function asPlan(payload: unknown): Plan | undefined {
  if (!isVersion(payload)) return undefined;
  const { fabricId, node, peerId, instances, files } = payload as Partial<Plan>;
  const texts = [fabricId, node, peerId].every((text) => typeof text === 'string');
  return texts && Array.isArray(instances) && Array.isArray(files) ? (payload as Plan) : undefined;
}

/** A decoded payload as a ticket; undefined when it has not the form of one. */
export function asTicket(payload: unknown): Ticket | undefined {
  if (!isVersion(payload)) return undefined;
  const { instance, peerId, ports } = payload as Partial<Ticket>;
  const formed = typeof instance === 'string' && typeof peerId === 'string' && Array.isArray(ports);
  return formed ? (payload as Ticket) : undefined;
}

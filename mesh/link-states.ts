// The link states of all routers, as they say them themselves. A pure table: called by node-runtime/router.ts with what links bring; it
// never sends anything and never believes what is not signed by the router concerned.

import type { VerifySigned } from '../pki/identity.ts';
import { peekPayload } from './announcement-format.ts';
import { createBoundedMap } from './bounded-map.ts';
import { linkStateAgeMax, linkStateBytesMax, rememberedMarksMax, routersMax } from './limits.ts';
import { type LinkState, linkStateType, readLinkState } from './link-state-format.ts';
import type { PeerId } from './mesh.ts';
import { compareVersions, type Position, type Statement, signerProblem } from './statements.ts';

export interface AcceptedState {
  /** Says something else than before, not only again. */
  changed: boolean;
  /** It was news: pass it on to the other links. */
  forward: boolean;
  state: LinkState;
  statement: Statement;
}

export interface RefusedState {
  refused: string;
  /** Only late: a newer one is held. Normal where link states come over several links. */
  stale: boolean;
}

export interface LinkStateTable {
  /** Takes in one link state (compact JWS). Never throws. One that is held already is no news and no refusal. */
  accept(jws: string): AcceptedState | RefusedState;
  /** The router is revoked. What it said until now stays refused. */
  forget(peerId: PeerId): void;
  /** One look later (limits.ts): forgets what was not said again for too long; returns whose. */
  age(): PeerId[];
  held(peerId: PeerId): Statement | undefined;
  all(): Iterable<Statement>;
  readonly size: number;
}

interface Held {
  state: LinkState;
  jws: string;
  /** Looks since it was heard. */
  age: number;
}

export function createLinkStateTable({
  fabricId,
  verifySigned,
}: {
  fabricId: string;
  verifySigned: VerifySigned;
}): LinkStateTable {
  const held = new Map<PeerId, Held>();
  /** Of routers that were forgotten: how far they had come then. What they had said by then does not come back by way of others. */
  const marks = createBoundedMap<PeerId, Pick<Position, 'bootCounter' | 'sequence'>>(rememberedMarksMax);

  function staleReason(state: Omit<Position, 'part'>): string | undefined {
    const current = held.get(state.peerId)?.state;
    if (current !== undefined && compareVersions(state, current) <= 0) return 'older than the one that is held';
    const mark = marks.get(state.peerId);
    if (mark !== undefined && compareVersions(state, mark) <= 0) return 'older than one that was held';
    return undefined;
  }

  /** The state when it may be believed, else why not. */
  function verified(jws: string): LinkState | string {
    try {
      const { payload, signer } = verifySigned(jws, linkStateType);
      const state = readLinkState(payload);
      if (state === undefined) return 'malformed';
      return signerProblem(state, signer, fabricId) ?? state;
    } catch (error) {
      return error instanceof Error ? error.message : 'it cannot be verified';
    }
  }

  function drop(peerId: PeerId): void {
    const current = held.get(peerId);
    if (current === undefined) return;
    const { bootCounter, sequence } = current.state;
    marks.set(peerId, { bootCounter, sequence });
    held.delete(peerId);
  }

  const statementOf = ({ state, jws }: Held): Statement => ({
    peerId: state.peerId,
    part: 0,
    bootCounter: state.bootCounter,
    sequence: state.sequence,
    jws,
  });

  return {
    accept(jws) {
      if (Buffer.byteLength(jws) > linkStateBytesMax)
        return { refused: 'larger than a link state may be', stale: false };
      const claimed = claimedPosition(jws);
      if (claimed === undefined) return { refused: 'malformed', stale: false };
      const same = held.get(claimed.peerId);
      // The same one comes over several links: it is known without any verification.
      if (same?.jws === jws) return { changed: false, forward: false, state: same.state, statement: statementOf(same) };
      const early = staleReason(claimed);
      if (early !== undefined) return { refused: early, stale: true };
      if (same === undefined && held.size >= routersMax) return { refused: 'too many routers are held', stale: false };

      // The verified bytes are the peeked ones, but only the verified ones count.
      const state = verified(jws);
      if (typeof state === 'string') return { refused: state, stale: false };
      const late = staleReason(state);
      if (late !== undefined) return { refused: late, stale: true };
      const before = held.get(state.peerId)?.state;
      const taken = { state, jws, age: 0 };
      held.set(state.peerId, taken);
      const changed = before === undefined || !saysTheSame(before, state);
      return { changed, forward: true, state, statement: statementOf(taken) };
    },

    forget: drop,

    age() {
      for (const each of held.values()) each.age += 1;
      const aged = [...held].flatMap(([peerId, { age }]) => (age >= linkStateAgeMax ? [peerId] : []));
      for (const peerId of aged) drop(peerId);
      return aged;
    },

    held(peerId) {
      const current = held.get(peerId);
      return current && statementOf(current);
    },
    *all() {
      for (const each of held.values()) yield statementOf(each);
    },
    get size() {
      return held.size;
    },
  };
}

/** Only to refuse early what is late; all of it is looked at once it is verified. */
function claimedPosition(jws: string): Omit<Position, 'part'> | undefined {
  const claimed = peekPayload(jws);
  if (typeof claimed !== 'object' || claimed === null) return undefined;
  const { peerId, bootCounter, sequence } = claimed as Partial<Record<string, unknown>>;
  if (typeof peerId !== 'string' || typeof bootCounter !== 'number' || typeof sequence !== 'number') return undefined;
  return { peerId, bootCounter, sequence };
}

function saysTheSame(one: LinkState, other: LinkState): boolean {
  return (
    one.router === other.router &&
    JSON.stringify(one.neighbours) === JSON.stringify(other.neighbours) &&
    JSON.stringify(one.attached) === JSON.stringify(other.attached)
  );
}

// The link states of all routers, as they say them themselves. A pure table: called by node-runtime/router.ts with what links bring; it
// never sends anything and never believes what is not signed by the router concerned.

import type { VerifySigned } from '../pki/identity.ts';
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

  function staleReason(state: LinkState): string | undefined {
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
      // The same ones come over several links: what is on its way there (spreading.ts) was looked at before it comes here.
      const state = verified(jws);
      if (typeof state === 'string') return { refused: state, stale: false };
      const same = held.get(state.peerId);
      if (same?.jws === jws) return { changed: false, forward: false, state, statement: statementOf(same) };
      const late = staleReason(state);
      if (late !== undefined) return { refused: late, stale: true };
      if (same === undefined && held.size >= routersMax) return { refused: 'too many routers are held', stale: false };
      const taken = { state, jws, age: 0 };
      held.set(state.peerId, taken);
      const changed = same === undefined || !saysTheSame(same.state, state);
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

function saysTheSame(one: LinkState, other: LinkState): boolean {
  return (
    one.router === other.router &&
    JSON.stringify(one.neighbours) === JSON.stringify(other.neighbours) &&
    JSON.stringify(one.attached) === JSON.stringify(other.attached)
  );
}

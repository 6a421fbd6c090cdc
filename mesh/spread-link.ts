// What spreading.ts keeps of one link: what crosses it at all, what is to be sent over it, and what its far end has and wants. State only; it
// sends nothing.

import type { TimerId } from '../node-runtime/clock.ts';
import { createInterest, type Interest } from './interest.ts';
import type { PeerId } from './mesh.ts';
import type { RouterMode } from './own-links.ts';
import type { SpreadingMessage } from './spreading.ts';
import { type Position, type StatementKind, statementKinds } from './statements.ts';

export type Which = Pick<Position, 'peerId' | 'part'>;

export interface LinkOfKind {
  passes: (peerId: PeerId) => boolean;
  /** What the far end could send. */
  takes: (peerId: PeerId) => boolean;
  /** To be sent, whichever version is held then. */
  queue: Map<string, Which>;
  /** What the far end's summary has named so far; undefined while none is under way. */
  named: Set<string> | undefined;
  /** All that its last summary has named; what it lacks is still to be looked for. */
  compareTo: ReadonlySet<string> | undefined;
  comparedAtMs: number | undefined;
  /** Positions of our summary that are still to be sent. */
  summary: { list: Position[]; answer: boolean } | undefined;
  sentAtMs: Map<string, number>;
  /** Of an edge node at the far end, which may want few of them. */
  interest: Interest | undefined;
  /** It has said what it holds. */
  compared: boolean;
}

export interface SpreadLink {
  peerId: PeerId;
  send: (message: SpreadingMessage) => Promise<void>;
  kinds: Record<StatementKind, LinkOfKind>;
  /** Of which kinds anything crosses it at all. */
  carries: readonly StatementKind[];
  sending: boolean;
  lastAtMs: number | undefined;
  timer: TimerId | undefined;
}

export const keyOf = ({ peerId, part }: Which): string => `${peerId} ${part}`;
export const whichOf = ({ peerId, part }: Which): Which => ({ peerId, part });
export const positionOf = ({ peerId, part, bootCounter, sequence }: Position): Position => ({
  ...{ peerId, part, bootCounter, sequence },
});

interface LinkEnd {
  peerId: PeerId;
  router: RouterMode;
}

/** Whose statements a node of that mode passes on to another: interior routers everybody's, edge nodes their own alone. */
function passedOn(kind: StatementKind, from: LinkEnd, to: RouterMode) {
  if (kind === 'link-state') return () => from.router === 'interior' && to === 'interior';
  return (peerId: PeerId) => from.router === 'interior' || peerId === from.peerId;
}

export function createSpreadLink(near: LinkEnd, far: LinkEnd, send: SpreadLink['send']): SpreadLink {
  const kind = (of: StatementKind): LinkOfKind => ({
    passes: passedOn(of, near, far.router),
    takes: passedOn(of, far, near.router),
    ...{ queue: new Map(), named: undefined, compareTo: undefined, comparedAtMs: undefined },
    ...{ summary: undefined, sentAtMs: new Map(), compared: false },
    interest: of === 'announcement' && far.router === 'edge' ? createInterest() : undefined,
  });
  return {
    ...{ peerId: far.peerId, send, sending: false, lastAtMs: undefined, timer: undefined },
    kinds: { 'link-state': kind('link-state'), announcement: kind('announcement') },
    carries: near.router === 'interior' && far.router === 'interior' ? statementKinds : ['announcement'],
  };
}

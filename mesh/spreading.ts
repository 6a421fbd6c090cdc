// How signed statements (announcements, link states) get everywhere over links: a new link begins with a summary each way, and what the
// other side lacks follows; what is news goes to every link but the one that it came on. An edge node hears of the services that it wants, and of no
// others (interest.ts). Called by node-runtime/routing.ts. It verifies nothing and holds nothing: the tables do. It never tells more than the newest
// statement, and waits for links that are slow.
//
// As IS-IS does it with complete sequence number packets (ISO/IEC 10589, section 7.3.15.2). A link is an ordered, reliable stream, so that
// nothing is acknowledged or sent again (RFC 2328, section 13, has to): what was lost went with its link, and the next one begins anew.

import type { Clock } from '../node-runtime/clock.ts';
import {
  statementSpacingMs,
  statementsBytesMax,
  statementsPauseMs,
  statementsPerMessageMax,
  summaryHeldMax,
  summaryLookMs,
  summaryPositionsMax,
} from './limits.ts';
import type { PeerId } from './mesh.ts';
import type { RouterMode } from './own-links.ts';
import {
  createSpreadLink,
  keyOf,
  type LinkOfKind,
  positionOf,
  type SpreadLink,
  type Which,
  whichOf,
} from './spread-link.ts';
import {
  compareVersions,
  type Position,
  type Statement,
  type StatementKind,
  type StatementTable,
} from './statements.ts';

export type SpreadingMessage =
  /** What the sender holds of what the receiver could send; in several messages, the last of which says so. */
  | { type: 'summary'; of: StatementKind; list: Position[]; last: boolean; answer: boolean }
  | { type: 'statements'; of: StatementKind; list: Statement[] };

const nothing: ReadonlySet<string> = new Set();

export interface Spreading {
  /** A link to a node of that mode. `send` resolves when the message is handed on, also when the link is gone meanwhile. */
  begin(peerId: PeerId, router: RouterMode, send: (message: SpreadingMessage) => Promise<void>): void;
  /** What was under way may be lost: both sides compare anew. */
  renew(peerId: PeerId): void;
  end(peerId: PeerId): void;
  receive(from: PeerId, message: SpreadingMessage): void;
  /** An edge node at the far end wants to hear of these services alone, undefined is all; what it holds it says then. */
  wanted(from: PeerId, services: ReadonlySet<string> | undefined): void;
  /** What is held here may be less than before: said anew to everybody. */
  tellHeld(): void;
  /** Taken in, from a peer or made here: for all links that it concerns. */
  news(kind: StatementKind, statement: Statement, from: PeerId | undefined): void;
  stop(): void;
}

export function createSpreading({
  self,
  router,
  clock,
  tables,
  onStatement,
}: {
  self: PeerId;
  router: RouterMode;
  clock: Clock;
  tables: Record<StatementKind, StatementTable>;
  /** Perhaps news; whoever takes it in calls `news`. */
  onStatement(kind: StatementKind, from: PeerId, jws: string): void;
}): Spreading {
  const links = new Map<PeerId, SpreadLink>();

  /** Whether the far end is to be told. */
  function lacks({ passes, interest }: LinkOfKind, kind: StatementKind, statement: Statement): boolean {
    return passes(statement.peerId) && (interest?.lacks(statement, servedBy(kind, statement)) ?? true);
  }

  const servedBy = (kind: StatementKind, { peerId, part }: Which): ReadonlySet<string> =>
    tables[kind].serves?.(peerId, part) ?? nothing;

  // --- sending

  /** How long it still has to wait. */
  function leftMs(sinceMs: number | undefined, waitMs: number): number {
    return Math.max(0, waitMs - (clock.elapsed() - (sinceMs ?? Number.NEGATIVE_INFINITY)));
  }

  function forgetSent({ sentAtMs }: LinkOfKind): void {
    for (const [key, atMs] of sentAtMs) {
      if (leftMs(atMs, statementSpacingMs) > 0) return;
      sentAtMs.delete(key);
    }
  }

  /** The next message, or how long to wait for it; undefined when there is nothing to say. */
  function next(link: SpreadLink): SpreadingMessage | number | undefined {
    let waitMs: number | undefined;
    for (const of of link.carries) {
      const state = link.kinds[of];
      if (state.summary !== undefined) {
        const { list, answer } = state.summary;
        const part = list.splice(0, summaryPositionsMax);
        const last = list.length === 0;
        if (last) state.summary = undefined;
        return { type: 'summary', of, list: part, last, answer };
      }
      forgetSent(state);
      if (state.compareTo !== undefined) {
        const restMs = leftMs(state.comparedAtMs, summaryLookMs);
        if (restMs === 0) queueLacking(state, of, state.compareTo);
        else waitMs = Math.min(waitMs ?? restMs, restMs);
      }
      const list: Statement[] = [];
      let bytes = 0;
      for (const [key, which] of state.queue) {
        const restMs = leftMs(state.sentAtMs.get(key), statementSpacingMs);
        if (restMs > 0) {
          waitMs = Math.min(waitMs ?? restMs, restMs);
          continue;
        }
        const statement = tables[of].held(which.peerId, which.part);
        // It may want it no more, or have it.
        if (statement !== undefined && lacks(state, of, statement)) {
          bytes += statement.jws.length;
          if (list.length > 0 && bytes > statementsBytesMax) break;
          list.push(statement);
          state.interest?.sent(statement, servedBy(of, statement));
          state.sentAtMs.delete(key);
          state.sentAtMs.set(key, clock.elapsed());
        }
        state.queue.delete(key);
        if (list.length >= statementsPerMessageMax) break;
      }
      if (list.length > 0) return { type: 'statements', of, list };
    }
    return waitMs;
  }

  /** One message at a time: a link that is slow gets the newest of what it missed, not all of it. */
  function pump(link: SpreadLink): void {
    if (link.sending || link.timer !== undefined || links.get(link.peerId) !== link) return;
    const pauseMs = leftMs(link.lastAtMs, statementsPauseMs);
    const message = pauseMs > 0 ? pauseMs : next(link);
    if (message === undefined) return;
    if (typeof message === 'number') {
      if (pauseMs > 0 && !hasMore(link)) return;
      link.timer = clock.setTimeout(() => {
        link.timer = undefined;
        pump(link);
      }, message);
      return;
    }
    link.sending = true;
    void link.send(message).finally(() => {
      link.sending = false;
      link.lastAtMs = clock.elapsed();
      pump(link);
    });
  }

  const hasMore = ({ kinds, carries }: SpreadLink): boolean =>
    carries.some((kind) => {
      const { summary, queue, compareTo } = kinds[kind];
      return summary !== undefined || queue.size > 0 || compareTo !== undefined;
    });

  function summarize(link: SpreadLink, kind: StatementKind, answer: boolean): void {
    const state = link.kinds[kind];
    // Who asks again and again gets the one that is under way.
    if (state.summary !== undefined) {
      state.summary.answer ||= answer;
      return;
    }
    const list: Position[] = [];
    for (const statement of tables[kind].all()) if (state.takes(statement.peerId)) list.push(positionOf(statement));
    state.summary = { list, answer };
  }

  // --- receiving

  function compare(link: SpreadLink, { of: kind, list, last, answer }: SpreadingMessage & { type: 'summary' }): void {
    const state = link.kinds[kind];
    const named = state.named ?? new Set<string>();
    if (state.named === undefined) state.interest?.forget();
    state.named = last ? undefined : named;
    for (const position of list) {
      const key = keyOf(position);
      // Whoever names more than anybody can hold is sent what he named last as if he lacked it.
      if (named.size < summaryHeldMax) named.add(key);
      const ours = tables[kind].held(position.peerId, position.part);
      if (ours === undefined || !state.passes(position.peerId)) continue;
      state.interest?.holds(position);
      if (compareVersions(ours, position) > 0) state.queue.set(key, whichOf(position));
      else state.queue.delete(key);
    }
    if (!last) return;
    state.compared = true;
    state.compareTo = named;
    if (answer) summarize(link, kind, false);
  }

  /** What is held here, and was not named there. */
  function queueLacking(state: LinkOfKind, kind: StatementKind, named: ReadonlySet<string>): void {
    state.compareTo = undefined;
    state.comparedAtMs = clock.elapsed();
    for (const statement of tables[kind].all()) {
      const key = keyOf(statement);
      if (!named.has(key) && lacks(state, kind, statement)) state.queue.set(key, whichOf(statement));
    }
  }

  function take(link: SpreadLink, { of: kind, list }: SpreadingMessage & { type: 'statements' }): void {
    const { queue, interest } = link.kinds[kind];
    for (const claimed of list) {
      const held = (): Statement | undefined => tables[kind].held(claimed.peerId, claimed.part);
      // What a peer claims about a statement only ever saves the work of reading it again.
      const before = held();
      if (before === undefined || compareVersions(claimed, before) > 0) onStatement(kind, link.peerId, claimed.jws);
      // The far end has it itself.
      const after = held();
      if (after?.jws !== claimed.jws) continue;
      queue.delete(keyOf(after));
      interest?.holds(after);
    }
  }

  function end(peerId: PeerId): void {
    clock.clearTimeout(links.get(peerId)?.timer);
    links.delete(peerId);
  }

  return {
    begin(peerId, far, send) {
      end(peerId);
      const link = createSpreadLink({ peerId: self, router }, { peerId, router: far }, send);
      links.set(peerId, link);
      for (const each of link.carries) summarize(link, each, false);
      pump(link);
    },
    renew(peerId) {
      const link = links.get(peerId);
      if (link === undefined) return;
      for (const kind of link.carries) {
        link.kinds[kind].named = undefined;
        summarize(link, kind, true);
      }
      pump(link);
    },
    end,
    receive(from, message) {
      const link = links.get(from);
      if (link?.carries.includes(message.of) !== true) return;
      if (message.type === 'summary') compare(link, message);
      else take(link, message);
      pump(link);
    },
    wanted(from, services) {
      links.get(from)?.kinds.announcement.interest?.want(services);
    },
    tellHeld() {
      for (const link of links.values()) {
        for (const kind of link.carries) summarize(link, kind, false);
        pump(link);
      }
    },
    news(kind, statement, from) {
      for (const link of links.values()) {
        const state = link.kinds[kind];
        if (link.peerId === from || !link.carries.includes(kind) || !lacks(state, kind, statement)) continue;
        // Its wishes come before what it holds, and what it lacks is looked for then.
        if (state.interest !== undefined && !state.compared) continue;
        state.queue.set(keyOf(statement), whichOf(statement));
        pump(link);
      }
    },
    stop() {
      for (const peerId of [...links.keys()]) end(peerId);
    },
  };
}

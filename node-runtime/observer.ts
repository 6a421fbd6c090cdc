// Writes what the node observes into its mailbox, coalesced (design, section 4): a burst of a few at once, then at most one
// write a second per document, always the newest. Called by instances.ts and node.ts. Only this file writes `observed/…`; what
// replication brings back of it, after a power cut set the mailbox back, is answered with what is true now.

import { isDeepStrictEqual } from 'node:util';
import type { Database, StoredDocument } from '../control/store.ts';
import type { Clock, TimerId } from './clock.ts';
import { observationBurstWrites, observationPassingMs, observationPeriodMs, observationRetryMs } from './limits.ts';

export interface Observer {
  /**
   * The newest content of an observed document; written at once, older unwritten content is dropped. What is only `passing` is
   * written a moment later, and not at all when something else follows it by then.
   */
  observe(document: StoredDocument, options?: { passing: boolean }): void;
  forget(id: string): void;
  /** Writes what is pending and stops. */
  stop(): Promise<void>;
}

interface Slot {
  pending: StoredDocument | 'remove' | undefined;
  /** What the mailbox should hold; undefined before the first write and after a removal. */
  said: StoredDocument | undefined;
  writing: boolean;
  /** Changes that its own writes will cause. */
  expected: number;
  /** Somebody else wrote the document. */
  disturbed: boolean;
  /** Writes that may be made at once; refilled by one a period. */
  allowance: number;
  /** By `clock.elapsed`. */
  refilledAt: number;
  timer: TimerId | undefined;
  /** Set while what is pending is only passing. */
  passing: TimerId | undefined;
}

export function createObserver(dependencies: {
  mailbox: Database;
  clock: Clock;
  onFailed(message: string): void;
}): Observer {
  const { mailbox, clock, onFailed } = dependencies;
  const slots = new Map<string, Slot>();
  const writes = new Set<Promise<void>>();
  let stopped = false;
  let failing = false;

  /** False when it has to be tried again. */
  async function write(id: string, content: StoredDocument | 'remove'): Promise<boolean> {
    try {
      if (content === 'remove') await mailbox.remove(id);
      else await mailbox.update(id, (current) => ({ ...content, ...(current?._rev && { _rev: current._rev }) }));
      failing = false;
      return true;
    } catch (error) {
      // One word for all documents, until one can be written again.
      if (!failing) onFailed(`${id} was not written: ${error instanceof Error ? error.message : String(error)}`);
      failing = true;
      return false;
    }
  }

  /** Removes leaves that lose, and says it again when something else wins. */
  async function reassert(id: string, slot: Slot): Promise<void> {
    try {
      const [winner, ...others] = await mailbox.leaves(id);
      const losers = others.filter(({ _deleted }) => _deleted !== true);
      slot.expected = losers.length;
      for (const { _rev } of losers) if (_rev !== undefined) await mailbox.remove(id, _rev);
      const { _rev, ...held } = winner ?? { _id: id };
      if (!isDeepStrictEqual(held, JSON.parse(JSON.stringify(slot.said ?? null)))) slot.pending ??= slot.said;
    } catch (error) {
      onFailed(`${id} was not looked at: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /** One thing at a time for each document; afterwards what came meanwhile. */
  function run(id: string, slot: Slot, work: Promise<void>): void {
    slot.writing = true;
    const done = work.finally(() => {
      slot.writing = false;
      slot.expected = 0;
      writes.delete(done);
      advance(id, slot);
      review(id, slot);
    });
    writes.add(done);
  }

  function review(id: string, slot: Slot): void {
    if (!slot.disturbed || stopped || slot.writing || slot.pending !== undefined || slot.said === undefined) return;
    slot.disturbed = false;
    run(id, slot, reassert(id, slot));
  }

  function refill(slot: Slot): void {
    const periods = Math.floor((clock.elapsed() - slot.refilledAt) / observationPeriodMs);
    if (periods <= 0) return;
    slot.allowance = Math.min(observationBurstWrites, slot.allowance + periods);
    slot.refilledAt += periods * observationPeriodMs;
  }

  function advance(id: string, slot: Slot): void {
    if (slot.writing || slot.passing !== undefined || slot.pending === undefined) return;
    refill(slot);
    if (slot.allowance === 0 && !stopped) {
      slot.timer ??= clock.setTimeout(
        () => {
          slot.timer = undefined;
          advance(id, slot);
        },
        slot.refilledAt + observationPeriodMs - clock.elapsed(),
      );
      return;
    }
    const content = slot.pending;
    slot.pending = undefined;
    slot.allowance = Math.max(0, slot.allowance - 1);
    slot.said = content === 'remove' ? undefined : content;
    slot.expected = 1;
    const written = write(id, content).then((done) => {
      if (!done && !stopped) {
        slot.pending ??= content;
        // Its next write is due when the time of a retry has passed.
        slot.allowance = 0;
        slot.refilledAt = clock.elapsed() + observationRetryMs - observationPeriodMs;
      } else if (content === 'remove' && slot.pending === undefined) slots.delete(id);
    });
    run(id, slot, written);
  }

  const unsubscribe = mailbox.subscribe(({ id }) => {
    const slot = slots.get(id);
    if (slot === undefined) return;
    if (slot.expected > 0) slot.expected -= 1;
    else slot.disturbed = true;
    review(id, slot);
  });

  function put(id: string, content: StoredDocument | 'remove', passing = false): void {
    if (stopped) return;
    let slot = slots.get(id);
    if (slot === undefined) {
      slot = {
        pending: undefined,
        said: undefined,
        writing: false,
        expected: 0,
        disturbed: false,
        allowance: observationBurstWrites,
        refilledAt: clock.elapsed(),
        timer: undefined,
        passing: undefined,
      };
      slots.set(id, slot);
    }
    // Behind something that is still to be written it is written with that.
    const alone = slot.pending === undefined || slot.passing !== undefined;
    slot.pending = content;
    if (passing && alone) {
      slot.passing ??= clock.setTimeout(() => pass(id, slot), observationPassingMs);
      return;
    }
    pass(id, slot);
  }

  /** What is pending counts from now on. */
  function pass(id: string, slot: Slot): void {
    clock.clearTimeout(slot.passing);
    slot.passing = undefined;
    advance(id, slot);
  }

  return {
    observe: (document, { passing } = { passing: false }) => put(document._id, document, passing),
    forget: (id) => put(id, 'remove'),
    async stop() {
      stopped = true;
      unsubscribe();
      for (const [id, slot] of slots) {
        clock.clearTimeout(slot.timer);
        pass(id, slot);
      }
      while (writes.size > 0) await Promise.all(writes);
    },
  };
}

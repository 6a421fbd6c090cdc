// Writes what the node observes into its mailbox, coalesced (design, section 4): a burst of a few at once, then at most one
// write a second per document, always the newest. Called by instances.ts and node.ts. Only this file writes `observed/…`.

import type { Database, StoredDocument } from '../control/store.ts';
import type { Clock, TimerId } from './clock.ts';
import { observationBurstWrites, observationPeriodMs } from './limits.ts';

export interface Observer {
  /** The newest content of an observed document; written soon, older unwritten content is dropped. */
  observe(document: StoredDocument): void;
  forget(id: string): void;
  /** Writes what is pending and stops. */
  stop(): Promise<void>;
}

interface Slot {
  pending: StoredDocument | 'remove' | undefined;
  writing: boolean;
  /** Writes that may be made at once; refilled by one a period. */
  allowance: number;
  refilledAt: number;
  timer: TimerId | undefined;
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

  async function write(id: string, content: StoredDocument | 'remove'): Promise<void> {
    try {
      if (content === 'remove') await mailbox.remove(id);
      else await mailbox.update(id, (current) => ({ ...content, ...(current?._rev && { _rev: current._rev }) }));
    } catch (error) {
      onFailed(`${id} was not written: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  function refill(slot: Slot): void {
    const periods = Math.floor((clock.now() - slot.refilledAt) / observationPeriodMs);
    if (periods <= 0) return;
    slot.allowance = Math.min(observationBurstWrites, slot.allowance + periods);
    slot.refilledAt += periods * observationPeriodMs;
  }

  function advance(id: string, slot: Slot): void {
    if (slot.writing || slot.pending === undefined) return;
    refill(slot);
    if (slot.allowance === 0 && !stopped) {
      slot.timer ??= clock.setTimeout(
        () => {
          slot.timer = undefined;
          advance(id, slot);
        },
        slot.refilledAt + observationPeriodMs - clock.now(),
      );
      return;
    }
    const content = slot.pending;
    slot.pending = undefined;
    slot.allowance = Math.max(0, slot.allowance - 1);
    slot.writing = true;
    const done = write(id, content).finally(() => {
      slot.writing = false;
      writes.delete(done);
      if (content === 'remove' && slot.pending === undefined) slots.delete(id);
      advance(id, slot);
    });
    writes.add(done);
  }

  function put(id: string, content: StoredDocument | 'remove'): void {
    if (stopped) return;
    let slot = slots.get(id);
    if (slot === undefined) {
      slot = {
        pending: undefined,
        writing: false,
        allowance: observationBurstWrites,
        refilledAt: clock.now(),
        timer: undefined,
      };
      slots.set(id, slot);
    }
    slot.pending = content;
    advance(id, slot);
  }

  return {
    observe: (document) => put(document._id, document),
    forget: (id) => put(id, 'remove'),
    async stop() {
      stopped = true;
      for (const [id, slot] of slots) {
        clock.clearTimeout(slot.timer);
        advance(id, slot);
      }
      while (writes.size > 0) await Promise.all(writes);
    },
  };
}

// The ledger: what happened, as a chain of documents `event/<controller>/<sequence>`, each with the hash of the one before. Called by
// whoever admits, refuses or changes something. It must never rewrite an event, and never let a flood fill the store.

import type { Clock, TimerId } from '../node-runtime/clock.ts';
import { canonicalJson, sha256 } from './canonical-json.ts';
import { LedgerBusyError, RequestRefusedError } from './errors.ts';
import type { LedgerEvent } from './fabric.ts';
import {
  eventCauseMemoryMs,
  eventCausesMax,
  eventCollapseKeysMax,
  eventCollapseMs,
  eventFloodMsMax,
  eventMessageCharactersMax,
  eventPageMax,
  eventQueueMax,
  eventSubjectCharactersMax,
  eventTypeCharactersMax,
} from './limits.ts';
import type { Database, StoredDocument } from './store.ts';
import type { EventView } from './views.ts';

export interface NewEvent {
  /** Kebab-case: `node-admitted`. */
  type: string;
  subject: string;
  message: string;
  /**
   * Set for what others can bring about as often as they like: the first is written at once, and those that follow with the same type
   * and cause, whatever their subject, are counted into one event a second later, then two, four, … while they go on.
   */
  cause?: string;
  /** Never counted into another: who did what, one by one. For what an operator does, which takes a process each time. */
  each?: true;
}

export type LedgerVerdict =
  | { ok: true; events: number; head: string }
  | { ok: false; sequence: number; reason: string };

export interface Ledger {
  /**
   * Resolves when it is written, or when it was counted into an identical one (type and subject) of the last second, or into those of
   * the same cause.
   * Texts are cut to their limits, control characters become spaces. Throws LedgerBusyError when too many wait.
   */
  append(event: NewEvent): Promise<void>;
  /** In order. Without `after` the newest; with it (the id of an event) those that follow. At most `limit`. */
  list(options?: { after?: string; limit?: number }): Promise<EventView[]>;
  /** Checks every event of this controller: sequence, links and hashes. */
  verify(): Promise<LedgerVerdict>;
  /** Writes what was counted and waits for all of it. */
  stop(): Promise<void>;
}

interface Counted {
  /** The newest; its subject is `many` when others were counted with it under their type alone. */
  event: NewEvent;
  more: number;
  timer: TimerId;
  windowMs: number;
}

export const noEventHash = '0'.repeat(64);

function clean(text: string, charactersMax: number): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a peer's text must not move the cursor of who reads it
  const plain = text.slice(0, charactersMax + 1).replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ');
  return plain.length > charactersMax ? `${plain.slice(0, charactersMax - 1)}…` : plain;
}

/** SHA-256 of the canonical JSON of the event without `hash` and what the store adds. */
export function eventHash(event: LedgerEvent | StoredDocument): string {
  const { _id, at, type, subject, message, previous } = event as LedgerEvent;
  return sha256(canonicalJson({ _id, at, type, subject, message, previous }));
}

export function createLedger({
  fabric,
  controller,
  clock,
}: {
  fabric: Database;
  /** Name of this controller's node. */
  controller: string;
  clock: Clock;
}): Ledger {
  const prefix = `event/${controller}/`;
  const idOf = (sequence: number): string => `${prefix}${String(sequence).padStart(12, '0')}`;
  let head: { sequence: number; hash: string } | undefined;
  let tail: Promise<void> = Promise.resolve();
  let waiting = 0;
  let dropped = 0;
  const counted = new Map<string, Counted>();

  /** Sequences have no gaps, so the newest is found by doubling and halving instead of by reading all. */
  const findHead = async (): Promise<{ sequence: number; hash: string }> => {
    let low = 0;
    let high = 1;
    while ((await fabric.get(idOf(high))) !== undefined) {
      low = high;
      high *= 2;
    }
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if ((await fabric.get(idOf(middle))) === undefined) high = middle;
      else low = middle;
    }
    const newest = low === 0 ? undefined : await fabric.get(idOf(low));
    return { sequence: low, hash: newest === undefined ? noEventHash : String(newest.hash) };
  };

  const writeOne = async (event: NewEvent, again = true): Promise<void> => {
    head ??= await findHead();
    const body = {
      _id: idOf(head.sequence + 1),
      at: clock.now(),
      type: clean(event.type, eventTypeCharactersMax),
      subject: clean(event.subject, eventSubjectCharactersMax),
      message: clean(event.message, eventMessageCharactersMax),
      previous: head.hash,
    };
    const hash = eventHash(body);
    try {
      await fabric.put({ ...body, hash });
    } catch (error) {
      // Whether it is there is not known: look again.
      head = undefined;
      if (!again) throw error;
      return writeOne(event, false);
    }
    head = { sequence: head.sequence + 1, hash };
  };

  /** The head once what waits now is written; in the queue, so that it never overtakes a write. */
  const settled = (): Promise<{ sequence: number; hash: string }> => {
    const found = tail.then(async () => {
      head ??= await findHead();
      return head;
    });
    tail = found.then(
      () => undefined,
      () => undefined,
    );
    return found;
  };

  const write = (event: NewEvent): Promise<void> => {
    if (waiting >= eventQueueMax) {
      dropped += 1;
      return Promise.reject(new LedgerBusyError());
    }
    waiting += 1;
    const written = tail.then(async () => {
      try {
        await writeOne(event);
        if (dropped > 0 && waiting === 1) {
          const count = dropped;
          dropped = 0;
          await writeOne({
            type: 'events-dropped',
            subject: controller,
            message: `${count} events were dropped in a flood`,
          });
        }
      } finally {
        waiting -= 1;
      }
    });
    tail = written.catch(() => undefined);
    return written;
  };

  const startCounting = (key: string, event: NewEvent, windowMs: number): void => {
    const timer = clock.setTimeout(() => {
      flush(key).catch(() => undefined);
    }, windowMs);
    counted.set(key, { event, more: 0, timer, windowMs });
  };

  const flush = (key: string, last = false): Promise<void> => {
    const entry = counted.get(key);
    if (entry === undefined) return Promise.resolve();
    counted.delete(key);
    clock.clearTimeout(entry.timer);
    const { windowMs } = entry;
    const remembered = entry.more > 0 || windowMs < eventCauseMemoryMs;
    if (entry.event.cause !== undefined && remembered && !last) {
      startCounting(key, entry.event, Math.min(windowMs * 2, eventFloodMsMax));
    }
    if (entry.more === 0) return Promise.resolve();
    const times = `${entry.more} more within ${windowMs > 1000 ? `${windowMs / 1000} s` : `${windowMs} ms`}`;
    return write({
      ...entry.event,
      message: `${clean(entry.event.message, eventMessageCharactersMax - 60)} (${times})`,
    });
  };

  const view = (document: StoredDocument): EventView => {
    const { _id, at, type, subject, message, previous, hash } = document as unknown as LedgerEvent;
    return { id: _id, at, type, subject, message, previous, hash };
  };

  return {
    append(event) {
      const { type, subject, cause } = event;
      if (event.each) return write(event);
      const alike = [...counted.values()].filter(
        (entry) => (entry.event.cause === undefined) === (cause === undefined),
      );
      const crowded = alike.length >= (cause === undefined ? eventCollapseKeysMax : eventCausesMax);
      const kind = cause === undefined ? type : `${type}\ncause`;
      const exact = `${kind}\n${cause ?? subject}`;
      const key = crowded && !counted.has(exact) ? kind : exact;
      const entry = counted.get(key);
      if (entry !== undefined) {
        entry.more += 1;
        entry.event = key === exact ? event : { ...event, subject: 'many' };
        return Promise.resolve();
      }
      startCounting(key, event, eventCollapseMs);
      return write(event);
    },
    async list({ after, limit = 100 } = {}) {
      const count = Math.min(Math.max(1, limit), eventPageMax);
      const { sequence: newest } = await settled();
      let first = Math.max(1, newest - count + 1);
      if (after !== undefined) {
        const sequence = after.startsWith(prefix) ? after.slice(prefix.length) : after;
        if (!/^\d{1,12}$/.test(sequence)) {
          throw new RequestRefusedError('is not the id of an event', {
            field: 'after',
            accepted: `an id such as ${idOf(1)}`,
          });
        }
        first = Number(sequence) + 1;
      }
      const last = Math.min(newest, first + count - 1);
      const ids = Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => idOf(first + index));
      const documents = await Promise.all(ids.map((id) => fabric.get(id)));
      return documents.filter((document) => document !== undefined).map(view);
    },
    async verify() {
      await tail;
      const documents = await fabric.list(prefix);
      let previous = noEventHash;
      for (const [index, document] of documents.entries()) {
        const sequence = index + 1;
        if (document._id !== idOf(sequence)) return { ok: false, sequence, reason: `event ${sequence} is missing` };
        if (document.previous !== previous)
          return { ok: false, sequence, reason: 'does not continue the event before it' };
        if (document.hash !== eventHash(document))
          return { ok: false, sequence, reason: 'was changed after it was written' };
        previous = String(document.hash);
      }
      if (head !== undefined && (head.sequence > documents.length || head.hash !== previous)) {
        return { ok: false, sequence: documents.length + 1, reason: 'the newest events are missing' };
      }
      return { ok: true, events: documents.length, head: previous };
    },
    async stop() {
      await Promise.allSettled([...counted.keys()].map((key) => flush(key, true)));
      await tail;
    },
  };
}

// The lease: the right, held by one controller at a time, to place work and write plans. Decisions are pure; grants are on disk before
// they count. Called by the composition; read by the planner. It must never hand out a term twice.

import type { Clock, TimerId } from '../node-runtime/clock.ts';
import type { Disk } from '../node-runtime/disk.ts';
import { LeaseJournalError } from './errors.ts';
import { leaseJournalLinesMax, leaseMsMax } from './limits.ts';

/** One line of the journal. `controllers` are peer ids, sorted; the set changes one at a time. */
export interface LeaseGrant {
  epoch: number;
  term: number;
  holder: string;
  controllers: string[];
  /** Milliseconds since 1970, for people: no decision reads it. */
  at: number;
}

export interface Lease {
  /** Reads the journal; a single controller then holds the lease, with a new term. Throws LeaseJournalError. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Undefined while this controller does not hold it. */
  current(): { epoch: number; term: number } | undefined;
  /** The newest grant that this controller knows. */
  newest(): LeaseGrant | undefined;
  /** From when on this controller may grant (to itself or another), milliseconds since 1970. */
  mayGrantFrom(): number;
  subscribe(listener: () => void): () => void;
}

const journalPath = 'lease.jsonl';

function asGrant(line: string): LeaseGrant | undefined {
  try {
    const value = JSON.parse(line) as Partial<LeaseGrant>;
    const counts = [value.epoch, value.term].every((count) => Number.isSafeInteger(count) && (count as number) >= 1);
    const set = Array.isArray(value.controllers) && value.controllers.every((peer) => typeof peer === 'string');
    return counts && set && typeof value.holder === 'string' ? (value as LeaseGrant) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The newest grant of a journal, and whether it ends cleanly. A torn last line is what a power cut leaves of a grant that nobody was
 * answered; damage anywhere else throws LeaseJournalError, since a grant may be gone.
 */
export function readJournal(text: string): { newest: LeaseGrant | undefined; lines: number; clean: boolean } {
  const lines = text.split('\n');
  const tail = lines.pop();
  let newest: LeaseGrant | undefined;
  for (const [index, line] of lines.entries()) {
    const grant = asGrant(line);
    if (grant === undefined) throw new LeaseJournalError(`line ${index + 1} is no grant`);
    const newer =
      newest === undefined || grant.epoch > newest.epoch || (grant.epoch === newest.epoch && grant.term > newest.term);
    if (newer) newest = grant;
  }
  return { newest, lines: lines.length, clean: tail === '' };
}

/** What a controller grants right after its start: itself, when it is alone; nothing, when others could hold the lease. */
export function grantAtStart(newest: LeaseGrant | undefined, self: string, at: number): LeaseGrant | undefined {
  const controllers = newest?.controllers ?? [self];
  if (controllers.length !== 1 || controllers[0] !== self) return undefined;
  return { epoch: newest?.epoch ?? 1, term: (newest?.term ?? 0) + 1, holder: self, controllers, at };
}

/** The newest grant, made up from the plans when the journal does not reach as far. */
function atLeast(
  newest: LeaseGrant | undefined,
  used: { epoch: number; term: number } | undefined,
  self: string,
  at: number,
): LeaseGrant | undefined {
  if (used === undefined) return newest;
  const reaches = newest !== undefined && (newest.epoch - used.epoch || newest.term - used.term) >= 0;
  return reaches ? newest : { ...used, holder: self, controllers: newest?.controllers ?? [self], at };
}

export function createLease({
  disk,
  clock,
  self,
  usedTerm = async () => undefined,
}: {
  disk: Disk;
  clock: Clock;
  /** Peer id of this controller. */
  self: string;
  /** The highest term that any plan was written with; asked when the journal has lost its end, so that no term is used twice. */
  usedTerm?: () => Promise<{ epoch: number; term: number } | undefined>;
}): Lease {
  let newest: LeaseGrant | undefined;
  let held: { epoch: number; term: number } | undefined;
  let grantFrom = Number.POSITIVE_INFINITY;
  let wait: TimerId | undefined;
  let starting: Promise<void> | undefined;
  const listeners = new Set<() => void>();
  const announce = (): void => {
    for (const listener of listeners) listener();
  };

  const begin = async (): Promise<void> => {
    const content = await disk.read(journalPath);
    const journal = readJournal(new TextDecoder().decode(content));
    newest = journal.newest;
    if (newest !== undefined && !newest.controllers.includes(self)) {
      throw new LeaseJournalError(`it is of another controller, ${newest.controllers.join(', ')}`);
    }
    if (newest === undefined || !journal.clean) newest = atLeast(newest, await usedTerm(), self, clock.now());
    if (!journal.clean || journal.lines > leaseJournalLinesMax) {
      // An append after a torn line would glue the two together; a long journal says nothing that its newest line does not.
      await disk.write(journalPath, newest === undefined ? '' : `${JSON.stringify(newest)}\n`);
    }
    const now = clock.now();
    const grant = grantAtStart(newest, self, now);
    grantFrom = grant === undefined ? now + leaseMsMax : now;
    if (grant === undefined) {
      wait = clock.setTimeout(announce, leaseMsMax);
      return;
    }
    await disk.append(journalPath, JSON.stringify(grant));
    newest = grant;
    held = { epoch: grant.epoch, term: grant.term };
    announce();
  };

  return {
    start() {
      starting ??= begin().catch((error: unknown) => {
        starting = undefined;
        throw error;
      });
      return starting;
    },
    async stop() {
      await starting?.catch(() => undefined);
      starting = undefined;
      if (wait !== undefined) clock.clearTimeout(wait);
      wait = undefined;
      grantFrom = Number.POSITIVE_INFINITY;
      if (held === undefined) return;
      held = undefined;
      announce();
    },
    current: () => held,
    newest: () => newest,
    mayGrantFrom: () => grantFrom,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

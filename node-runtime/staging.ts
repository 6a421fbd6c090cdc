// What the plan says to fetch ahead: one actor for each item, a few at a time, beside everything else. Called by member.ts. It starts
// nothing, and no start waits for it.

import { type Actor, fromPromise } from 'xstate';
import { stageMachine } from '../actors/stage.ts';
import type { ObservedStage } from '../control/fabric.ts';
import type { StageItem } from '../control/plan.ts';
import type { ActorSystem } from './actor-system.ts';
import type { Clock, TimerId } from './clock.ts';
import type { Engines } from './engines.ts';
import { stageAtOnceMax, stageLingerMs, stageReasonCharactersMax } from './limits.ts';

export interface Staging {
  /** From now on these; what is not among them ends. */
  obey(items: readonly StageItem[]): void;
  /** Begins: engines have started. Idempotent. */
  start(): void;
  observed(): ObservedStage[];
  stop(): void;
}

interface Entry {
  item: StageItem;
  actor: Actor<typeof stageMachine> | undefined;
  /** Set while the plan does not name it any more. */
  ending: TimerId | undefined;
}

export function createStaging({
  clock,
  actors,
  jitter,
  engines,
  onChanged,
}: {
  clock: Clock;
  actors: ActorSystem;
  jitter: () => number;
  engines: Pick<Engines, 'stage'>;
  onChanged: () => void;
}): Staging {
  const entries = new Map<string, Entry>();
  const slots = createSlots(stageAtOnceMax);
  let started = false;

  async function fetch({ id, spec }: StageItem, signal: AbortSignal): Promise<string> {
    const free = await slots.take(signal);
    let told = false;
    try {
      await engines.stage(
        spec,
        (progress) => {
          told = true;
          entries.get(id)?.actor?.send({ type: 'PROGRESS', progress });
        },
        signal,
      );
    } finally {
      free();
    }
    return told ? '' : 'was there already';
  }

  function spawn(entry: Entry): void {
    const { item } = entry;
    const machine = stageMachine.provide({
      actors: { fetch: fromPromise<string, undefined>(({ signal }) => fetch(item, signal)) },
    });
    entry.actor = actors.spawn(`stage/${item.id.slice(0, 16)}`, machine, { jitter });
    entry.actor.subscribe(onChanged);
  }

  function end(id: string): void {
    const entry = entries.get(id);
    clock.clearTimeout(entry?.ending);
    entry?.actor?.stop();
    entries.delete(id);
  }

  function want(item: StageItem): void {
    const entry = entries.get(item.id);
    if (entry === undefined) {
      const fresh: Entry = { item, actor: undefined, ending: undefined };
      entries.set(item.id, fresh);
      if (started) spawn(fresh);
      return;
    }
    clock.clearTimeout(entry.ending);
    entry.ending = undefined;
    const again = item.askedAt > entry.item.askedAt;
    entry.item = item;
    // One that is under way goes on and answers both.
    if (again) entry.actor?.send({ type: 'AGAIN' });
  }

  return {
    obey(items) {
      const wanted = new Set(items.map(({ id }) => id));
      for (const [id, entry] of entries) {
        // An instance that was just planned takes the pull over; layers that are half there would be fetched twice.
        if (!wanted.has(id)) entry.ending ??= clock.setTimeout(() => end(id), stageLingerMs);
      }
      for (const item of items) want(item);
    },
    start() {
      if (started) return;
      started = true;
      for (const entry of entries.values()) spawn(entry);
    },
    observed: () =>
      [...entries.values()].flatMap(({ item: { id, askedAt }, actor, ending }) =>
        ending === undefined ? [{ id, askedAt, ...standingOf(actor) }] : [],
      ),
    stop() {
      for (const id of [...entries.keys()]) end(id);
      started = false;
    },
  };
}

function standingOf(actor: Entry['actor']): Pick<ObservedStage, 'state' | 'reason'> {
  const snapshot = actor?.getSnapshot();
  if (snapshot === undefined) return { state: 'waiting', reason: '' };
  const reason = snapshot.context.reason.slice(0, stageReasonCharactersMax);
  if (snapshot.matches('staged')) return { state: 'staged', reason };
  if (snapshot.matches('backingOff')) return { state: 'failed', reason };
  return { state: snapshot.matches({ fetching: 'pulling' }) ? 'pulling' : 'waiting', reason };
}

/** So many at a time, in order of asking. `take` resolves with what gives the slot back, and rejects when its signal aborts. */
function createSlots(count: number): { take(signal: AbortSignal): Promise<() => void> } {
  let free = count;
  const waiting: (() => void)[] = [];
  const give = (): void => {
    const next = waiting.shift();
    if (next === undefined) free += 1;
    else next();
  };
  return {
    async take(signal) {
      signal.throwIfAborted();
      if (free > 0) free -= 1;
      else {
        const { promise, resolve, reject } = Promise.withResolvers<void>();
        const leave = (): void => {
          const at = waiting.indexOf(resolve);
          if (at >= 0) waiting.splice(at, 1);
          reject(signal.reason);
        };
        waiting.push(resolve);
        signal.addEventListener('abort', leave, { once: true });
        try {
          await promise;
        } finally {
          signal.removeEventListener('abort', leave);
        }
      }
      return give;
    },
  };
}

// The simulated clock: time moves only when `advance` says so. Called by scenarios and tests; everything under
// simulation gets it as its Clock. It never reads the real time: real `setImmediate` turns only let promises settle.

import type { Clock, TimerId } from '../node-runtime/clock.ts';

export interface SimClock extends Clock {
  /** Moves time on by `ms` and fires what falls due, ordered by (time, insertion). Rejects while another advance runs. */
  advance(ms: number): Promise<void>;
  /** Moves from timer to timer until the condition holds (true), or `limitMs` of virtual time have passed (false). */
  advanceUntil(condition: () => boolean, limitMs: number): Promise<boolean>;
  /** Timers that are set and have not fired. */
  pending(): number;
  /** Lets promise chains, nextTick queues and immediates run without moving time. */
  settle(): Promise<void>;
}

interface SimTimer {
  readonly due: number;
  readonly order: number;
  readonly run: () => void;
  cancelled: boolean;
}

/** 2026-01-01T00:00:00Z: a fixed start, so that dates in documents do not differ from run to run. */
const DEFAULT_START_MS = 1_767_225_600_000;

/** Turns of the real event loop after each timer: long promise chains with an immediate in them need several. */
const SETTLE_TURNS = 4;

/** A delay beyond this overflows Node's real timers too, which then fire at once; here it is capped (24.8 days). */
const DELAY_MS_MAX = 2_147_483_647;

/**
 * `startMs` is milliseconds since 1970. Delays are whole milliseconds and at least one, as in Node, so that a loop of zero
 * delays cannot hold time still and no date gets a fraction.
 */
export function createSimClock(startMs: number = DEFAULT_START_MS): SimClock {
  const heap: SimTimer[] = [];
  let nowMs = startMs;
  let order = 0;
  let live = 0;
  let advancing = false;

  function setTimer(run: () => void, delayMs: number): TimerId {
    const delay = Number.isFinite(delayMs) ? Math.min(Math.max(Math.trunc(delayMs), 1), DELAY_MS_MAX) : 1;
    const timer: SimTimer = { due: nowMs + delay, order: order++, run, cancelled: false };
    pushTimer(heap, timer);
    live++;
    return timer;
  }

  function clearTimer(id: TimerId): void {
    const timer = id as SimTimer | undefined;
    if (timer === undefined || timer === null || timer.cancelled) return;
    timer.cancelled = true;
    live--;
  }

  function nextDue(): SimTimer | undefined {
    while (heap[0]?.cancelled === true) popTimer(heap);
    return heap[0];
  }

  async function run(untilMs: number, done: () => boolean): Promise<boolean> {
    if (advancing) throw new Error('the simulated clock is being advanced already');
    advancing = true;
    try {
      await settle();
      for (;;) {
        if (done()) return true;
        const timer = nextDue();
        if (timer === undefined || timer.due > untilMs) break;
        popTimer(heap);
        timer.cancelled = true;
        live--;
        nowMs = timer.due;
        timer.run();
        await settle();
      }
      nowMs = Math.max(nowMs, untilMs);
      return done();
    } finally {
      advancing = false;
    }
  }

  return {
    now: () => nowMs,
    elapsed: () => nowMs - startMs,
    setTimeout: setTimer,
    clearTimeout: clearTimer,
    sleep: (delayMs, signal) => sleepWith({ setTimeout: setTimer, clearTimeout: clearTimer }, delayMs, signal),
    async advance(ms) {
      await run(nowMs + ms, () => false);
    },
    advanceUntil: (condition, limitMs) => run(nowMs + limitMs, condition),
    pending: () => live,
    settle,
  };
}

/** `Clock.sleep` on timers. */
export function sleepWith<T>(
  timers: { setTimeout(run: () => void, delayMs: number): T; clearTimeout(timer: T): void },
  delayMs: number,
  signal?: AbortSignal,
): Promise<void> {
  if (signal?.aborted === true) return Promise.reject(signal.reason);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const abort = () => {
    timers.clearTimeout(timer);
    reject(signal?.reason);
  };
  const timer = timers.setTimeout(() => {
    signal?.removeEventListener('abort', abort);
    resolve();
  }, delayMs);
  signal?.addEventListener('abort', abort, { once: true });
  return promise;
}

/** A few turns of the real event loop: promises, nextTick queues and immediates run, time stands still. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < SETTLE_TURNS; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
}

function before(a: SimTimer, b: SimTimer): boolean {
  return a.due < b.due || (a.due === b.due && a.order < b.order);
}

/** Binary heap, earliest (due, order) first. */
function pushTimer(heap: SimTimer[], timer: SimTimer): void {
  let at = heap.push(timer) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent] as SimTimer;
    if (!before(timer, above)) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = timer;
}

function popTimer(heap: SimTimer[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && before(heap[child + 1] as SimTimer, heap[child] as SimTimer)) child++;
    const below = heap[child] as SimTimer;
    if (!before(below, last)) break;
    heap[at] = below;
    at = child;
  }
  heap[at] = last;
}

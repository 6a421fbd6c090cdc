// When to act on a change that may be one of many: soon after quiet, later while changes go on, later still when they do not end. Pure;
// called by node-runtime/router.ts at each change of its links. The back-off of RFC 8405, section 5, as three delays.

export interface ChangePace {
  /** One more change now: how long to wait before acting, where nobody waits already. */
  delayMs(nowMs: number): number;
}

export function createChangePace({
  firstMs,
  shortMs,
  longMs,
  learnMs,
  quietMs,
}: {
  /** After the first change. */
  firstMs: number;
  /** After those that follow within `learnMs` of the first one: its consequences. */
  shortMs: number;
  /** After those that follow later, until there was none for `quietMs`. */
  longMs: number;
  learnMs: number;
  quietMs: number;
}): ChangePace {
  let firstAtMs = 0;
  let lastAtMs: number | undefined;
  return {
    delayMs(nowMs) {
      const quiet = lastAtMs === undefined || nowMs - lastAtMs >= quietMs;
      if (quiet) firstAtMs = nowMs;
      lastAtMs = nowMs;
      if (quiet) return firstMs;
      return nowMs - firstAtMs < learnMs ? shortMs : longMs;
    },
  };
}

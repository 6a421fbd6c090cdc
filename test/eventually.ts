// Waits for a condition with a deadline: the one place where tests look at the wall clock.

export interface EventuallyOptions {
  deadlineMs?: number;
  everyMs?: number;
  what?: string;
}

/** Calls `probe` until it returns something truthy, and returns that; throws with the last error once the deadline is past. */
export async function eventually<T>(
  probe: () => T | Promise<T>,
  { deadlineMs = 60_000, everyMs = 25, what = 'the condition' }: EventuallyOptions = {},
): Promise<NonNullable<T>> {
  const end = Date.now() + deadlineMs;
  let last: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (value) return value;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) {
      // In the message too: the runner does not print causes.
      const why = last === undefined ? '' : `: ${last instanceof Error ? last.message : String(last)}`;
      throw new Error(`${what} did not hold within ${deadlineMs} ms${why}`, { cause: last });
    }
    // Asked again until the deadline: the one place where tests wait for what does not tell.
    await new Promise((resolve) => {
      setTimeout(resolve, everyMs);
    });
  }
}

// What a way costs, for people. Pure; bytes are hardware-text.ts's.

/** `1.25 ms`: of microseconds. */
export function costText(microseconds: number): string {
  const milliseconds = microseconds / 1_000;
  return `${milliseconds.toFixed(milliseconds < 10 ? 2 : milliseconds < 100 ? 1 : 0)} ms`;
}

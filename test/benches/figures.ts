// What a bench says: its figures, each beside its budget and beside what was measured for comparison in the same run. Made
// by the benches, printed by main.ts. The form of the last line is fixed: later benches keep it.

export interface Figure {
  /** Fixed: whoever compares runs looks for it. */
  name: string;
  value: number;
  unit: string;
  /** Where the design has one. */
  budget?: number;
  /** What was measured beside it, by name. */
  against?: { name: string; value: number };
  /** Whether the budget holds; without a budget always. */
  holds: boolean;
}

export interface Report {
  bench: string;
  figures: Figure[];
}

interface Measured {
  name: string;
  value: number;
  unit: string;
  against?: { name: string; value: number };
}

/** Three places are more than any of these figures deserve. */
const round = (value: number): number => Math.round(value * 1_000) / 1_000;

function figure(
  { name, value, unit, against }: Measured,
  limit: { budget: number; holds: boolean } | undefined,
): Figure {
  return {
    name,
    value: round(value),
    unit,
    ...(limit && { budget: limit.budget }),
    ...(against && { against: { name: against.name, value: round(against.value) } }),
    holds: limit?.holds ?? true,
  };
}

/** The design has no budget for it. */
export const unbudgeted = (measured: Measured): Figure => figure(measured, undefined);

/** Must not be above its budget. */
export const atMost = (budget: number, measured: Measured): Figure =>
  figure(measured, { budget, holds: measured.value <= budget });

/** Must not be below its budget. */
export const atLeast = (budget: number, measured: Measured): Figure =>
  figure(measured, { budget, holds: measured.value >= budget });

/** The value below which `share` of the values lie (nearest rank). Throws when there are none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((one, other) => one - other);
  const value = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  if (value === undefined) throw new Error('nothing was measured');
  return value;
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

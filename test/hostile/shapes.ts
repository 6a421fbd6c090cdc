// The independent checks of what JSON frames may hold, written from the documentation of each protocol and without the product's own
// schemas. Called by the kinds. Slow and plain.

export type Shape = (value: unknown) => boolean;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Lengths are in characters of Unicode, of which some are two of JavaScript's units. */
export const text =
  (max: number, min = 0): Shape =>
  (value) => {
    if (typeof value !== 'string' || value.length > 2 * max) return false;
    const { length } = Array.from(value);
    return length >= min && length <= max;
  };
export const like =
  (form: RegExp): Shape =>
  (value) =>
    typeof value === 'string' && form.test(value);
export const whole =
  (min: number, max: number = Number.MAX_SAFE_INTEGER): Shape =>
  (value) =>
    Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max;
export const flag: Shape = (value) => typeof value === 'boolean';
export const oneOf =
  (...values: readonly unknown[]): Shape =>
  (value) =>
    values.includes(value);
export const list =
  (item: Shape, max: number, min = 0): Shape =>
  (value) =>
    Array.isArray(value) && value.length >= min && value.length <= max && value.every((one) => item(one));
export const maybe =
  (shape: Shape): Shape =>
  (value) =>
    value === undefined || shape(value);
export const either =
  (...shapes: readonly Shape[]): Shape =>
  (value) =>
    shapes.some((shape) => shape(value));

/** Of each member what it must be; with `closed` there are no others. */
export const members =
  (shapes: Readonly<Record<string, Shape>>, { closed = false }: { closed?: boolean } = {}): Shape =>
  (value) =>
    isObject(value) &&
    Object.entries(shapes).every(([name, shape]) => shape(Object.hasOwn(value, name) ? value[name] : undefined)) &&
    (!closed || Object.keys(value).every((name) => Object.hasOwn(shapes, name)));

/** What JSON says in these bytes; undefined when they are none. */
export function readJson(bytes: Uint8Array, { fatal = false }: { fatal?: boolean } = {}): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal, ignoreBOM: !fatal }).decode(bytes));
  } catch {
    return undefined;
  }
}

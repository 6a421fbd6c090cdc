// A named effect without a body: what spawns a machine provides it. Keeps machines free of I/O.

import { fromPromise } from 'xstate';

export const effect = <Output, Input = undefined>(name: string) =>
  fromPromise<Output, Input>(() => Promise.reject(new Error(`the effect ${name} was not provided`)));

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

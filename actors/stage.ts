// One thing that is fetched ahead of a start: fetched, there, or tried again after a while. Spawned by node-runtime/staging.ts per item of
// the plan, stopped with it. It starts nothing.

import { assign, setup } from 'xstate';
import { backOffMs, workloadBackOff } from './back-off.ts';
import { effect, messageOf } from './effect.ts';

export interface StageInput {
  jitter: () => number;
}

export interface StageContext extends StageInput {
  failures: number;
  waitMs: number;
  /** How far it is, or why the last try failed. */
  reason: string;
}

type StageEvent =
  | { type: 'PROGRESS'; progress: string }
  /** Somebody asks for it again: it is tried at once. */
  | { type: 'AGAIN' };

export const stageMachine = setup({
  types: { input: {} as StageInput, context: {} as StageContext, events: {} as StageEvent },
  actors: {
    /** Fetches what is missing and answers what is to be said of it; ended by its signal. Safe to run again. */
    fetch: effect<string>('fetch'),
  },
  delays: { backOff: ({ context }) => context.waitMs },
}).createMachine({
  id: 'stage',
  context: ({ input }) => ({ ...input, failures: 0, waitMs: 0, reason: '' }),
  initial: 'fetching',
  states: {
    fetching: {
      entry: assign({ reason: '' }),
      initial: 'waiting',
      states: { waiting: {}, pulling: {} },
      invoke: {
        src: 'fetch',
        onDone: { target: 'staged', actions: assign({ reason: ({ event }) => event.output, failures: 0 }) },
        onError: {
          target: 'backingOff',
          actions: assign(({ context, event }) => ({
            failures: context.failures + 1,
            reason: messageOf(event.error),
            waitMs: backOffMs(workloadBackOff, context.failures + 1, context.jitter()),
          })),
        },
      },
      on: { PROGRESS: { target: '.pulling', actions: assign({ reason: ({ event }) => event.progress }) } },
    },
    staged: { on: { AGAIN: 'fetching' } },
    backingOff: {
      after: { backOff: 'fetching' },
      on: { AGAIN: { target: 'fetching', actions: assign({ failures: 0 }) } },
    },
  },
});

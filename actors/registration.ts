// A box that waits for approval at one controller: registers, stays, and comes back. Spawned by node-runtime/approving.ts for
// each controller that answers, while the box belongs to no fabric and has no token.

import { assign, setup } from 'xstate';
import { backOffMs, enrollmentBackOff } from './back-off.ts';
import { effect, messageOf } from './effect.ts';

export interface RegistrationInput {
  jitter: () => number;
}

export interface RegistrationContext<Membership = unknown> extends RegistrationInput {
  failures: number;
  waitMs: number;
  reason: string;
  membership: Membership | undefined;
}

export type RegistrationEvent =
  /** The controller holds the request. */
  | { type: 'HELD' }
  /** The box shows another code: what was registered is worth nothing. */
  | { type: 'CODE_CHANGED' }
  /** It said anew where it is. */
  | { type: 'FOUND' };

/** Answers that will not be another one in a moment, by the error's id: how long to wait. */
const restsMs: Readonly<Record<string, number>> = {
  // As long as the controller remembers it.
  'enrollment-denied': 3_600_000,
  // Most members are none; one may become one.
  'enrollment-not-a-controller': 60_000,
  'already-asked': 60_000,
};

function restMs(error: unknown): number {
  const id = error instanceof Error && 'id' in error ? String(error.id) : '';
  return restsMs[id] ?? 0;
}

export const registrationMachine = setup({
  types: { input: {} as RegistrationInput, context: {} as RegistrationContext, events: {} as RegistrationEvent },
  actors: {
    /** Connects, registers, and lasts until the controller has decided; resolves with the stored membership. */
    register: effect<unknown>('register'),
  },
  delays: { wait: ({ context }) => context.waitMs },
  guards: { rests: (_, { error }: { error: unknown }) => restMs(error) > 0 },
}).createMachine({
  id: 'registration',
  context: ({ input }) => ({ ...input, failures: 0, waitMs: 0, reason: '', membership: undefined }),
  initial: 'registering',
  states: {
    registering: {
      invoke: {
        src: 'register',
        onDone: { target: 'joined', actions: assign({ membership: ({ event }) => event.output }) },
        onError: [
          {
            guard: { type: 'rests', params: ({ event }) => ({ error: event.error }) },
            target: 'resting',
            actions: assign({
              reason: ({ event }) => messageOf(event.error),
              waitMs: ({ event }) => restMs(event.error),
            }),
          },
          {
            target: 'backingOff',
            actions: assign(({ context, event }) => ({
              failures: context.failures + 1,
              reason: messageOf(event.error),
              waitMs: backOffMs(enrollmentBackOff, context.failures + 1, context.jitter()),
            })),
          },
        ],
      },
      on: {
        HELD: { actions: assign({ failures: 0, reason: '' }) },
        CODE_CHANGED: { target: 'registering', reenter: true },
      },
    },
    backingOff: { after: { wait: 'registering' }, on: { FOUND: 'registering' } },
    resting: { after: { wait: 'registering' } },
    joined: { type: 'final' },
  },
});

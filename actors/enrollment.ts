// A node that belongs to no fabric yet: looks for one, asks to be admitted, and ends with the membership. Spawned once by
// node-runtime/node.ts, only while there is no membership on disk. A refusal by token is final: asking again cannot help.

import { assign, setup } from 'xstate';
import { backOffMs, enrollmentBackOff } from './back-off.ts';
import { effect, messageOf } from './effect.ts';

/** Somebody who may be a controller of the wanted fabric. Nothing of it is trusted. */
export interface Candidate {
  peerId?: string;
  addresses: string[];
}

export interface EnrollmentInput {
  /** Given addresses (`--join`); discovery adds to them. */
  join: Candidate[];
  jitter: () => number;
}

export interface EnrollmentContext<Membership = unknown> {
  candidates: Candidate[];
  /** The next one to ask, counted round the list. */
  turn: number;
  failures: number;
  waitMs: number;
  reason: string;
  membership: Membership | undefined;
  jitter: () => number;
}

export type EnrollmentEvent = { type: 'FOUND'; candidate: Candidate };

/** Errors that carry `retryable: false` end the enrollment. */
function isFinal(error: unknown): boolean {
  return error instanceof Error && 'retryable' in error && error.retryable === false;
}

function sameCandidate(one: Candidate, other: Candidate): boolean {
  return one.peerId !== undefined && one.peerId === other.peerId;
}

/** More answers than this on one LAN are not fabrics but noise. */
const candidatesMax = 64;

export const enrollmentMachine = setup({
  types: { input: {} as EnrollmentInput, context: {} as EnrollmentContext, events: {} as EnrollmentEvent },
  actors: {
    /** Connects, verifies, proves, and stores the membership durably before it resolves. Safe to run again (lost reply). */
    enroll: effect<unknown, { candidate: Candidate }>('enroll'),
  },
  delays: { backOff: ({ context }) => context.waitMs },
  guards: {
    hasCandidate: ({ context }) => context.candidates.length > 0,
    isFinal: (_, { error }: { error: unknown }) => isFinal(error),
  },
  actions: {
    note: assign({
      candidates: ({ context, event }) => {
        if (event.type !== 'FOUND') return context.candidates;
        const others = context.candidates.filter((known) => !sameCandidate(known, event.candidate));
        return [...others, event.candidate].slice(-candidatesMax);
      },
    }),
  },
}).createMachine({
  id: 'enrollment',
  context: ({ input }) => ({
    candidates: input.join,
    turn: 0,
    failures: 0,
    waitMs: 0,
    reason: '',
    membership: undefined,
    jitter: input.jitter,
  }),
  initial: 'searching',
  on: { FOUND: { actions: 'note' } },
  states: {
    searching: { always: { guard: 'hasCandidate', target: 'asking' } },
    asking: {
      invoke: {
        src: 'enroll',
        input: ({ context }) => ({
          candidate: context.candidates[context.turn % context.candidates.length] as Candidate,
        }),
        onDone: { target: 'joined', actions: assign({ membership: ({ event }) => event.output }) },
        onError: [
          {
            guard: { type: 'isFinal', params: ({ event }) => ({ error: event.error }) },
            target: 'refused',
            actions: assign({ reason: ({ event }) => messageOf(event.error) }),
          },
          {
            target: 'backingOff',
            actions: assign(({ context, event }) => {
              const turn = context.turn + 1;
              // Everybody is asked once before anybody waits longer.
              const failures = turn % context.candidates.length === 0 ? context.failures + 1 : context.failures;
              return {
                turn,
                failures,
                reason: messageOf(event.error),
                waitMs: backOffMs(enrollmentBackOff, failures, context.jitter()),
              };
            }),
          },
        ],
      },
    },
    backingOff: { after: { backOff: 'asking' } },
    joined: { type: 'final' },
    refused: { type: 'final' },
  },
});

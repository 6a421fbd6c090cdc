// The state `running` of an instance: its probes, and what they and its end lead to. Part of instance.ts alone, whose states it names.

import { assign } from 'xstate';
import { instanceSetup } from './instance-setup.ts';

/** The next start waits for what it lacks. */
export const withdrawal = { target: '#instance.stopping', actions: 'withdraw' } as const;

export const running = instanceSetup.createStateConfig({
  entry: ['since', 'noTries', 'clearReason', assign({ probes: {} })],
  exit: assign({ ready: false }),
  initial: 'judging',
  on: { WITHDRAWN: withdrawal },
  invoke: {
    src: 'watchExit',
    input: ({ context }) => ({ instance: context.planned.name }),
    onDone: { target: 'ended', actions: assign({ exit: ({ event }) => event.output }) },
    onError: { target: 'ended', actions: assign({ exit: undefined }) },
  },
  after: { healthy: { actions: 'forgiveFailures' } },
  states: {
    judging: {
      always: [{ guard: { type: 'has', params: 'startup' }, target: 'startingUp' }, { target: 'serving' }],
    },
    /** The other probes begin when this one has passed. */
    startingUp: {
      entry: assign({ reason: 'starting up' }),
      invoke: { src: 'probe', input: ({ context }) => ({ planned: context.planned, kind: 'startup' as const }) },
      on: {
        PROBED: [
          {
            guard: { type: 'found', params: { kind: 'startup', judgement: 'passing' } },
            target: 'serving',
            actions: ['note', 'clearReason'],
          },
          { actions: ['note', assign({ reason: ({ event }) => `starting up: ${event.reason}` })] },
        ],
      },
      after: {
        startUp: {
          target: '#instance.stopping',
          actions: assign({
            illness: ({ context: { planned, probes } }) =>
              `it did not start up within ${planned.spec.startup?.failureThreshold} probes: ${probes.startup?.reason || 'no answer'}`,
          }),
        },
      },
    },
    serving: {
      type: 'parallel',
      states: {
        readiness: {
          initial: 'judging',
          states: {
            judging: {
              always: [{ guard: { type: 'has', params: 'readiness' }, target: 'probed' }, { target: 'unprobed' }],
            },
            unprobed: { entry: assign({ ready: true }) },
            probed: {
              invoke: {
                src: 'probe',
                input: ({ context }) => ({ planned: context.planned, kind: 'readiness' as const }),
              },
              initial: 'unready',
              states: {
                unready: {
                  entry: 'unready',
                  on: {
                    PROBED: [
                      {
                        guard: { type: 'found', params: { kind: 'readiness', judgement: 'passing' } },
                        target: 'ready',
                        actions: 'note',
                      },
                      { guard: { type: 'about', params: 'readiness' }, actions: ['note', 'unready'] },
                    ],
                  },
                },
                ready: {
                  entry: ['clearReason', assign({ ready: true })],
                  on: {
                    PROBED: [
                      {
                        guard: { type: 'found', params: { kind: 'readiness', judgement: 'failed' } },
                        target: 'unready',
                        actions: 'note',
                      },
                      { guard: { type: 'about', params: 'readiness' }, actions: 'note' },
                    ],
                  },
                },
              },
            },
          },
        },
        liveness: {
          initial: 'judging',
          states: {
            judging: {
              always: [{ guard: { type: 'has', params: 'liveness' }, target: 'probed' }, { target: 'unprobed' }],
            },
            unprobed: {},
            probed: {
              invoke: {
                src: 'probe',
                input: ({ context }) => ({ planned: context.planned, kind: 'liveness' as const }),
              },
              on: {
                PROBED: [
                  {
                    guard: { type: 'found', params: { kind: 'liveness', judgement: 'failed' } },
                    target: '#instance.stopping',
                    actions: [
                      'note',
                      assign({
                        illness: ({ context, event }) =>
                          `its liveness probe failed ${context.planned.spec.liveness?.failureThreshold} times: ${event.reason}`,
                      }),
                    ],
                  },
                  { guard: { type: 'about', params: 'liveness' }, actions: 'note' },
                ],
              },
            },
          },
        },
      },
    },
  },
});

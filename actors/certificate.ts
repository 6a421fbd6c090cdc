// One workload certificate: renewed at the moment that pki/rotation.ts names, without restarting anything. Spawned by
// node-runtime/workload-certificates.ts per instance, stopped with it.

import { assign, setup } from 'xstate';
import { backOffMs, certificateBackOff } from './back-off.ts';
import { effect, messageOf } from './effect.ts';

export interface CertificateInput {
  /** Milliseconds since 1970. */
  renewAt: number;
  now: () => number;
  jitter: () => number;
}

export interface CertificateContext extends CertificateInput {
  failures: number;
  waitMs: number;
  reason: string;
}

export const certificateMachine = setup({
  types: { input: {} as CertificateInput, context: {} as CertificateContext, events: {} as { type: 'RENEW' } },
  actors: {
    /** Issues and hands out a new certificate; answers when that one must be renewed (milliseconds since 1970). */
    renew: effect<number>('renew'),
  },
  delays: {
    // A timer of more than 2^31 ms fires at once in Node: sleep in steps.
    untilRenewal: ({ context }) => Math.min(2 ** 31 - 1, Math.max(0, context.renewAt - context.now())),
    backOff: ({ context }) => context.waitMs,
  },
  guards: { due: ({ context }) => context.now() >= context.renewAt },
}).createMachine({
  id: 'certificate',
  context: ({ input }) => ({ ...input, failures: 0, waitMs: 0, reason: '' }),
  initial: 'valid',
  states: {
    valid: {
      after: {
        untilRenewal: [
          { guard: 'due', target: 'renewing' },
          { target: 'valid', reenter: true },
        ],
      },
      on: { RENEW: 'renewing' },
    },
    renewing: {
      invoke: {
        src: 'renew',
        onDone: {
          target: 'valid',
          actions: assign({ renewAt: ({ event }) => event.output, failures: 0, reason: '' }),
        },
        onError: {
          target: 'backingOff',
          actions: assign(({ context, event }) => ({
            failures: context.failures + 1,
            reason: messageOf(event.error),
            waitMs: backOffMs(certificateBackOff, context.failures + 1, context.jitter()),
          })),
        },
      },
    },
    backingOff: { after: { backOff: 'renewing' } },
  },
});

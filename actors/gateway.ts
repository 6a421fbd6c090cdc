// One gateway on this node: waits for what it needs, opens its port, and tries again while that is taken. Spawned by
// node-runtime/gateways.ts per gateway of the plan, stopped with it. What it publishes and for whom may change while it listens.

import { assign, setup } from 'xstate';
import { backOffMs, gatewayBackOff } from './back-off.ts';
import { effect, messageOf } from './effect.ts';

export interface GatewayInput {
  jitter: () => number;
}

export interface GatewayContext extends GatewayInput {
  failures: number;
  waitMs: number;
  /** Why it does not listen. */
  reason: string;
}

type GatewayEvent =
  /** What it needs is there. */
  | { type: 'ADMITTED' }
  | { type: 'HELD'; reason: string }
  /** Another port, address or form: what listens is closed first. */
  | { type: 'REOPEN' };

export const gatewayMachine = setup({
  types: { input: {} as GatewayInput, context: {} as GatewayContext, events: {} as GatewayEvent },
  actors: {
    /** Resolves once it listens; closes what listened before. Safe to run again. */
    open: effect<void>('open'),
  },
  delays: { backOff: ({ context }) => context.waitMs },
}).createMachine({
  id: 'gateway',
  context: ({ input }) => ({ ...input, failures: 0, waitMs: 0, reason: '' }),
  initial: 'waiting',
  on: { REOPEN: { target: '.waiting', actions: assign({ failures: 0 }) } },
  states: {
    waiting: {
      on: {
        ADMITTED: 'opening',
        HELD: { actions: assign({ reason: ({ event }) => event.reason }) },
      },
    },
    opening: {
      invoke: {
        src: 'open',
        onDone: { target: 'listening', actions: assign({ reason: '', failures: 0 }) },
        onError: {
          target: 'backingOff',
          actions: assign(({ context, event }) => ({
            failures: context.failures + 1,
            reason: messageOf(event.error),
            waitMs: backOffMs(gatewayBackOff, context.failures + 1, context.jitter()),
          })),
        },
      },
    },
    listening: {},
    backingOff: { after: { backOff: 'opening' } },
  },
});

// One link that this node wants to a peer: dials, proves membership, holds, and tries again. Spawned by
// node-runtime/links.ts for each peer that mesh/link-choice.ts names; stopped when the peer is no longer wanted.

import { assign, setup } from 'xstate';
import { backOffMs, linkBackOff, relinkMsMax } from './back-off.ts';
import { effect, messageOf } from './effect.ts';

export interface LinkInput {
  peerId: string;
  jitter: () => number;
}

export interface LinkContext extends LinkInput {
  failures: number;
  waitMs: number;
  reason: string;
  /** The peer said where it is now while it was dialled where it had been. */
  moved: boolean;
}

export type LinkEvent =
  | { type: 'CONNECTED' }
  /** `stood`: the link was more than a moment old. */
  | { type: 'DISCONNECTED'; reason: string; stood: boolean }
  | { type: 'ADDRESSES_CHANGED' };

export const linkMachine = setup({
  types: { input: {} as LinkInput, context: {} as LinkContext, events: {} as LinkEvent },
  actors: {
    /** Connects (or finds connected) and presents membership both ways, `anew` also when it was; resolves when the link is admitted. */
    establish: effect<void, { peerId: string; anew: boolean }>('establish'),
  },
  delays: { backOff: ({ context }) => context.waitMs },
  actions: {
    fail: assign(({ context }, { reason }: { reason: string }) => ({
      failures: context.failures + 1,
      reason,
      waitMs: backOffMs(linkBackOff, context.failures + 1, context.jitter()),
    })),
    /** What stood may be had again at once, often on another way; the jitter keeps apart those that lost the same peer. */
    lose: assign(({ context }, { reason }: { reason: string }) => ({
      ...{ failures: context.failures + 1, reason },
      waitMs: Math.round(relinkMsMax * context.jitter()),
    })),
  },
}).createMachine({
  id: 'link',
  context: ({ input }) => ({ ...input, failures: 0, waitMs: 0, reason: '', moved: false }),
  initial: 'establishing',
  states: {
    establishing: {
      entry: assign({ moved: false }),
      on: { ADDRESSES_CHANGED: { actions: assign({ moved: true }) } },
      invoke: {
        src: 'establish',
        // What failed may have failed because the other side has forgotten who we are.
        input: ({ context }) => ({ peerId: context.peerId, anew: context.failures > 0 }),
        onDone: { target: 'admitted', actions: assign({ failures: 0, reason: '' }) },
        onError: [
          { guard: ({ context }) => context.moved, target: 'establishing', reenter: true },
          {
            target: 'backingOff',
            actions: { type: 'fail', params: ({ event }) => ({ reason: messageOf(event.error) }) },
          },
        ],
      },
    },
    admitted: {
      on: {
        DISCONNECTED: [
          {
            guard: ({ event }) => event.stood,
            target: 'backingOff',
            actions: { type: 'lose', params: ({ event }) => ({ reason: event.reason }) },
          },
          {
            target: 'backingOff',
            actions: { type: 'fail', params: ({ event }) => ({ reason: event.reason }) },
          },
        ],
      },
    },
    backingOff: {
      after: { backOff: 'establishing' },
      // The peer came to us, or said where it is now: no reason to wait.
      on: { CONNECTED: 'establishing', ADDRESSES_CHANGED: 'establishing' },
    },
  },
});

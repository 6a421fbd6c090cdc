// Keeps one database of this node and its copy on one linked peer in step, by one-shot replications. Spawned by
// node-runtime/replicas.ts per (peer, database) while the link is admitted; stopped with the link. PouchDB's replicator is
// run without retries: trying again, on the clock, is this actor's work.

import { assign, setup } from 'xstate';
import { backOffMs, replicaBackOff } from './back-off.ts';
import { effect, messageOf } from './effect.ts';

export interface ReplicaInput {
  jitter: () => number;
  /** A bulletin is only pulled: facts are read from peers, never pushed to them. */
  pushes: boolean;
}

export interface ReplicaContext extends ReplicaInput {
  pullWanted: boolean;
  pushWanted: boolean;
  /** Nothing tells of the far end's changes any more. */
  lost: boolean;
  /** What is under way. */
  work: ReplicaWork;
  failures: number;
  waitMs: number;
  reason: string;
}

export type ReplicaEvent =
  | { type: 'LOCAL_CHANGED' }
  | { type: 'REMOTE_CHANGED' }
  /** The stream to the far end is gone although the link is not. */
  | { type: 'STREAM_LOST' };

export interface ReplicaWork {
  pull: boolean;
  push: boolean;
}

export const replicaMachine = setup({
  types: { input: {} as ReplicaInput, context: {} as ReplicaContext, events: {} as ReplicaEvent },
  actors: {
    /** Runs the wanted directions once. May run twice: replication is idempotent. */
    replicate: effect<void, ReplicaWork>('replicate'),
  },
  delays: { backOff: ({ context }) => context.waitMs },
  guards: {
    wanted: ({ context }) => context.pullWanted || context.pushWanted,
    lost: ({ context }) => context.lost,
  },
  actions: {
    // What changes meanwhile is wanted again; so the flags are taken down before the work begins.
    begin: assign({
      work: ({ context }) => ({ pull: context.pullWanted, push: context.pushWanted }),
      pullWanted: false,
      pushWanted: false,
    }),
    wantPush: assign({ pushWanted: ({ context }) => context.pushes }),
    wantPull: assign({ pullWanted: true }),
    /** Then both sides compare all anew. */
    fail: assign(({ context }, { reason }: { reason: string }) => ({
      ...{ pullWanted: true, pushWanted: context.pushes, lost: false },
      failures: context.failures + 1,
      reason,
      waitMs: backOffMs(replicaBackOff, context.failures + 1, context.jitter()),
    })),
  },
}).createMachine({
  id: 'replica',
  context: ({ input }) => ({
    ...input,
    pullWanted: true,
    pushWanted: input.pushes,
    lost: false,
    work: { pull: false, push: false },
    failures: 0,
    waitMs: 0,
    reason: '',
  }),
  initial: 'inStep',
  on: {
    LOCAL_CHANGED: { actions: 'wantPush' },
    REMOTE_CHANGED: { actions: 'wantPull' },
    STREAM_LOST: { actions: assign({ lost: true }) },
  },
  states: {
    inStep: {
      always: [
        {
          guard: 'lost',
          target: 'backingOff',
          actions: { type: 'fail', params: { reason: 'the stream to the far end is gone' } },
        },
        { guard: 'wanted', target: 'replicating', actions: 'begin' },
      ],
    },
    replicating: {
      invoke: {
        src: 'replicate',
        input: ({ context }) => context.work,
        onDone: { target: 'inStep', actions: assign({ failures: 0, reason: '' }) },
        onError: {
          target: 'backingOff',
          actions: { type: 'fail', params: ({ event }) => ({ reason: messageOf(event.error) }) },
        },
      },
    },
    backingOff: { after: { backOff: 'inStep' } },
  },
});

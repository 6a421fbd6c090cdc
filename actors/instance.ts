// The life of one microservice instance on one node (design, section 8). Spawned by node-runtime/instances.ts, one per
// instance of the obeyed plan; gets its effects from there by `.provide()`. It decides when to start, stop and try again;
// it does no I/O and reads no database. README.md beside this file draws it.

import { assign } from 'xstate';
import type { EngineInstance, Launch } from '../node-runtime/engine.ts';
import { describeExit, fetchedOf, firstContext, whyStopping } from './instance-context.ts';
import { running, withdrawal } from './instance-running.ts';
import { instanceSetup } from './instance-setup.ts';

export const instanceMachine = instanceSetup.createMachine({
  id: 'instance',
  context: firstContext,
  initial: 'finding',
  on: {
    // Outside of the states that answer these themselves, a deletion stops whatever there is.
    DELETE: { target: '.stopping', actions: 'markDeleted' },
    UPDATE: [{ guard: 'changed', target: '.stopping', actions: 'take' }, { actions: 'take' }],
  },
  states: {
    finding: {
      always: [
        { guard: 'foundOutdated', target: 'stopping' },
        { guard: 'foundRunning', target: 'adopting' },
        { guard: 'foundCutOff', target: 'waiting', actions: 'countRestart' },
        { guard: 'foundEnded', target: 'ended' },
        { target: 'waiting' },
      ],
    },
    waiting: {
      entry: [
        'since',
        'noTries',
        assign({
          reason: 'waiting for its certificate and for what it depends on',
          nextTryAt: undefined,
          withdrawn: undefined,
        }),
      ],
      on: {
        HELD: { actions: assign({ reason: ({ event }) => event.reason }) },
        ADMITTED: [{ guard: 'needsFetching', target: 'staging' }, { target: 'creating' }],
        FOUND: [{ guard: 'sameEnd' }, { target: 'finding', actions: 'takeFound' }],
      },
    },
    adopting: {
      entry: ['since', 'tryNow'],
      on: { WITHDRAWN: withdrawal },
      invoke: {
        src: 'adopt',
        input: ({ context }) => ({ planned: context.planned, found: context.found as EngineInstance }),
        onDone: { target: 'running', actions: 'noTries' },
        // The workload is untouched and runs; only what the node does for it is missing, and is tried again.
        onError: { target: 'adoptingLater', actions: { type: 'tryLater', params: 'it runs, and cannot be taken on' } },
      },
    },
    adoptingLater: { on: { WITHDRAWN: withdrawal }, after: { retry: 'adopting' } },
    staging: {
      entry: [
        'since',
        assign({ reason: ({ context }) => `looking for its ${fetchedOf(context)}`, nextTryAt: undefined }),
      ],
      initial: 'looking',
      on: { WITHDRAWN: 'waiting' },
      invoke: {
        src: 'stage',
        input: ({ context }) => context.planned,
        onDone: 'creating',
        onError: [
          { guard: 'hopeless', target: '#instance.failed', actions: 'tellError' },
          { guard: 'engineAway', target: 'backingOff', actions: { type: 'tryLater', params: 'its engine is away' } },
          {
            target: 'backingOff',
            actions: [
              { type: 'tellFailure', params: ({ context }) => `its ${fetchedOf(context)} is not there` },
              'countFailure',
            ],
          },
        ],
      },
      states: {
        looking: { on: { PROGRESS: { target: 'pulling', actions: 'tellProgress' } } },
        pulling: { entry: 'since', on: { PROGRESS: { actions: 'tellProgress' } } },
      },
    },
    creating: {
      entry: ['since', assign({ reason: 'getting its certificate, addresses and files', nextTryAt: undefined })],
      on: { WITHDRAWN: withdrawal },
      invoke: {
        src: 'prepare',
        input: ({ context }) => context.planned,
        onDone: { target: 'starting', actions: assign({ launch: ({ event }) => event.output }) },
        onError: [
          { guard: 'hopeless', target: '#instance.failed', actions: 'tellError' },
          { guard: 'engineAway', target: 'backingOff', actions: { type: 'tryLater', params: 'its engine is away' } },
          { target: 'backingOff', actions: [{ type: 'tellFailure', params: 'cannot be prepared' }, 'countFailure'] },
        ],
      },
    },
    starting: {
      entry: ['since', assign({ reason: 'being started by its engine' })],
      on: { WITHDRAWN: withdrawal },
      invoke: {
        src: 'launch',
        input: ({ context }) => context.launch as Launch,
        onDone: {
          target: 'running',
          actions: assign({ pid: ({ event }) => event.output.pid, exit: undefined }),
        },
        onError: [
          { guard: 'hopeless', target: '#instance.failed', actions: 'tellError' },
          { guard: 'engineAway', target: 'backingOff', actions: { type: 'tryLater', params: 'its engine is away' } },
          { target: 'backingOff', actions: [{ type: 'tellFailure', params: 'cannot be started' }, 'countFailure'] },
        ],
      },
    },
    running,
    ended: {
      entry: ['gone', 'noTries', assign({ reason: ({ context }) => context.illness ?? describeExit(context) })],
      exit: 'recover',
      always: [
        { guard: 'completes', target: 'completed' },
        { guard: 'countedBefore', target: 'backingOff', actions: 'resumeBackOff' },
        { target: 'backingOff', actions: 'countFailure' },
      ],
    },
    backingOff: {
      entry: ['since', 'gone'],
      after: { backOff: 'waiting' },
      on: {
        DELETE: { target: 'stopping', actions: 'markDeleted' },
        // One that ended is what it backs off from.
        FOUND: { guard: ({ event }) => event.found.exit === undefined, target: 'finding', actions: 'takeFound' },
        // It ended for want of what is gone, before anybody had noticed.
        WITHDRAWN: { target: 'waiting', actions: 'forgiveFailures' },
        // A changed spec deserves a try at once.
        UPDATE: [{ guard: 'changed', target: 'waiting', actions: ['take', 'forgiveFailures'] }, { actions: 'take' }],
      },
    },
    stopping: {
      entry: ['since', 'tryNow', assign({ reason: ({ context }) => whyStopping(context) })],
      on: {
        DELETE: { actions: 'markDeleted' },
        // What was ill is gone with its spec.
        UPDATE: [{ guard: 'changed', actions: ['take', 'recover'] }, { actions: 'take' }],
      },
      invoke: {
        src: 'terminate',
        input: ({ context }) => context.planned,
        onDone: [
          { guard: 'deleted', target: 'removing', actions: ['noTries', assign({ exit: ({ event }) => event.output })] },
          { guard: 'ill', target: 'ended', actions: ['noTries', assign({ exit: ({ event }) => event.output })] },
          {
            target: 'waiting',
            actions: ['noTries', 'gone', 'forgiveFailures', assign({ exit: ({ event }) => event.output })],
          },
        ],
        onError: { target: 'stoppingLater', actions: { type: 'tryLater', params: 'cannot be stopped' } },
      },
    },
    stoppingLater: {
      after: { retry: 'stopping' },
      on: {
        // Its engine is back.
        FOUND: 'stopping',
        DELETE: { actions: 'markDeleted' },
        UPDATE: [{ guard: 'changed', actions: ['take', 'recover'] }, { actions: 'take' }],
      },
    },
    removing: {
      entry: ['gone', 'tryNow'],
      on: { DELETE: {}, UPDATE: {} },
      invoke: {
        src: 'cleanUp',
        input: ({ context }) => context.planned,
        onDone: 'stopped',
        onError: { target: 'removingLater', actions: { type: 'tryLater', params: 'cannot be removed' } },
      },
    },
    removingLater: { on: { DELETE: {}, UPDATE: {}, FOUND: 'removing' }, after: { retry: 'removing' } },
    completed: {
      entry: 'since',
      on: {
        DELETE: { target: 'stopping', actions: 'markDeleted' },
        UPDATE: [{ guard: 'changed', target: 'waiting', actions: ['take', 'forgiveFailures'] }, { actions: 'take' }],
      },
    },
    /** Not tried again until its specification changes; the next daemon, which may allow more, tries once. */
    failed: {
      entry: ['since', 'gone'],
      on: {
        DELETE: { target: 'stopping', actions: 'markDeleted' },
        FOUND: { guard: ({ event }) => event.found.exit === undefined, target: 'finding', actions: 'takeFound' },
        UPDATE: [{ guard: 'changed', target: 'waiting', actions: ['take', 'forgiveFailures'] }, { actions: 'take' }],
      },
    },
    stopped: { entry: ['since', 'tryNow'], type: 'final' },
  },
});

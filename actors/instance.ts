// The life of one microservice instance on one node (design, section 8). Spawned by node-runtime/instances.ts, one per
// instance of the obeyed plan; gets its effects from there by `.provide()`. It decides when to start, stop and try again;
// it does no I/O and reads no database. README.md beside this file draws it.

import { assign, setup } from 'xstate';
import type { InstanceState } from '../control/fabric.ts';
import type { PlannedInstance } from '../control/plan.ts';
import type { EngineInstance, Exit, Launch } from '../node-runtime/engine.ts';
import { backOffMs, healthyAfterMs, workloadBackOff } from './back-off.ts';
import { effect, messageOf } from './effect.ts';
import { isWorthTelling, startUpProbeMs } from './probe-pace.ts';

export interface InstanceInput {
  planned: PlannedInstance;
  /** What the engine still has of an earlier daemon's run. */
  found: EngineInstance | undefined;
  now: () => number;
  jitter: () => number;
  /** Restarts counted before this daemon started. */
  restarts: number;
}

export interface InstanceContext {
  planned: PlannedInstance;
  found: EngineInstance | undefined;
  launch: Launch | undefined;
  pid: number | undefined;
  exit: Exit | undefined;
  /** Failures in a row; decides the wait. */
  failures: number;
  restarts: number;
  /** Gets traffic. Stays as it is while a probe is under way. */
  ready: boolean;
  /** Since the launch a probe has succeeded; until then it is asked often. */
  started: boolean;
  reason: string;
  since: number;
  nextTryAt: number | undefined;
  probeSuccesses: number;
  probeFailures: number;
  deleted: boolean;
  now: () => number;
  jitter: () => number;
}

export type InstanceEvent =
  /** A newer plan: the same instance, perhaps another spec. */
  | { type: 'UPDATE'; planned: PlannedInstance }
  /** No longer in the plan: stop it and remove what it left. */
  | { type: 'DELETE' }
  /** What it waits for is there: certificate cover, dependencies ready. */
  | { type: 'ADMITTED' }
  | { type: 'HELD'; reason: string }
  /** How far the engine is with fetching what it needs. */
  | { type: 'PROGRESS'; progress: string }
  /** The engine has it after all: it could not say so before. */
  | { type: 'FOUND'; found: EngineInstance };

export type ProbeOutcome = { ok: true } | { ok: false; reason: string };

const periodOf = ({ planned }: InstanceContext): number => planned.spec.readiness?.periodMs ?? 0;

/** What one more failed probe changes; the reason is told once it is worth telling. */
function failedProbe(context: InstanceContext, reason: string): Partial<InstanceContext> {
  const probeFailures = context.probeFailures + 1;
  const told = context.started || isWorthTelling(periodOf(context), probeFailures);
  return { probeSuccesses: 0, probeFailures, ...(told && { reason: `not ready: ${reason}` }) };
}

function describeExit(exit: Exit | undefined): string {
  if (exit === undefined) return 'it ended';
  if (exit.signal !== undefined) return `it was ended by ${exit.signal}`;
  return exit.status === undefined ? 'it ended, nobody saw how' : `it exited with status ${exit.status}`;
}

export const instanceMachine = setup({
  types: {
    input: {} as InstanceInput,
    context: {} as InstanceContext,
    events: {} as InstanceEvent,
  },
  actors: {
    /** Fetches the image, where it is not there; tells `PROGRESS`. Cancelling ends it; what was fetched stays. */
    stage: effect<void, PlannedInstance>('stage'),
    /** Certificate, service addresses, files. May run again after a failure; cancelling leaves nothing that counts. */
    prepare: effect<Launch, PlannedInstance>('prepare'),
    /** Re-attaches what an adopted instance already uses; changes nothing of it. */
    adopt: effect<void, { planned: PlannedInstance; found: EngineInstance }>('adopt'),
    launch: effect<EngineInstance, Launch>('launch'),
    watchExit: effect<Exit, { instance: string }>('watchExit'),
    probe: effect<ProbeOutcome, PlannedInstance>('probe'),
    /** Resolves when nothing of the workload is left. A state of its own waits for it. */
    terminate: effect<Exit | undefined, PlannedInstance>('terminate'),
    /** Gives back addresses, folder and logs. */
    cleanUp: effect<void, PlannedInstance>('cleanUp'),
  },
  delays: {
    backOff: ({ context }) => Math.max(0, (context.nextTryAt ?? 0) - context.now()),
    probePeriod: ({ context }) => periodOf(context),
    probeAgain: ({ context }) =>
      context.started ? periodOf(context) : startUpProbeMs(periodOf(context), context.probeFailures),
    probeFirst: ({ context }) => context.planned.spec.readiness?.initialDelayMs ?? 0,
    healthy: healthyAfterMs,
  },
  guards: {
    foundRunning: ({ context }) =>
      context.found !== undefined &&
      context.found.exit === undefined &&
      context.found.specHash === context.planned.specHash,
    foundOutdated: ({ context }) => context.found !== undefined && context.found.specHash !== context.planned.specHash,
    foundEnded: ({ context }) => context.found?.exit !== undefined,
    hasImage: ({ context }) => 'image' in context.planned.spec,
    hasReadiness: ({ context }) => context.planned.spec.readiness !== undefined,
    probedAtOnce: ({ context }) => context.planned.spec.readiness?.initialDelayMs === 0,
    changed: ({ context, event }) => event.type === 'UPDATE' && event.planned.specHash !== context.planned.specHash,
    completes: ({ context }) => {
      const { restart } = context.planned.spec;
      return restart === 'never' || (restart === 'on-failure' && context.exit?.status === 0);
    },
    deleted: ({ context }) => context.deleted,
  },
  actions: {
    since: assign({ since: ({ context }) => context.now() }),
    clearReason: assign({ reason: '' }),
    tellProgress: assign({
      reason: ({ context, event }) => (event.type === 'PROGRESS' ? event.progress : context.reason),
    }),
    notReadyYet: assign({ reason: 'not ready yet' }),
    take: assign({ planned: ({ context, event }) => (event.type === 'UPDATE' ? event.planned : context.planned) }),
    takeFound: assign(({ event }) =>
      event.type === 'FOUND' ? { found: event.found, pid: event.found.pid, exit: event.found.exit } : {},
    ),
    markDeleted: assign({ deleted: true }),
    gone: assign({ pid: undefined, found: undefined, launch: undefined, probeFailures: 0, probeSuccesses: 0 }),
    countFailure: assign(({ context }) => {
      const failures = context.failures + 1;
      return {
        failures,
        restarts: context.restarts + 1,
        nextTryAt: context.now() + backOffMs(workloadBackOff, failures, context.jitter()),
      };
    }),
    countSuccess: assign(({ context }) => ({
      probeSuccesses: context.probeSuccesses + 1,
      probeFailures: 0,
      started: true,
    })),
    forgiveFailures: assign({ failures: 0, nextTryAt: undefined }),
  },
}).createMachine({
  id: 'instance',
  context: ({ input }) => ({
    planned: input.planned,
    found: input.found,
    launch: undefined,
    pid: input.found?.exit === undefined ? input.found?.pid : undefined,
    exit: input.found?.exit,
    failures: 0,
    restarts: input.restarts,
    ready: false,
    started: false,
    reason: '',
    since: input.now(),
    nextTryAt: undefined,
    probeSuccesses: 0,
    probeFailures: 0,
    deleted: false,
    now: input.now,
    jitter: input.jitter,
  }),
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
        { guard: 'foundEnded', target: 'ended' },
        { target: 'waiting' },
      ],
    },
    waiting: {
      entry: ['since', assign({ reason: 'waiting for its certificate and for what it depends on' })],
      on: {
        HELD: { actions: assign({ reason: ({ event }) => event.reason }) },
        ADMITTED: [{ guard: 'hasImage', target: 'staging' }, { target: 'creating' }],
        FOUND: { target: 'finding', actions: 'takeFound' },
      },
    },
    adopting: {
      entry: 'since',
      invoke: {
        src: 'adopt',
        input: ({ context }) => ({ planned: context.planned, found: context.found as EngineInstance }),
        onDone: 'running',
        // The workload is untouched and runs; only what the node does for it is missing, and is tried again.
        onError: { target: 'adoptingLater', actions: assign({ reason: ({ event }) => messageOf(event.error) }) },
      },
    },
    adoptingLater: { after: { 1000: 'adopting' } },
    staging: {
      entry: ['since', assign({ reason: 'looking for its image', nextTryAt: undefined })],
      initial: 'looking',
      invoke: {
        src: 'stage',
        input: ({ context }) => context.planned,
        onDone: 'creating',
        onError: {
          target: 'backingOff',
          actions: [
            assign({ reason: ({ event }) => `its image is not there: ${messageOf(event.error)}` }),
            'countFailure',
          ],
        },
      },
      states: {
        looking: { on: { PROGRESS: { target: 'pulling', actions: 'tellProgress' } } },
        pulling: { entry: 'since', on: { PROGRESS: { actions: 'tellProgress' } } },
      },
    },
    creating: {
      entry: ['since', 'clearReason', assign({ nextTryAt: undefined })],
      invoke: {
        src: 'prepare',
        input: ({ context }) => context.planned,
        onDone: { target: 'starting', actions: assign({ launch: ({ event }) => event.output }) },
        onError: {
          target: 'backingOff',
          actions: [assign({ reason: ({ event }) => `cannot be prepared: ${messageOf(event.error)}` }), 'countFailure'],
        },
      },
    },
    starting: {
      entry: 'since',
      invoke: {
        src: 'launch',
        input: ({ context }) => context.launch as Launch,
        onDone: {
          target: 'running',
          actions: assign({ pid: ({ event }) => event.output.pid, exit: undefined }),
        },
        onError: {
          target: 'backingOff',
          actions: [assign({ reason: ({ event }) => `cannot be started: ${messageOf(event.error)}` }), 'countFailure'],
        },
      },
    },
    running: {
      entry: ['since', 'clearReason'],
      exit: assign({ ready: false, started: false, probeSuccesses: 0, probeFailures: 0 }),
      initial: 'judging',
      invoke: {
        src: 'watchExit',
        input: ({ context }) => ({ instance: context.planned.name }),
        onDone: { target: 'ended', actions: assign({ exit: ({ event }) => event.output }) },
        onError: { target: 'ended', actions: assign({ exit: undefined }) },
      },
      after: { healthy: { actions: 'forgiveFailures' } },
      states: {
        judging: {
          always: [
            { guard: 'probedAtOnce', target: 'probing', actions: 'notReadyYet' },
            { guard: 'hasReadiness', target: 'startingUp', actions: 'notReadyYet' },
            { target: 'ready' },
          ],
        },
        startingUp: { after: { probeFirst: '#probing' } },
        ready: {
          entry: ['clearReason', assign({ ready: true })],
          after: { probePeriod: { guard: 'hasReadiness', target: '#probing' } },
        },
        unready: { entry: assign({ ready: false }), after: { probeAgain: '#probing' } },
        probing: {
          id: 'probing',
          invoke: {
            src: 'probe',
            input: ({ context }) => context.planned,
            onDone: [
              {
                guard: ({ context, event }) =>
                  event.output.ok &&
                  context.probeSuccesses + 1 >= (context.planned.spec.readiness?.successThreshold ?? 1),
                target: 'ready',
                actions: 'countSuccess',
              },
              {
                guard: ({ event }) => event.output.ok,
                target: 'unready',
                actions: 'countSuccess',
              },
              {
                // A ready instance stays ready until the threshold is reached.
                guard: ({ context }) =>
                  context.probeSuccesses > 0 &&
                  context.probeFailures + 1 < (context.planned.spec.readiness?.failureThreshold ?? 1),
                target: 'ready',
                actions: assign({ probeFailures: ({ context }) => context.probeFailures + 1 }),
              },
              {
                target: 'unready',
                actions: assign(({ context, event }) =>
                  failedProbe(context, event.output.ok ? '' : event.output.reason),
                ),
              },
            ],
            onError: {
              target: 'unready',
              actions: assign(({ context, event }) => failedProbe(context, messageOf(event.error))),
            },
          },
        },
      },
    },
    ended: {
      entry: 'gone',
      always: [
        {
          guard: 'completes',
          target: 'completed',
          actions: assign({ reason: ({ context }) => describeExit(context.exit) }),
        },
        {
          target: 'backingOff',
          actions: [assign({ reason: ({ context }) => describeExit(context.exit) }), 'countFailure'],
        },
      ],
    },
    backingOff: {
      entry: ['since', 'gone'],
      after: { backOff: 'waiting' },
      on: {
        DELETE: { target: 'stopping', actions: 'markDeleted' },
        // One that ended is what it backs off from.
        FOUND: { guard: ({ event }) => event.found.exit === undefined, target: 'finding', actions: 'takeFound' },
        // A changed spec deserves a try at once.
        UPDATE: [{ guard: 'changed', target: 'waiting', actions: ['take', 'forgiveFailures'] }, { actions: 'take' }],
      },
    },
    stopping: {
      entry: ['since', assign({ reason: ({ context }) => (context.deleted ? 'being removed' : 'being replaced') })],
      on: {
        DELETE: { actions: 'markDeleted' },
        UPDATE: { actions: 'take' },
      },
      invoke: {
        src: 'terminate',
        input: ({ context }) => context.planned,
        onDone: [
          { guard: 'deleted', target: 'removing', actions: assign({ exit: ({ event }) => event.output }) },
          { target: 'waiting', actions: ['gone', 'forgiveFailures', assign({ exit: ({ event }) => event.output })] },
        ],
        onError: {
          target: 'stoppingLater',
          actions: assign({ reason: ({ event }) => `cannot be stopped: ${messageOf(event.error)}` }),
        },
      },
    },
    stoppingLater: {
      after: { 1000: 'stopping' },
      on: {
        DELETE: { actions: 'markDeleted' },
        UPDATE: { actions: 'take' },
      },
    },
    removing: {
      entry: 'gone',
      on: { DELETE: {}, UPDATE: {} },
      invoke: {
        src: 'cleanUp',
        input: ({ context }) => context.planned,
        onDone: 'stopped',
        onError: { target: 'removingLater', actions: assign({ reason: ({ event }) => messageOf(event.error) }) },
      },
    },
    removingLater: { on: { DELETE: {}, UPDATE: {} }, after: { 1000: 'removing' } },
    completed: {
      entry: 'since',
      on: {
        DELETE: { target: 'stopping', actions: 'markDeleted' },
        UPDATE: [{ guard: 'changed', target: 'waiting', actions: ['take', 'forgiveFailures'] }, { actions: 'take' }],
      },
    },
    stopped: { entry: 'since', type: 'final' },
  },
});

const publishedStates: Record<string, InstanceState> = {
  finding: 'waiting',
  ended: 'waiting',
  adopting: 'running',
  adoptingLater: 'running',
  stoppingLater: 'stopping',
  removing: 'stopping',
  removingLater: 'stopping',
};

/** The published state of a snapshot's value: the words of control/fabric.ts. */
export function instanceState(value: unknown): InstanceState {
  const [top = 'waiting', inner] = typeof value === 'string' ? [value] : (Object.entries(value as object)[0] ?? []);
  if (top === 'staging') return inner === 'pulling' ? 'pulling' : 'waiting';
  return publishedStates[top] ?? (top as InstanceState);
}

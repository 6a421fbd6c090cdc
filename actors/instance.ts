// The life of one microservice instance on one node (design, section 8). Spawned by node-runtime/instances.ts, one per
// instance of the obeyed plan; gets its effects from there by `.provide()`. It decides when to start, stop and try again;
// it does no I/O and reads no database. README.md beside this file draws it.

import { assign, setup } from 'xstate';
import type { InstanceState } from '../control/fabric.ts';
import type { PlannedInstance, ProbeKind } from '../control/plan.ts';
import type { EngineInstance, Exit, Launch } from '../node-runtime/engine.ts';
import { backOffMs, healthyAfterMs, workloadBackOff } from './back-off.ts';
import { effect, messageOf } from './effect.ts';
import { type Judgement, type ProbedEvent, probeMachine } from './probe.ts';

export interface InstanceInput {
  planned: PlannedInstance;
  /** What the engine still has of an earlier daemon's run. */
  found: EngineInstance | undefined;
  now: () => number;
  jitter: () => number;
  /** What an earlier daemon of this node knew of it. */
  before?: EarlierLife | undefined;
}

export interface EarlierLife {
  restarts: number;
  failures: number;
  nextTryAt: number | undefined;
  /** When the run ended from which it backs off. */
  exitAt: number | undefined;
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
  /** Of adopting, stopping or removing it, that have failed in a row. */
  tries: number;
  /** Gets traffic. */
  ready: boolean;
  /** Why it is restarted although it runs: what a probe found. */
  illness: string | undefined;
  /** Why it may not go on: what it was given is gone. */
  withdrawn: string | undefined;
  /** Of this run, by probe: what it was found to be last, and since when. */
  probes: Partial<Record<ProbeKind, { judgement: Judgement; reason: string; since: number }>>;
  reason: string;
  since: number;
  nextTryAt: number | undefined;
  deleted: boolean;
  before: EarlierLife | undefined;
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
  /** What it was given is no longer there: it ends, and waits for it. No failure of its own. */
  | { type: 'WITHDRAWN'; reason: string }
  /** How far the engine is with fetching what it needs. */
  | { type: 'PROGRESS'; progress: string }
  /** The engine has it after all: it could not say so before. */
  | { type: 'FOUND'; found: EngineInstance }
  /** One of its probes. */
  | ProbedEvent;

/** Between two tries of adopting, stopping or removing: what hinders them (a disk, an engine) passes, and nothing else waits for them. */
const retryBackOff = { firstMs: 1_000, maxMs: 30_000 };
/** Tries at the first pace: most hindrances are over by then. An engine may be away for days, and each try is a document in two stores. */
const quickTries = 5;
const retryMs = (tries: number): number => backOffMs(retryBackOff, tries - quickTries + 1, 1);

function describeExit({ exit, planned }: InstanceContext): string {
  if (exit === undefined) return 'it ended';
  const memory = planned.spec.resources?.memory;
  if (exit.outOfMemory && memory !== undefined) return `it ran out of its memory limit of ${memory}`;
  if (exit.boxRestarted) return 'the box went down under it';
  if (exit.signal !== undefined) return `it was ended by ${exit.signal}`;
  return exit.status === undefined ? 'it ended, nobody saw how' : `it exited with status ${exit.status}`;
}

/** Nothing helps but another spec, or another daemon with another policy. */
const isHopeless = (error: unknown): boolean => (error as { needsChange?: unknown } | undefined)?.needsChange === true;

/** The engine went while it was asked: nothing of the workload failed. */
const isEngineAway = (error: unknown): boolean => (error as { engineAway?: unknown } | undefined)?.engineAway === true;

/** What the engine fetches before it can start one. */
function fetchedOf({ planned: { spec } }: InstanceContext): 'image' | 'module' | undefined {
  if (spec.engine === 'process') return undefined;
  return spec.engine === 'docker' ? 'image' : 'module';
}

/** What an effect was rejected with. */
const errorOf = (event: object): unknown => ('error' in event ? event.error : undefined);

function whyStopping({ deleted, illness, withdrawn }: InstanceContext): string {
  if (deleted) return 'being removed';
  if (withdrawn !== undefined) return `being stopped: ${withdrawn}`;
  return illness === undefined ? 'being replaced' : `being restarted: ${illness}`;
}

/** The next start waits for what it lacks. */
const withdrawal = { target: '#instance.stopping', actions: 'withdraw' } as const;

export const instanceMachine = setup({
  types: {
    input: {} as InstanceInput,
    context: {} as InstanceContext,
    events: {} as InstanceEvent,
  },
  actors: {
    /** Fetches the image or module, where it is not there; tells `PROGRESS`. Cancelling ends it; what was fetched stays. */
    stage: effect<void, PlannedInstance>('stage'),
    /** Certificate, service addresses, files. May run again after a failure; cancelling leaves nothing that counts. */
    prepare: effect<Launch, PlannedInstance>('prepare'),
    /** Re-attaches what an adopted instance already uses; changes nothing of it. */
    adopt: effect<void, { planned: PlannedInstance; found: EngineInstance }>('adopt'),
    launch: effect<EngineInstance, Launch>('launch'),
    watchExit: effect<Exit, { instance: string }>('watchExit'),
    probe: probeMachine,
    /** Resolves when nothing of the workload is left. A state of its own waits for it. */
    terminate: effect<Exit | undefined, PlannedInstance>('terminate'),
    /** Gives back addresses, folder and logs. */
    cleanUp: effect<void, PlannedInstance>('cleanUp'),
  },
  delays: {
    // Never longer than the cap, also when the clock was set back meanwhile.
    backOff: ({ context }) => Math.min(workloadBackOff.maxMs, Math.max(0, (context.nextTryAt ?? 0) - context.now())),
    /** As long as the threshold's number of failures takes: how often it is really asked does not matter. */
    startUp: ({ context }) => {
      const { initialDelayMs = 0, failureThreshold = 0, periodMs = 0 } = context.planned.spec.startup ?? {};
      return initialDelayMs + failureThreshold * periodMs;
    },
    retry: ({ context }) => retryMs(context.tries),
    healthy: ({ context }) => context.planned.spec.healthyAfterMs ?? healthyAfterMs,
  },
  guards: {
    foundRunning: ({ context }) =>
      context.found !== undefined &&
      context.found.exit === undefined &&
      context.found.specHash === context.planned.specHash,
    foundOutdated: ({ context }) => context.found !== undefined && context.found.specHash !== context.planned.specHash,
    foundEnded: ({ context }) => context.found?.exit !== undefined,
    needsFetching: ({ context }) => fetchedOf(context) !== undefined,
    /** No failure, so nothing to wait for; what runs once had its turn. */
    foundCutOff: ({ context: { found, planned } }) =>
      found?.exit?.boxRestarted === true && planned.spec.restart !== 'never',
    has: ({ context }, kind: ProbeKind) => context.planned.spec[kind] !== undefined,
    found: ({ event }, { kind, judgement }: { kind: ProbeKind; judgement: Judgement }) =>
      event.type === 'PROBED' && event.kind === kind && event.judgement === judgement,
    about: ({ event }, kind: ProbeKind) => event.type === 'PROBED' && event.kind === kind,
    hopeless: ({ event }) => isHopeless(errorOf(event)),
    engineAway: ({ event }) => isEngineAway(errorOf(event)),
    /** Its engine, back again, tells of the end that it has backed off from. */
    sameEnd: ({ context: { exit }, event }) =>
      event.type === 'FOUND' && event.found.exit !== undefined && event.found.exit.at === exit?.at,
    ill: ({ context }) => context.illness !== undefined,
    changed: ({ context, event }) => event.type === 'UPDATE' && event.planned.specHash !== context.planned.specHash,
    completes: ({ context }) => {
      const { restart } = context.planned.spec;
      const well = context.illness === undefined && context.exit?.status === 0;
      return restart === 'never' || (restart === 'on-failure' && well);
    },
    deleted: ({ context }) => context.deleted,
    /** The end that an earlier daemon saw and counted; it may have died in the middle of the next try. */
    countedBefore: ({ context: { before, exit } }) =>
      before !== undefined && before.failures > 0 && exit !== undefined && before.exitAt === exit.at,
  },
  actions: {
    since: assign({ since: ({ context }) => context.now() }),
    clearReason: assign({ reason: '' }),
    tellProgress: assign({
      reason: ({ context, event }) => (event.type === 'PROGRESS' ? event.progress : context.reason),
    }),
    tellError: assign({ reason: ({ event }) => messageOf(errorOf(event)) }),
    tellFailure: assign({ reason: ({ event }, what: string) => `${what}: ${messageOf(errorOf(event))}` }),
    /** Another try of what must succeed in the end, in a state of its own. */
    tryLater: assign(({ context, event }, what: string) => {
      const tries = context.tries + 1;
      const times = tries === 1 ? '' : `, tried ${tries} times`;
      return {
        tries,
        reason: `${what}${times}: ${messageOf(errorOf(event))}`,
        nextTryAt: context.now() + retryMs(tries),
      };
    }),
    tryNow: assign({ nextTryAt: undefined }),
    noTries: assign({ tries: 0 }),
    unready: assign({
      ready: false,
      reason: ({ event }) =>
        event.type === 'PROBED' && event.kind === 'readiness' ? `not ready: ${event.reason}` : 'not ready yet',
    }),
    note: assign({
      probes: ({ context, event }) => {
        if (event.type !== 'PROBED') return context.probes;
        const { kind, judgement, reason } = event;
        const before = context.probes[kind];
        const since = before?.judgement === judgement ? before.since : context.now();
        return { ...context.probes, [kind]: { judgement, reason, since } };
      },
    }),
    take: assign({ planned: ({ context, event }) => (event.type === 'UPDATE' ? event.planned : context.planned) }),
    takeFound: assign(({ event }) =>
      event.type === 'FOUND' ? { found: event.found, pid: event.found.pid, exit: event.found.exit } : {},
    ),
    markDeleted: assign({ deleted: true }),
    withdraw: assign({ withdrawn: ({ event }) => (event.type === 'WITHDRAWN' ? event.reason : undefined) }),
    gone: assign({ pid: undefined, found: undefined, launch: undefined }),
    recover: assign({ illness: undefined }),
    countFailure: assign(({ context }) => {
      const failures = context.failures + 1;
      return {
        failures,
        restarts: context.restarts + 1,
        nextTryAt: context.now() + backOffMs(workloadBackOff, failures, context.jitter()),
      };
    }),
    countRestart: assign({ restarts: ({ context }) => context.restarts + 1 }),
    resumeBackOff: assign(({ context }) => ({ nextTryAt: context.before?.nextTryAt, before: undefined })),
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
    failures: input.before?.failures ?? 0,
    restarts: input.before?.restarts ?? 0,
    tries: 0,
    ready: false,
    illness: undefined,
    withdrawn: undefined,
    probes: {},
    reason: '',
    since: input.now(),
    nextTryAt: undefined,
    deleted: false,
    before: input.before,
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
    running: {
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
    },
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

// What the states of an instance are made of: its effects, delays, guards and actions. Called by instance.ts and
// instance-running.ts; names no state.

import { assign, setup } from 'xstate';
import type { PlannedInstance, ProbeKind } from '../control/plan.ts';
import type { EngineInstance, Exit, Launch } from '../node-runtime/engine.ts';
import { backOffMs, healthyAfterMs, workloadBackOff } from './back-off.ts';
import { effect, messageOf } from './effect.ts';
import { fetchedOf, type InstanceContext, type InstanceEvent, type InstanceInput } from './instance-context.ts';
import { type Judgement, probeMachine } from './probe.ts';

/** Between two tries of adopting, stopping or removing: what hinders them (a disk, an engine) passes, and nothing else waits for them. */
const retryBackOff = { firstMs: 1_000, maxMs: 30_000 };
/** Tries at the first pace: most hindrances are over by then. An engine may be away for days, and each try is a document in two stores. */
const quickTries = 5;
const retryMs = (tries: number): number => backOffMs(retryBackOff, tries - quickTries + 1, 1);

/** Nothing helps but another spec, or another daemon with another policy. */
const isHopeless = (error: unknown): boolean => (error as { needsChange?: unknown } | undefined)?.needsChange === true;

/** The engine went while it was asked: nothing of the workload failed. */
const isEngineAway = (error: unknown): boolean => (error as { engineAway?: unknown } | undefined)?.engineAway === true;

/** What an effect was rejected with. */
const errorOf = (event: object): unknown => ('error' in event ? event.error : undefined);

export const instanceSetup = setup({
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
});

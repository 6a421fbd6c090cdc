// One probe of one running instance: asks again and again, and tells the instance actor when its judgement changes. Invoked by
// instance.ts, one for each probe that a microservice declares. It decides how often to ask and when failures count; what
// follows from a judgement (traffic, restart) is instance.ts's.

import { enqueueActions, sendParent, setup } from 'xstate';
import type { PlannedInstance, ProbeKind, ProbeSpec } from '../control/plan.ts';
import { effect, messageOf } from './effect.ts';
import { isWorthTelling, startUpProbeMs } from './probe-pace.ts';

export type ProbeOutcome = { ok: true } | { ok: false; reason: string };

export interface ProbeInput {
  planned: PlannedInstance;
  kind: ProbeKind;
}

/** `failing`: it went wrong, and not as often yet as the threshold says. */
export type Judgement = 'passing' | 'failing' | 'failed';

export interface ProbeContext extends ProbeInput {
  spec: ProbeSpec;
  /** In a row. */
  successes: number;
  failures: number;
  /** It has passed since the launch; until then it is asked often. */
  passed: boolean;
  judgement: Judgement | undefined;
  reason: string;
}

/** What the parent gets, when the judgement or its reason is another one. */
export interface ProbedEvent {
  type: 'PROBED';
  kind: ProbeKind;
  judgement: Judgement;
  reason: string;
}

/** Milliseconds until the next question. */
function pauseMs({ kind, passed, spec, failures }: ProbeContext): number {
  const startsUp = kind !== 'liveness' && !passed && failures > 0;
  return startsUp ? startUpProbeMs(spec.periodMs, failures) : spec.periodMs;
}

/** What one more answer changes. Of a start nothing is told before it is worth telling. */
export function judge(context: ProbeContext, outcome: ProbeOutcome): ProbeContext {
  const { kind, spec, judgement: before } = context;
  if (outcome.ok) {
    const successes = context.successes + 1;
    const enough = before === 'failing' && context.passed ? true : successes >= spec.successThreshold;
    const judgement = enough ? 'passing' : before;
    return { ...context, successes, failures: 0, passed: context.passed || enough, judgement, reason: '' };
  }
  const failures = context.failures + 1;
  const next = { ...context, successes: 0, failures };
  const { reason } = outcome;
  // Until it passes for the first time, readiness and start-up wait; liveness counts from the first answer.
  if (kind !== 'liveness' && !context.passed) {
    return isWorthTelling(spec.periodMs, failures) ? { ...next, judgement: 'failing', reason } : next;
  }
  return { ...next, judgement: failures >= spec.failureThreshold ? 'failed' : 'failing', reason };
}

export const probeMachine = setup({
  types: { input: {} as ProbeInput, context: {} as ProbeContext },
  actors: {
    /** Asks once, within the probe's own time-out. */
    ask: effect<ProbeOutcome, { planned: PlannedInstance; spec: ProbeSpec }>('ask'),
  },
  delays: { initial: ({ context }) => context.spec.initialDelayMs, pause: ({ context }) => pauseMs(context) },
  actions: {
    take: enqueueActions(({ context, enqueue }, outcome: ProbeOutcome) => {
      const next = judge(context, outcome);
      enqueue.assign(next);
      const { kind, judgement, reason } = next;
      if (judgement === undefined || (judgement === context.judgement && reason === context.reason)) return;
      enqueue(sendParent({ type: 'PROBED', kind, judgement, reason } satisfies ProbedEvent));
    }),
  },
}).createMachine({
  id: 'probe',
  context: ({ input }) => ({
    ...input,
    spec: input.planned.spec[input.kind] as ProbeSpec,
    successes: 0,
    failures: 0,
    passed: false,
    judgement: undefined,
    reason: '',
  }),
  initial: 'beginning',
  states: {
    // Without a timer where none is wanted: it would cost a millisecond of each start.
    beginning: { always: [{ guard: ({ context }) => context.spec.initialDelayMs > 0, target: 'delaying' }, 'asking'] },
    delaying: { after: { initial: 'asking' } },
    asking: {
      invoke: {
        src: 'ask',
        input: ({ context: { planned, spec } }) => ({ planned, spec }),
        onDone: { target: 'pausing', actions: { type: 'take', params: ({ event }) => event.output } },
        onError: {
          target: 'pausing',
          actions: { type: 'take', params: ({ event }) => ({ ok: false, reason: messageOf(event.error) }) },
        },
      },
    },
    pausing: { after: { pause: 'asking' } },
  },
});

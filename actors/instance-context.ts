// What an instance's actor is given, knows and hears, and the words that it says of itself. Called by instance.ts and its
// parts; decides nothing.

import type { PlannedInstance, ProbeKind } from '../control/plan.ts';
import type { EngineInstance, Exit, Launch } from '../node-runtime/engine.ts';
import type { Judgement, ProbedEvent } from './probe.ts';

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

export const firstContext = ({ input }: { input: InstanceInput }): InstanceContext => ({
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
});

export function describeExit({ exit, planned }: InstanceContext): string {
  if (exit === undefined) return 'it ended';
  const memory = planned.spec.resources?.memory;
  if (exit.outOfMemory && memory !== undefined) return `it ran out of its memory limit of ${memory}`;
  if (exit.boxRestarted) return 'the box went down under it';
  if (exit.signal !== undefined) return `it was ended by ${exit.signal}`;
  return exit.status === undefined ? 'it ended, nobody saw how' : `it exited with status ${exit.status}`;
}

/** What the engine fetches before it can start one. */
export function fetchedOf({ planned: { spec } }: InstanceContext): 'image' | 'module' | undefined {
  if (spec.engine === 'process') return undefined;
  return spec.engine === 'docker' ? 'image' : 'module';
}

export function whyStopping({ deleted, illness, withdrawn }: InstanceContext): string {
  if (deleted) return 'being removed';
  if (withdrawn !== undefined) return `being stopped: ${withdrawn}`;
  return illness === undefined ? 'being replaced' : `being restarted: ${illness}`;
}

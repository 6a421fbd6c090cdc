// Starts actors on the node's clock and reports each of their steps, which the simulator's trace writes down. Called by everything in this
// folder that spawns an actor.

import { type AnyActorLogic, type AnyStateMachine, createActor, type InputFrom } from 'xstate';
import type { Clock } from './clock.ts';

/** One step of one actor. */
export interface TraceRecord {
  /** Milliseconds since 1970. */
  at: number;
  node: string;
  actor: string;
  event: string;
  /** The state afterwards, with '.' between levels. */
  state: string;
}

export type Trace = (record: TraceRecord) => void;

export interface ActorSystem {
  /** Creates and starts the actor; `name` is unique on the node while it lives. */
  spawn<Machine extends AnyStateMachine>(
    name: string,
    machine: Machine,
    input: InputFrom<Machine>,
  ): ReturnType<typeof createActor<Machine>>;
  /** Reports a step of something that is no actor: a document, a plan. */
  report(actor: string, event: string, state: string): void;
}

/** `running.ready` for `{running: 'ready'}`. */
export function stateText(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value !== 'object' || value === null) return '';
  return Object.entries(value)
    .map(([key, inner]) => (stateText(inner) === '' ? key : `${key}.${stateText(inner)}`))
    .join('|');
}

export function createActorSystem(dependencies: { clock: Clock; node: () => string; trace?: Trace }): ActorSystem {
  const { clock, node, trace } = dependencies;
  // XState asks for these two alone.
  const actorClock = {
    setTimeout: (run: (...values: unknown[]) => void, delayMs: number) => clock.setTimeout(() => run(), delayMs),
    clearTimeout: (timer: unknown) => clock.clearTimeout(timer),
  };
  const report = (actor: string, event: string, state: string): void =>
    trace?.({ at: clock.now(), node: node(), actor, event, state });

  return {
    report,
    spawn(name, machine, input) {
      const actor = createActor(
        machine as AnyActorLogic,
        {
          input,
          clock: actorClock,
          inspect: (step) => {
            if (step.type !== '@xstate.snapshot' || step.actorRef !== actor) return;
            const { value } = step.snapshot as { value?: unknown };
            report(name, step.event.type, stateText(value));
          },
        } as Parameters<typeof createActor>[1],
      );
      return actor.start() as ReturnType<typeof createActor<typeof machine>>;
    },
  };
}

// Which state of an instance is told for a state of its machine. Called by node-runtime where it observes; keeps nothing.

import type { InstanceState } from '../control/fabric.ts';

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

// What a check is given and what it answers. Types and the three outcomes; called by every file of this folder.

import type { StatusView } from '../../control/views.ts';
import type { Clock } from '../clock.ts';
import type { OwnFiles } from '../own-files.ts';

export type Outcome = 'ok' | 'warn' | 'fail';

export interface Finding {
  /** Names the check; stable, for scripts. */
  id: string;
  outcome: Outcome;
  /** What was found. */
  message: string;
  /** What to do; empty when there is nothing to do. */
  action: string;
}

/** The daemon of the data folder, as its socket answers. */
export type DaemonState =
  | { kind: 'answers'; status: StatusView }
  | { kind: 'down' }
  | { kind: 'silent'; reason: string };

export interface DoctorInput {
  /** Absolute path. Read, and never written. */
  dataFolder: string;
  clock: Clock;
  daemon: DaemonState;
  /** Undefined when they cannot be read: `files` says why. */
  own: OwnFiles | undefined;
}

export type Check = (input: DoctorInput) => Promise<Finding> | Finding;

export const ok = (id: string, message: string): Finding => ({ id, outcome: 'ok', message, action: '' });
export const warn = (id: string, message: string, action: string): Finding => ({
  id,
  outcome: 'warn',
  message,
  action,
});
export const fail = (id: string, message: string, action: string): Finding => ({
  id,
  outcome: 'fail',
  message,
  action,
});

/** The node that answers, in its own view or the fabric's. */
export function ownNode({ daemon }: DoctorInput): StatusView['nodes'][number] | undefined {
  if (daemon.kind !== 'answers') return undefined;
  return daemon.status.nodes.find(({ name }) => name === daemon.status.node);
}

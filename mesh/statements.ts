// Statements: what a node signs about itself and others pass on (announcements, link states). What is common to both: which of two is
// newer, and who may sign one. Pure; used by announcements.ts, link-states.ts and spreading.ts.

import type { Identity } from '../pki/identity.ts';
import type { PeerId } from './mesh.ts';

/** Which statement it is. Of one peer and part the higher (boot counter, sequence) counts. */
export interface Position {
  peerId: PeerId;
  part: number;
  bootCounter: number;
  sequence: number;
}

export interface Statement extends Position {
  jws: string;
}

/** In the order in which they are sent: without routes nothing gets far. */
export const statementKinds = ['link-state', 'announcement'] as const;
export type StatementKind = (typeof statementKinds)[number];

/** The table of one kind. */
export interface StatementTable {
  held(peerId: PeerId, part: number): Statement | undefined;
  all(): Iterable<Statement>;
  /** Of an announcement, the services that it says of. */
  serves?(peerId: PeerId, part: number): ReadonlySet<string>;
}

type Version = Pick<Position, 'bootCounter' | 'sequence'>;

/** Above 0 when `one` is newer. */
export function compareVersions(one: Version, other: Version): number {
  return one.bootCounter - other.bootCounter || one.sequence - other.sequence;
}

/** Why the signer may not say this, undefined when it may: a node speaks of itself alone. */
export function signerProblem(
  said: { fabricId: string; peerId: PeerId; node: string },
  signer: Identity,
  fabricId: string,
): string | undefined {
  if (signer.kind !== 'node') return 'not signed by the authority of a node';
  if (signer.fabricId !== fabricId || said.fabricId !== fabricId) return 'of another fabric';
  if (signer.peerId !== said.peerId) return 'signed by another peer than the one it is about';
  if (signer.node !== said.node) return 'names another node than its signer';
  return undefined;
}

// The algebra of revision trees, as PouchDB has it: the one file that imports pouchdb-merge. Called by pouch-store.ts and by
// the simulated store. Pure.

import {
  collectLeaves,
  compactTree,
  isDeleted,
  merge,
  type RevisionFlags,
  type RevisionNode,
  type RevisionPath,
  revExists,
  rootToLeaf,
  winningRev,
} from 'pouchdb-merge';

export type RevisionTree = RevisionPath[];
export type { RevisionFlags, RevisionNode, RevisionPath };

export interface Revisions {
  /** Generation of the first id. */
  start: number;
  /** Hashes, newest first. */
  ids: string[];
}

export const mergeRevisions = merge;
export const hasRevision = revExists;

export function winner(tree: RevisionTree): { revision: string; deleted: boolean } {
  const revision = winningRev({ rev_tree: tree });
  return { revision, deleted: isRevisionDeleted(tree, revision) };
}

export function isRevisionDeleted(tree: RevisionTree, revision: string): boolean {
  return isDeleted({ rev_tree: tree }, revision);
}

/** Revisions of all leaves, the longest branch first. */
export function leafRevisions(tree: RevisionTree): string[] {
  return collectLeaves(tree).map((leaf) => leaf.rev);
}

/** Marks everything but the leaves as gone; returns the revisions whose bodies can go. */
export function compactRevisions(tree: RevisionTree): string[] {
  return compactTree({ rev_tree: tree });
}

export function parseRevision(revision: string): { generation: number; hash: string } {
  const dash = revision.indexOf('-');
  return { generation: Number.parseInt(revision.slice(0, dash), 10), hash: revision.slice(dash + 1) };
}

/** The path of a leaf from its root, newest first. */
export function historyOf(tree: RevisionTree, leaf: string): Revisions {
  const { generation, hash } = parseRevision(leaf);
  for (const path of rootToLeaf(tree)) {
    if (path.pos + path.ids.length - 1 === generation && path.ids.at(-1)?.id === hash)
      return { start: generation, ids: path.ids.map((node) => node.id).reverse() };
  }
  return { start: generation, ids: [hash] };
}

/** A single branch, as a replicated document brings it. */
export function pathOf({ start, ids }: Revisions, flags: RevisionFlags): RevisionPath {
  const [newest = '', ...older] = ids;
  let node: RevisionNode = [newest, flags, []];
  for (const id of older) node = [id, { status: 'missing' }, [node]];
  return { pos: start - ids.length + 1, ids: node };
}

/**
 * The leaves that a revision has become: itself, or its newest descendants. Empty when the tree does not know it, which
 * PouchDB's own `latest` throws for, out of reach of its caller.
 */
export function leavesUnder(tree: RevisionTree, revision: string): string[] {
  const { generation, hash } = parseRevision(revision);
  const found: string[] = [];
  for (const path of rootToLeaf(tree)) {
    const index = generation - path.pos;
    if (path.ids[index]?.id === hash) found.push(`${path.pos + path.ids.length - 1}-${path.ids.at(-1)?.id}`);
  }
  return found;
}

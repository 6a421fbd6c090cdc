// Types of the untyped packages under control/pouch*.ts and control/prefixed-leveldown.ts: only what those files call.

declare module 'pouchdb-adapter-leveldb' {
  const plugin: unknown;
  export default plugin;
}

declare module 'pouchdb-merge' {
  export interface RevisionFlags {
    status: 'available' | 'missing';
    deleted?: boolean;
  }
  /** Hash, flags, children. */
  export type RevisionNode = [string, RevisionFlags, RevisionNode[]];
  export interface RevisionPath {
    pos: number;
    ids: RevisionNode;
  }
  export function merge(
    tree: RevisionPath[],
    path: RevisionPath,
    depth: number,
  ): { tree: RevisionPath[]; stemmedRevs: string[]; conflicts: 'new_leaf' | 'new_branch' | 'internal_node' };
  export function winningRev(metadata: { rev_tree: RevisionPath[] }): string;
  export function isDeleted(metadata: { rev_tree: RevisionPath[] }, revision?: string): boolean;
  export function revExists(tree: RevisionPath[], revision: string): boolean;
  export function collectLeaves(tree: RevisionPath[]): { rev: string; opts: RevisionFlags }[];
  export function compactTree(metadata: { rev_tree: RevisionPath[] }): string[];
  export function rootToLeaf(tree: RevisionPath[]): { pos: number; ids: { id: string; opts: RevisionFlags }[] }[];
  export function traverseRevTree<T>(
    tree: RevisionPath[],
    visit: (isLeaf: boolean, pos: number, hash: string, context: T | undefined, flags: RevisionFlags) => T | undefined,
  ): void;
}

declare module 'abstract-leveldown' {
  export type LevelCallback<T = void> = (error?: Error | null, value?: T) => void;
  export type LevelKey = string | Buffer;
  export interface LevelOperation {
    type: 'put' | 'del';
    key: LevelKey;
    value?: unknown;
  }
  export type LevelOptions = Record<string, unknown>;
  export class AbstractLevelDOWN {
    constructor(manifest?: Record<string, unknown>);
    readonly status: string;
    open(options: LevelOptions, callback: LevelCallback): void;
    close(callback: LevelCallback): void;
    get(key: LevelKey, options: LevelOptions, callback: LevelCallback<unknown>): void;
    put(key: LevelKey, value: unknown, options: LevelOptions, callback: LevelCallback): void;
    del(key: LevelKey, options: LevelOptions, callback: LevelCallback): void;
    batch(operations: LevelOperation[], options: LevelOptions, callback: LevelCallback): void;
    clear(options: LevelOptions, callback: LevelCallback): void;
    iterator(options: LevelOptions): AbstractIterator;
    _nextTick(callback: (...values: unknown[]) => void, ...values: unknown[]): void;
  }
  export class AbstractIterator {
    constructor(database: AbstractLevelDOWN);
    next(callback: (error?: Error | null, key?: LevelKey, value?: unknown) => void): void;
    end(callback: LevelCallback): void;
    _nextTick(callback: (...values: unknown[]) => void, ...values: unknown[]): void;
  }
}

declare module 'leveldown' {
  import { AbstractLevelDOWN } from 'abstract-leveldown';
  export default function leveldown(location: string): AbstractLevelDOWN;
}

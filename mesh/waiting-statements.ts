// Statements of one link that wait for certificates which they name and nobody here holds, with what has come of those: unverified all of it, and so
// bounded by number, by names and by length. State only; called by referenced-links.ts, which asks, puts together and gives up.

import { waitingCertificatesMax, waitingStatementsBytesMax, waitingStatementsMax } from './limits.ts';
import type { ReferencedStatement } from './statement-references.ts';
import type { StatementKind } from './statements.ts';

export interface Waiting {
  kind: StatementKind;
  statement: ReferencedStatement;
  sinceMs: number;
  /** Those that this node did not hold, without a text until they come. */
  lacking: Map<string, string | undefined>;
}

export interface WaitingStatements {
  put(key: string, waiting: Waiting): void;
  drop(key: string): void;
  /** Puts the texts in where they are lacking. */
  fill(textOf: (name: string) => string | undefined): void;
  clear(): void;
  entries(): IterableIterator<[string, Waiting]>;
  values(): IterableIterator<Waiting>;
  readonly size: number;
  readonly isTooMuch: boolean;
}

export const keyOf = (kind: StatementKind, { peerId, part }: ReferencedStatement): string =>
  `${kind} ${peerId} ${part}`;

export const isComplete = ({ lacking }: Waiting): boolean => ![...lacking.values()].includes(undefined);

export function createWaitingStatements(): WaitingStatements {
  const statements = new Map<string, Waiting & { bytes: number }>();
  let bytes = 0;
  /** A certificate as often as it is named. */
  let names = 0;

  return {
    put(key, waiting) {
      const own = JSON.stringify(waiting.statement).length;
      statements.set(key, { ...waiting, bytes: own });
      bytes += own;
      names += waiting.lacking.size;
    },
    drop(key) {
      const waiting = statements.get(key);
      if (waiting === undefined) return;
      statements.delete(key);
      bytes -= waiting.bytes;
      names -= waiting.lacking.size;
    },
    fill(textOf) {
      for (const waiting of statements.values()) {
        for (const [name, known] of waiting.lacking) {
          const text = known === undefined ? textOf(name) : undefined;
          if (text === undefined) continue;
          waiting.lacking.set(name, text);
          waiting.bytes += text.length;
          bytes += text.length;
        }
      }
    },
    clear() {
      statements.clear();
      bytes = 0;
      names = 0;
    },
    entries: () => statements.entries(),
    values: () => statements.values(),
    get size() {
      return statements.size;
    },
    get isTooMuch() {
      return (
        statements.size > waitingStatementsMax || bytes > waitingStatementsBytesMax || names > waitingCertificatesMax
      );
    },
  };
}

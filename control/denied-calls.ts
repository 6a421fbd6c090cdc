// Calls that nodes denied, as events: what a node tells in `observed/node`, taken over into the ledger once each. Called by node-planner.ts
// when a node's observations change. Nothing in it is taken on trust, and a node that tells without end is counted, not believed.

import { z } from 'zod';
import { sha256 } from './canonical-json.ts';
import type { NodeRecord, ObservedDenial } from './fabric.ts';
import type { Ledger } from './ledger.ts';
import { deniedCallsMax, deniedCausesMax, deniedTextCharactersMax } from './limits.ts';
import type { Database, StoredDocument } from './store.ts';

const text = z.string().max(deniedTextCharactersMax);
const denial = z.looseObject({ id: text, at: z.number(), caller: text, from: text, called: text, reason: text });

/** Oldest first; what is malformed is left out. */
function readDenials(value: unknown): ObservedDenial[] {
  if (!Array.isArray(value)) return [];
  return value
    .slice(0, deniedCallsMax)
    .flatMap((item) => {
      const read = denial.safeParse(item);
      return read.success ? [read.data] : [];
    })
    .reverse();
}

/** Different calls are different events, but a node that makes them up has no more than so many to fill the ledger with. */
const causeOf = (node: string, text: string): string =>
  `${node} ${Number.parseInt(sha256(text).slice(0, 8), 16) % deniedCausesMax}`;

/** Rejects when a database does. */
export async function takeDenials(
  fabric: Database,
  mailbox: Database,
  { name, peerId }: Pick<NodeRecord, 'name' | 'peerId'>,
  { ledger, nodeOf }: { ledger: Pick<Ledger, 'append'>; nodeOf(peerId: string): Promise<string> },
): Promise<void> {
  const told = readDenials((await mailbox.get('observed/node'))?.['denied']);
  if (told.length === 0) return;
  let news: ObservedDenial[] = [];
  await fabric.update(`denied/${name}`, (current) => {
    const seen = new Set(Array.isArray(current?.['seen']) ? (current['seen'] as unknown[]) : []);
    news = told.filter(({ id }) => !seen.has(id));
    const next = { ...current, _id: `denied/${name}`, seen: told.map(({ id }) => id) };
    return news.length === 0 ? undefined : (next as StoredDocument);
  });
  for (const { caller, from, called, reason } of news) {
    const place = from === peerId ? name : await nodeOf(from);
    const message = `its call of ${called} from ${place} was denied on ${name}: ${reason}`;
    await ledger.append({
      type: 'call-denied',
      subject: caller,
      message,
      cause: causeOf(name, `${caller} ${called} ${reason}`),
    });
  }
}

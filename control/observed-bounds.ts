// How much an admitted node may write into its mailbox on a controller: observations of instances that were planned for it, so
// many documents, leaves and bytes. Called by the composition for each mailbox that is served; all streams of a node share one.
// It must never refuse what an honest node says of its plan.

import type { Clock } from '../node-runtime/clock.ts';
import {
  observedInstancesMax,
  observedLeavesMax,
  observedMailboxBytesMax,
  observedRecountMs,
  plannedLatelyMax,
  plannedLatelyMs,
} from './limits.ts';
import { asPlan, decodePayload } from './plan-version.ts';
import type { Database, StoredDocument } from './store.ts';
import { nodeWrites, type WriteGuard } from './write-guard.ts';

export interface ObservedBounds {
  guard: WriteGuard;
  close(): void;
}

interface Leaf {
  bytes: number;
  deleted: boolean;
}
type Leaves = Map<string, Leaf>;

const instancePrefix = 'observed/instance/';

const leafOf = ({ _revisions, ...document }: StoredDocument): Leaf => ({
  bytes: Buffer.byteLength(JSON.stringify(document)),
  deleted: document._deleted === true,
});

/** The revision and those that it says it follows. */
function historyOf({ _rev = '', _revisions }: StoredDocument): string[] {
  const { start, ids } = (_revisions ?? {}) as { start?: number; ids?: string[] };
  if (start === undefined || ids === undefined) return [_rev];
  return ids.map((id, index) => `${start - index}-${id}`);
}

const bytesOf = (leaves: Leaves): number => [...leaves.values()].reduce((sum, { bytes }) => sum + bytes, 0);
const isLive = (leaves: Leaves): boolean => [...leaves.values()].some(({ deleted }) => !deleted);

export function createObservedBounds({
  node,
  mailbox,
  clock,
}: {
  node: string;
  mailbox: Database;
  clock: Clock;
}): ObservedBounds {
  const shape = nodeWrites(node);
  /** What the mailbox holds, as far as it counts. */
  const documents = new Map<string, Leaves>();
  let planned = new Set<string>();
  /** Instances that were in an earlier plan, and until when the node may still speak of them. */
  const lately = new Map<string, number>();
  let loading: Promise<void> | undefined;
  let reading: Promise<void> | undefined;
  let planIsKnown = false;
  let recountAt = clock.now() + observedRecountMs;
  const unsubscribe = mailbox.subscribe(({ id }) => {
    if (id === 'desired/plan') planIsKnown = false;
  });

  const readLeaves = async (id: string): Promise<Leaves> =>
    new Map((await mailbox.leaves(id)).map((leaf) => [leaf._rev ?? '', leafOf(leaf)]));

  async function load(): Promise<void> {
    documents.clear();
    for (const { _id } of await mailbox.list('observed/')) documents.set(_id, await readLeaves(_id));
  }

  async function readPlan(): Promise<void> {
    planIsKnown = true;
    const jws = (await mailbox.get('desired/plan'))?.['jws'];
    const plan = typeof jws === 'string' ? asPlan(decodePayload(jws)) : undefined;
    const next = new Set(plan?.instances.map(({ name }) => name));
    for (const name of planned) {
      if (next.has(name)) continue;
      lately.delete(name);
      lately.set(name, clock.now() + plannedLatelyMs);
    }
    for (const name of lately.keys()) {
      if (lately.size <= plannedLatelyMax) break;
      lately.delete(name);
    }
    planned = next;
  }

  /** As the mailbox has it now: a node hears of a plan no sooner than this. */
  async function knowPlan(): Promise<void> {
    while (!planIsKnown || reading !== undefined) {
      reading ??= readPlan().finally(() => {
        reading = undefined;
      });
      try {
        await reading;
      } catch (error) {
        planIsKnown = false;
        throw error;
      }
    }
  }

  const isPlanned = (instance: string): boolean =>
    planned.has(instance) || (lately.get(instance) ?? Number.NEGATIVE_INFINITY) > clock.now();

  /** Why the mailbox would be too large with it. */
  function excess(document: StoredDocument, leaves: Leaves): string | undefined {
    if (!documents.has(document._id) && documents.size >= observedInstancesMax)
      return `the mailbox has ${observedInstancesMax} observed documents`;
    const followed = new Set(historyOf(document));
    const left = [...leaves].filter(([revision]) => !followed.has(revision));
    if (left.length >= observedLeavesMax && left.length === leaves.size)
      return `it has ${observedLeavesMax} leaves, and this would be one more`;
    let bytes = leafOf(document).bytes - bytesOf(leaves) + left.reduce((sum, [, leaf]) => sum + leaf.bytes, 0);
    for (const others of documents.values()) bytes += bytesOf(others);
    return bytes > observedMailboxBytesMax
      ? `the mailbox would have more than ${observedMailboxBytesMax} bytes of observations`
      : undefined;
  }

  function account(document: StoredDocument, leaves: Leaves): void {
    const { _id, _rev = '' } = document;
    for (const revision of historyOf(document)) leaves.delete(revision);
    leaves.set(_rev, leafOf(document));
    // What is gone takes no place; should it be planned again, it is read again.
    if (isLive(leaves)) documents.set(_id, leaves);
    else documents.delete(_id);
  }

  return {
    async guard(document, id) {
      const refused = await shape(document, id);
      if (refused !== undefined) return refused;
      loading ??= load().catch((error: unknown) => {
        loading = undefined;
        throw error;
      });
      await loading;
      await knowPlan();
      const known = documents.get(id);
      if (known === undefined && id.startsWith(instancePrefix) && !isPlanned(id.slice(instancePrefix.length)))
        return 'no such instance was planned for this node lately';
      const read = known ?? (await readLeaves(id));
      // Another stream may have written it meanwhile.
      const leaves = documents.get(id) ?? read;
      const reason = excess(document, leaves);
      if (reason === undefined) account(document, leaves);
      else if (clock.now() >= recountAt) {
        // What was counted may never have been stored, or was merged into what was there: it is read again. What this very batch
        // brought may be counted as absent then, so a limit can be passed by one batch.
        recountAt = clock.now() + observedRecountMs;
        loading = undefined;
      }
      return reason;
    },
    close: unsubscribe,
  };
}

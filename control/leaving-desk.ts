// Watches the end of instances that leave in an order across nodes (leaving.ts): whether their nodes still speak of them, and when that
// is not waited for any longer. Called by the planner alone while it holds the lease. All that it remembers it can read again; it must
// never open the mailbox of a node that is no member.

import type { Clock, TimerId } from '../node-runtime/clock.ts';
import type { PlacementRecord } from './fabric.ts';
import { findLeavers, type Leavers, settleLeavers, withLeaving } from './leaving.ts';
import { leavingMarginMs, stopTimeoutMsMax } from './limits.ts';
import type { Database } from './store.ts';

export interface LeavingDesk {
  /** The records to write: `wanted`, with who leaves. */
  settle(
    wanted: readonly PlacementRecord[],
    stored: readonly PlacementRecord[],
    members: ReadonlySet<string>,
  ): Promise<PlacementRecord[]>;
  close(): void;
}

/** One node's mailbox. */
interface Watch {
  database: Database;
  /** By instance that is asked for: whether the node speaks of it. What it does not speak of any more has ended. */
  there: Map<string, boolean>;
  unsubscribe: () => void;
}

const prefix = 'observed/instance/';

function askedByNode(leavers: readonly Leavers[]): Map<string, Set<string>> {
  const asked = new Map<string, Set<string>>();
  for (const { leaving } of leavers) {
    for (const [instance, { node }] of Object.entries(leaving))
      asked.set(node, (asked.get(node) ?? new Set()).add(instance));
  }
  return asked;
}

export function createLeavingDesk({
  mailbox,
  clock,
  schedule,
  onLate,
}: {
  mailbox: (node: string) => Promise<Database>;
  clock: Clock;
  /** Asks for another round. */
  schedule: () => void;
  /** Others wait for it no longer. */
  onLate: (instance: string, node: string) => void;
}): LeavingDesk {
  const watches = new Map<string, Watch>();
  let timer: TimerId | undefined;

  /** True when it has ended by now. */
  const look = async ({ database, there }: Watch, instance: string): Promise<boolean> => {
    // What cannot be read may be there: it is waited for within its bound.
    const gone = (await database.get(`${prefix}${instance}`).catch(() => ({ _id: instance }))) === undefined;
    const news = gone && there.get(instance) === true;
    if (news) there.set(instance, false);
    return news;
  };

  const open = async (node: string): Promise<Watch> => {
    const database = await mailbox(node);
    const watch: Watch = { database, there: new Map(), unsubscribe: () => undefined };
    watch.unsubscribe = database.subscribe(({ id }) => {
      const instance = id.slice(prefix.length);
      if (!id.startsWith(prefix) || watch.there.get(instance) !== true) return;
      look(watch, instance).then(
        (news) => news && schedule(),
        () => undefined,
      );
    });
    watches.set(node, watch);
    return watch;
  };

  const ask = async (node: string, instances: ReadonlySet<string>): Promise<void> => {
    const watch = watches.get(node) ?? (await open(node));
    for (const instance of watch.there.keys()) if (!instances.has(instance)) watch.there.delete(instance);
    const fresh = [...instances].filter((instance) => !watch.there.has(instance));
    // Before it is read: its end in between must not be missed.
    for (const instance of fresh) watch.there.set(instance, true);
    await Promise.all(fresh.map((instance) => look(watch, instance)));
  };

  const keepOnly = (nodes: ReadonlyMap<string, unknown>): void => {
    for (const [node, { unsubscribe }] of watches) {
      if (nodes.has(node)) continue;
      unsubscribe();
      watches.delete(node);
    }
  };

  const wakeAt = (at: number): void => {
    clock.clearTimeout(timer);
    timer = undefined;
    // A clock that was set back must not make it wait for longer.
    const delayMs = Math.min(Math.max(0, at - clock.now()), stopTimeoutMsMax + leavingMarginMs);
    if (at !== Number.POSITIVE_INFINITY) timer = clock.setTimeout(schedule, delayMs);
  };

  return {
    async settle(wanted, stored, members) {
      const leavers = findLeavers(wanted, stored);
      const asked = askedByNode(leavers);
      for (const node of asked.keys()) if (!members.has(node)) asked.delete(node);
      keepOnly(asked);
      // One mailbox that cannot be opened keeps nobody else waiting for longer than its bound.
      await Promise.all([...asked].map(([node, instances]) => ask(node, instances).catch(() => undefined)));
      const isThere = (node: string, instance: string): boolean =>
        members.has(node) && (watches.get(node)?.there.get(instance) ?? true);
      const settled = leavers.map((one) => settleLeavers(one, isThere, clock.now()));
      for (const { instance, node } of settled.flatMap(({ late }) => late)) onLate(instance, node);
      wakeAt(Math.min(...settled.map(({ nextAt }) => nextAt)));
      return withLeaving(wanted, settled);
    },
    close() {
      keepOnly(new Map());
      clock.clearTimeout(timer);
      timer = undefined;
    },
  };
}

// The planner: while this controller holds the lease it turns the fabric's documents into places and each node's signed plan. Rounds are
// coalesced and never overlap. Called by the composition; it must never write without the lease, nor let one node stop the others.

import type { Clock, TimerId } from '../node-runtime/clock.ts';
import type { SignPayload, VerifyChain, VerifySigned } from '../pki/identity.ts';
import { canonicalJson } from './canonical-json.ts';
import type { NodeRecord, PlacementRecord } from './fabric.ts';
import { createFabricMirror, type FabricMirror } from './fabric-mirror.ts';
import { gatewaysByNode } from './gateway-plan.ts';
import type { Lease } from './lease.ts';
import { createLeavingDesk } from './leaving-desk.ts';
import type { Ledger } from './ledger.ts';
import { plannerRetryMs, plannerRetryMsMax, plannerWritersMax, reportedMax } from './limits.ts';
import { createNodePlanner } from './node-planner.ts';
import { place } from './placement.ts';
import type { MicroserviceName } from './plan.ts';
import { inputsByNode } from './plan-inputs.ts';
import { createStageDesk, placeStages, stageByNode } from './staging.ts';
import type { Database, StoredDocument } from './store.ts';

export interface PlannerDependencies {
  fabric: Database;
  mailbox: (node: string) => Promise<Database>;
  lease: Pick<Lease, 'current' | 'subscribe'>;
  clock: Clock;
  sign: SignPayload;
  /** The chain of the node's new authority: base64 DER, leaf first. */
  issueAuthority: (
    node: NodeRecord,
    covers: MicroserviceName[],
    issueNumber: number,
    publicNames: string[],
  ) => string[];
  ledger: Pick<Ledger, 'append'>;
  fabricId: string;
  /** When given, a stored plan counts only if a controller signed it. */
  verifySigned?: VerifySigned;
  /** When given, a stored authority that does not verify, or covers something else, is issued again after a restart. */
  verifyChain?: VerifyChain;
  /** Names of nodes that can be heard: new instances prefer them. */
  reachable?: () => ReadonlySet<string>;
}

export interface Planner {
  /** Plans at once when the lease is held, and resolves when that round is over. Idempotent. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Issues the node's authority again, with the next number; resolves when the round that did it is over. */
  renewAuthority(node: string): Promise<void>;
  /** Resolves when nothing is left to be written (what failed waits for its retry). */
  idle(): Promise<void>;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function createPlanner(dependencies: PlannerDependencies): Planner {
  const { fabric, lease, clock, ledger, reachable } = dependencies;
  const reported = new Set<string>();
  let mirror: FabricMirror | undefined;
  let leaseUnsubscribe: (() => void) | undefined;
  let round: Promise<void> | undefined;
  let again = false;
  let retry: TimerId | undefined;
  let retryMs = plannerRetryMs;

  const note = (type: string, subject: string, message: string, once = false): void => {
    const key = `${type} ${subject} ${message}`;
    if (once && reported.has(key)) return;
    if (reported.size >= reportedMax) reported.clear();
    if (once) reported.add(key);
    // The ledger is not what keeps work running: planning goes on without it.
    ledger.append({ type, subject, message }).catch(() => undefined);
  };
  const holdsLease = (): boolean => mirror !== undefined && lease.current() !== undefined;
  const stageDesk = createStageDesk({ fabric, clock, holdsLease, schedule });
  const onLate = (instance: string, node: string): void =>
    note('end-not-awaited', instance, `it has not ended on ${node} in time: what it depends on stops without it`);
  const leavingDesk = createLeavingDesk({ mailbox: dependencies.mailbox, clock, schedule, onLate });
  const nodePlanner = createNodePlanner({ dependencies, holdsLease, schedule, note });

  const writePlacements = async (
    wanted: readonly PlacementRecord[],
    stored: readonly PlacementRecord[],
  ): Promise<void> => {
    const before = new Map(stored.map((record) => [record._id as string, record]));
    const content = ({ _rev, ...record }: PlacementRecord): string => canonicalJson(record);
    for (const record of wanted) {
      const old = before.get(record._id);
      before.delete(record._id);
      if (old !== undefined && content(old) === content(record)) continue;
      if (holdsLease()) await fabric.update(record._id, () => ({ ...record }) as unknown as StoredDocument);
    }
    for (const id of before.keys()) if (holdsLease()) await fabric.remove(id);
  };

  /** False when something could not be written. */
  const runRound = async (): Promise<boolean> => {
    if (mirror === undefined || !holdsLease()) return true;
    await mirror.refresh();
    const nodes = mirror.all('node');
    const applications = mirror.all('application');
    const contents = { configs: mirror.all('config'), secrets: mirror.all('secret') };
    const stored = mirror.all('placement');
    const heard = reachable?.();
    const members = nodes.filter(({ revoked }) => revoked === undefined);
    const wanted = place({ applications, nodes, previous: stored, ...(heard !== undefined && { reachable: heard }) });
    const places = await leavingDesk.settle(wanted, stored, new Set(members.map(({ name }) => name)));
    const placed = writePlacements(places, stored);
    // Whoever waits for it sees the failure; a round without any node waits at its end.
    placed.catch(() => undefined);
    nodePlanner.keepOnly(new Set(members.map(({ name }) => name)));
    const number = nodePlanner.generation() + 1;
    const stages = await stageDesk.current(mirror.all('stage'));
    const queue = inputsByNode({ nodes: members, applications, ...contents, placements: places });
    const staged = stageByNode(placeStages({ applications, stages, nodes, previous: places }));
    const published = gatewaysByNode({ gateways: mirror.all('gateway'), applications, secrets: contents.secrets });
    for (const inputs of queue) {
      inputs.stage = staged.get(inputs.node.name) ?? [];
      Object.assign(inputs, published(inputs));
    }
    let good = true;
    const worker = async (): Promise<void> => {
      for (let inputs = queue.shift(); inputs !== undefined && holdsLease(); inputs = queue.shift()) {
        try {
          await nodePlanner.plan(inputs, { number, placed });
        } catch (error) {
          good = false;
          note('plan-not-written', inputs.node.name, messageOf(error), true);
        }
      }
    };
    await Promise.all(Array.from({ length: plannerWritersMax }, worker));
    await placed;
    return good;
  };

  const retryLater = (): void => {
    if (mirror === undefined || retry !== undefined) return;
    retry = clock.setTimeout(() => {
      retry = undefined;
      schedule();
    }, retryMs);
    retryMs = Math.min(retryMs * 2, plannerRetryMsMax);
  };

  const runUntilQuiet = async (): Promise<void> => {
    while (again && mirror !== undefined) {
      again = false;
      const good = await runRound().catch((error: unknown) => {
        note('planning-failed', 'planner', messageOf(error), true);
        return false;
      });
      if (good) retryMs = plannerRetryMs;
      else retryLater();
    }
  };

  function schedule(): void {
    again = true;
    if (mirror === undefined || round !== undefined) return;
    // A microtask later, so that changes of one moment are one round.
    round = Promise.resolve()
      .then(runUntilQuiet)
      .finally(() => {
        round = undefined;
        if (again) schedule();
      });
  }

  const idle = async (): Promise<void> => {
    while (round !== undefined) await round;
  };

  return {
    async start() {
      if (mirror !== undefined) return;
      const onMalformed = (reason: string): void => note('document-malformed', 'fabric', reason, true);
      mirror = createFabricMirror({ fabric, onChange: schedule, onMalformed });
      leaseUnsubscribe = lease.subscribe(schedule);
      schedule();
      await idle();
    },
    async stop() {
      mirror?.close();
      mirror = undefined;
      leaseUnsubscribe?.();
      clock.clearTimeout(retry);
      retry = undefined;
      again = false;
      await idle();
      stageDesk.close();
      leavingDesk.close();
      nodePlanner.keepOnly(new Set());
    },
    async renewAuthority(node) {
      nodePlanner.renew(node);
      schedule();
      await idle();
    },
    idle,
  };
}

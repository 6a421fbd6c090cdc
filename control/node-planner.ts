// One node's part of a round: compile its plan, and write files, authority and plan into its mailbox in that order. Called by planner.ts
// alone. It must never write once the lease is gone, nor write what is there already.

import { canonicalJson, sha256 } from './canonical-json.ts';
import { takeDenials } from './denied-calls.ts';
import { getRecord, listRecords } from './documents.ts';
import { PlanTooLargeError } from './errors.ts';
import type { NodeRecord } from './fabric.ts';
import { publicNamesOf } from './gateway-plan.ts';
import { planBytesMax } from './limits.ts';
import { createMailboxDesk, type MailboxDesk, planContent } from './mailbox-desk.ts';
import { takeEngines } from './node-engines.ts';
import { takeHardware } from './node-hardware.ts';
import type { MicroserviceName, Plan } from './plan.ts';
import { type CompiledPlan, compilePlan, coveredBy } from './plan-compiler.ts';
import { inputsKey, type NodeInputs } from './plan-inputs.ts';
import { compareVersions, decodePayload } from './plan-version.ts';
import type { PlannerDependencies } from './planner.ts';
import type { Database } from './store.ts';
import { createSpecCompiler } from './workload-spec.ts';

export const planType = 'selvedge-plan+jws';
export const ticketType = 'selvedge-ticket+jws';

export interface PlanningRound {
  /** Generation of the plans that it writes. */
  number: number;
  /** Resolves when the round's places are stored: no authority and no plan is written before. */
  placed: Promise<void>;
}

export interface NodePlanner {
  /** Rejects with why this node's mailbox could not be brought up to date. */
  plan(inputs: NodeInputs, round: PlanningRound): Promise<void>;
  /** The next round issues the node's authority again. */
  renew(node: string): void;
  /** Lets go of nodes that are no longer there. */
  keepOnly(nodes: ReadonlySet<string>): void;
  /** The highest generation that was seen or written. */
  generation(): number;
}

interface NodeState {
  desk: MailboxDesk | undefined;
  /** Inputs of the last round that succeeded. */
  planned: string | undefined;
  /** Chain, services and key of the authority that is known to be right. */
  authority: string | undefined;
  renew: boolean;
  changed: boolean;
}

function nameKey({ project, application, microservice }: MicroserviceName): string {
  return `${project}/${application}/${microservice}`;
}

export function createNodePlanner({
  dependencies,
  holdsLease,
  schedule,
  note,
}: {
  dependencies: PlannerDependencies;
  holdsLease: () => boolean;
  /** Asks for another round. */
  schedule: () => void;
  /** Writes an event; the same one only once when `once` is set. */
  note: (type: string, subject: string, message: string, once?: boolean) => void;
}): NodePlanner {
  const { fabric, mailbox, lease, sign, issueAuthority, fabricId, verifySigned, verifyChain, ledger } = dependencies;
  const specs = createSpecCompiler();
  const states = new Map<string, NodeState>();
  /**
   * Counted over all nodes, so that of two tickets for one instance that moved from node to node within a term the later placement
   * has the higher one.
   */
  let generation = 0;

  const readPlan = (jws: string): unknown => {
    if (verifySigned === undefined) return decodePayload(jws);
    const { payload, signer } = verifySigned(jws, planType);
    return signer.kind === 'controller' ? payload : undefined;
  };

  const stateOf = (name: string): NodeState => {
    const fresh: NodeState = { desk: undefined, planned: undefined, authority: undefined, renew: false, changed: true };
    const state = states.get(name) ?? fresh;
    states.set(name, state);
    return state;
  };

  const nodeOf = async (peerId: string): Promise<string> =>
    (await listRecords(fabric, 'node')).find((node) => node.peerId === peerId)?.name ?? peerId;

  /** A change of the record brings the next round. */
  const learnBox = async (name: string, database: Database): Promise<void> => {
    try {
      const record = await getRecord(fabric, 'node', name);
      if (record === undefined || !holdsLease()) return;
      await takeEngines(fabric, database, record);
      await takeHardware(fabric, database, record);
      await takeDenials(fabric, database, record, { ledger, nodeOf });
    } catch (error) {
      note('engines-not-noted', name, error instanceof Error ? error.message : String(error), true);
    }
  };

  const openDesk = async (name: string, state: NodeState): Promise<MailboxDesk> => {
    if (state.desk !== undefined) return state.desk;
    const database = await mailbox(name);
    const onChange = (): void => {
      state.changed = true;
      schedule();
    };
    const onObserved = (): void => void learnBox(name, database);
    state.desk = createMailboxDesk({ database, readPlan, onChange, onObserved });
    onObserved();
    return state.desk;
  };

  /** Whether a chain that this process did not issue is for this key and these services. */
  const isFor = (
    chain: string[],
    node: NodeRecord,
    { covers, publicNames }: Pick<CompiledPlan, 'covers' | 'publicNames'>,
    previous: Plan | undefined,
  ): boolean => {
    if (verifyChain === undefined) {
      const before = previous && [coveredBy(previous), publicNamesOf(previous.gateways ?? [])];
      return canonicalJson(before ?? null) === canonicalJson([covers, publicNames]);
    }
    try {
      const identity = verifyChain(chain.map((certificate) => Buffer.from(certificate, 'base64')));
      return (
        identity.kind === 'node' &&
        identity.peerId === node.peerId &&
        identity.authorityKeySha256 === sha256(Buffer.from(node.authorityPublicKey, 'base64')) &&
        canonicalJson(identity.covers.map(nameKey).sort()) === canonicalJson(covers.map(nameKey).sort()) &&
        canonicalJson([...(identity.publicNames ?? [])].sort()) === canonicalJson(publicNames)
      );
    } catch {
      return false;
    }
  };

  /** Issues what is wanting; the function that it returns writes it. */
  const settleAuthority = async (
    state: NodeState,
    desk: MailboxDesk,
    node: NodeRecord,
    compiled: Pick<CompiledPlan, 'covers' | 'publicNames'>,
  ): Promise<(() => Promise<void>) | undefined> => {
    const chain = desk.authority();
    const { covers, publicNames } = compiled;
    const keyOf = (held: string[]): string => canonicalJson([held, covers, publicNames, node.authorityPublicKey]);
    if (chain !== undefined && !state.renew) {
      const first = state.authority === undefined;
      // What this process issued counts without a look: a verifier that refuses it must not make it issue for ever.
      if (state.authority === keyOf(chain)) return undefined;
      if (first && isFor(chain, node, compiled, desk.plan())) {
        state.authority = keyOf(chain);
        return undefined;
      }
    }
    // What cannot be issued (the issuer's own certificate is outside its time) must not change the record, which would bring another round.
    let issueNumber = node.issueNumber + 1;
    const expected = issueAuthority(node, covers, issueNumber, publicNames);
    // The number is stored before it is used: two authorities never share one.
    await fabric.update(node._id, (current) => {
      if (current === undefined) return undefined;
      issueNumber = Number(current.issueNumber) + 1;
      return { ...current, issueNumber };
    });
    const again = issueNumber === node.issueNumber + 1;
    const issued = again ? expected : issueAuthority(node, covers, issueNumber, publicNames);
    return async () => {
      await desk.writeAuthority(issued);
      state.renew = false;
      state.authority = keyOf(issued);
      const names = [...covers.map(nameKey), ...publicNames].join(', ');
      note('authority-issued', node.name, `number ${issueNumber}, for ${names === '' ? 'no services' : names}`);
    };
  };

  const settlePlan = async (
    state: NodeState,
    desk: MailboxDesk,
    inputs: NodeInputs,
    { number, placed }: PlanningRound,
  ): Promise<void> => {
    const held = lease.current();
    if (held === undefined || !holdsLease()) return;
    const { node, applications, placements, configs, secrets, balancings } = inputs;
    const previous = desk.plan();
    generation = Math.max(generation, previous?.generation ?? 0);
    const version = { ...held, generation: Math.max(number, generation + 1) };
    if (previous !== undefined && compareVersions(previous, version) >= 0) {
      const places = `epoch ${previous.epoch}, term ${previous.term}; the lease is at ${held.epoch}, ${held.term}`;
      note('plan-ahead-of-lease', node.name, `its plan is of ${places}: it ignores what is written now`, true);
    }
    const compiled = compilePlan({
      ...{ node, applications, placements, balancings, version, fabricId, previous, specs },
      configs: [...configs.values()],
      stage: inputs.stage,
      staying: inputs.staying,
      gateways: inputs.gateways,
      secrets: [...secrets.values()],
      signTicket: (ticket) => sign(ticketType, ticket),
    });
    for (const problem of compiled.problems) note('plan-incomplete', node.name, problem, true);
    const changed = previous === undefined || planContent(previous) !== planContent(compiled.plan);
    const jws = changed ? sign(planType, compiled.plan) : '';
    if (jws.length > planBytesMax) throw new PlanTooLargeError(node.name, jws.length, planBytesMax);
    const [writeAuthority] = await Promise.all([
      holdsLease() ? settleAuthority(state, desk, node, compiled) : undefined,
      desk.writeFiles(compiled.files),
      placed,
    ]);
    if (!holdsLease()) return;
    if (changed) generation = Math.max(generation, version.generation);
    // In this order and without waiting in between, so that the node gets both with one look.
    await Promise.all([writeAuthority?.(), changed ? desk.writePlan(compiled.plan, jws) : undefined]);
    if (holdsLease()) await desk.removeUnusedFiles();
  };

  return {
    async plan(inputs, round) {
      const state = stateOf(inputs.node.name);
      const key = inputsKey(inputs);
      if (state.planned === key && !state.changed && !state.renew) return;
      state.planned = undefined;
      const desk = await openDesk(inputs.node.name, state);
      state.changed = false;
      await desk.refresh(holdsLease);
      await settlePlan(state, desk, inputs, round);
      if (holdsLease()) state.planned = key;
    },
    renew(node) {
      stateOf(node).renew = true;
    },
    keepOnly(nodes) {
      for (const [name, { desk }] of states) {
        if (nodes.has(name)) continue;
        desk?.close();
        states.delete(name);
      }
    },
    generation: () => generation,
  };
}

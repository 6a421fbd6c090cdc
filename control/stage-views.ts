// How far the things are that are fetched ahead: what is wanted where, and what nodes said of it. Pure; called by the views. It must
// never call something staged that answers an earlier try.

import { z } from 'zod';
import type { ObservedNode, ObservedStage } from './fabric.ts';
import { nodeStageItemsMax, stageReasonCharactersMax } from './limits.ts';
import type { Plan } from './plan.ts';
import { compareVersions } from './plan-version.ts';
import { type StagePlace, stagedThing } from './staging.ts';
import type { StagedView, StageView } from './views.ts';

const observed = z.array(
  z.looseObject({
    id: z.string(),
    askedAt: z.number(),
    state: z.enum(['waiting', 'pulling', 'staged', 'failed']),
    reason: z.string(),
  }),
);

/** A node writes it: nothing in it is taken on trust. */
function readStaged(node: ObservedNode | undefined): ObservedStage[] {
  const read = observed.safeParse(node?.staged ?? []);
  return read.success ? read.data.slice(0, nodeStageItemsMax) : [];
}

export interface StageFacts {
  /** What the node's mailbox holds. */
  mailbox(node: string): { plan: Plan | undefined; node: ObservedNode | undefined } | undefined;
  heard(node: string): boolean;
}

type Standing = Pick<StagedView, 'state' | 'reason'>;

function standingOf({ item, node, unplaced }: StagePlace, { mailbox, heard }: StageFacts): Standing {
  const failed = (reason: string): Standing => ({ state: 'failed', reason });
  const waiting = (reason: string): Standing => ({ state: 'waiting', reason });
  if (node === undefined) {
    const reasons = Object.entries(unplaced ?? {}).map(([name, why]) => `${name}: ${why}`);
    return failed(reasons.length === 0 ? 'there is no node' : `no node may run it: ${reasons.join('; ')}`);
  }
  const { plan, node: said } = mailbox(node) ?? {};
  const planned = plan?.stage?.find(({ id }) => id === item.id);
  const answer = readStaged(said).find(({ id, askedAt }) => id === item.id && askedAt >= item.askedAt);
  if (answer !== undefined) return { state: answer.state, reason: answer.reason.slice(0, stageReasonCharactersMax) };
  if (!heard(node)) return waiting(`${node} is unreachable`);
  if (planned === undefined || planned.askedAt < item.askedAt)
    return (plan?.stage?.length ?? 0) >= nodeStageItemsMax
      ? failed(`${node} fetches ${nodeStageItemsMax} other things ahead already`)
      : waiting('its plan is being written');
  // What a node obeys and what it stages are said at once.
  const obeyed = plan !== undefined && said?.version !== undefined && compareVersions(said.version, plan) >= 0;
  return obeyed
    ? failed(`${node} runs ${said.software}, which does not stage: upgrade it`)
    : waiting(`${node} has not taken its plan yet`);
}

/** By `<project>/<application>`. */
export function stageViews(
  places: readonly StagePlace[],
  stages: readonly StagePlace['stage'][],
  facts: StageFacts,
): Map<string, StageView> {
  const views = new Map<string, StageView>();
  for (const { project, name, askedAt, expiresAt } of stages)
    views.set(`${project}/${name}`, { project, application: name, askedAt, expiresAt, things: [] });
  for (const one of places) {
    const { stage, microservice, item, node } = one;
    views.get(`${stage.project}/${stage.name}`)?.things.push({
      ...{ microservice, engine: item.spec.engine, thing: stagedThing(item.spec) },
      ...(node !== undefined && { node }),
      ...standingOf(one, facts),
    });
  }
  return views;
}

/** One line for each application of which not everything is there yet. */
export function stageNotices(views: Iterable<StageView>): string[] {
  return [...views].flatMap(({ project, application, things }) => {
    const open = things.filter(({ state }) => state !== 'staged');
    const [first] = [...open].sort(
      (left, right) => Number(right.state === 'pulling') - Number(left.state === 'pulling'),
    );
    if (first === undefined) return [];
    const about = `${first.node ?? 'no node'}: ${first.reason === '' ? `${first.thing} is ${first.state}` : first.reason}`;
    return [
      `staging ${project}/${application}: ${things.length - open.length} of ${things.length} are there; ${about}`,
    ];
  });
}

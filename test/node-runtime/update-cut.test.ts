// The link is cut between any two frames, and between any two documents, of an update; then the node starts with no network.
// It obeys the whole old plan or the whole new one, and the new one once the link is back. Real replication between the
// mailbox of a controller and that of the node, through the guards that member.ts puts there.

import test, { type ExecutionContext } from 'ava';
import { createRemotePeer, type RemotePeer } from '../../control/remote-peer.ts';
import { replicate } from '../../control/replicate.ts';
import { createReplicationServer } from '../../control/replication-server.ts';
import type { Database, ReplicationPeer, StoredDocument } from '../../control/store.ts';
import { controllerWrites, guardedPeer, nodeWrites } from '../../control/write-guard.ts';
import type { FrameStream } from '../../mesh/mesh.ts';
import { loadObeyedPlan, type ObeyedPlan, sha256Hex } from '../../node-runtime/obeyed-plan.ts';
import { replicateProtocol } from '../../node-runtime/replicas.ts';
import { createSimStore } from '../../simulations/sim-store.ts';
import { createFramePair } from '../frame-pair.ts';
import {
  createPlanBox,
  createPlanSite,
  fileDocument,
  nodeName,
  type PlanBox,
  type PlannedFile,
  type PlanSite,
} from './plan-world.ts';
import { createSimFabric } from './sim-fabric.ts';

const oldGeneration = 1;
const newGeneration = 2;

/** The last one has so many lines. */
const filesOf = (generation: number, lines: number): PlannedFile[] =>
  [1, 2, lines].map((times, index) => ({
    slot: `default.settings.${index}`,
    content: `file ${index} of ${generation}\n`.repeat(times),
  }));
/** Enough for more than one frame of replication. */
const longLines = 40_000;

/** In the order of the planner: files, authority, plan. */
function documentsOf(site: PlanSite, generation: number, lines: number): StoredDocument[] {
  const files = filesOf(generation, lines);
  return [
    ...files.map((file): StoredDocument => ({ ...fileDocument(file) })),
    { _id: 'desired/authority', chain: site.authority(generation + 1) },
    { _id: 'desired/plan', jws: site.signed(site.planOf(generation, files)) },
  ];
}

interface Link {
  /** Frames of both directions that got through. */
  frames(): number;
  pull(): Promise<unknown>;
  push(): Promise<unknown>;
  close(): void;
  /** Ids of documents that either side would not have. */
  refused: string[];
}

/** What a link of `box` with a controller's mailbox carries, until `framesMax` frames have passed. */
function linkTo(served: Database, box: PlanBox, framesMax = Number.POSITIVE_INFINITY): Link {
  const pair = createFramePair(replicateProtocol);
  let frames = 0;
  const refused: string[] = [];
  const counted = (stream: FrameStream): FrameStream => ({
    ...stream,
    async send(frame) {
      if (frames >= framesMax) {
        const cut = new Error('the link is cut');
        pair.near.abort(cut);
        throw cut;
      }
      frames += 1;
      await stream.send(frame);
    },
  });
  const serve = createReplicationServer({
    resolve: async (_from, kind) =>
      kind === 'mailbox' ? { database: served, guard: nodeWrites(nodeName) } : undefined,
    onRefused: ({ document, reason }) => void refused.push(document ?? reason),
  });
  void serve(counted(pair.far), box.site.node.peerId);
  const remote: RemotePeer = createRemotePeer(counted(pair.near), { database: 'mailbox', onChanged: () => undefined });
  const local = guardedPeer(box.mailbox.peer, controllerWrites, ({ id }) => void refused.push(id));
  return {
    frames: () => frames,
    pull: () => replicate(remote, local),
    push: () => replicate(box.mailbox.peer, remote),
    close: () => remote.close(),
    refused,
  };
}

interface World {
  box: PlanBox;
  served: Database;
  lines: number;
  update(): Promise<void>;
}

/** A node that obeys the old plan, in step with its controller; `update` writes the new plan there. */
async function createWorld(site: PlanSite, lines = 3): Promise<World> {
  const box = await createPlanBox(site);
  const served = await createSimStore().open(`mailbox/${nodeName}`);
  const write = async (documents: StoredDocument[]): Promise<void> => {
    for (const document of documents) await served.update(document._id, () => document);
  };
  await write(documentsOf(site, oldGeneration, lines));
  await box.start();
  await box.write('observed/node', { node: nodeName });
  const link = linkTo(served, box);
  await link.pull();
  await link.push();
  link.close();
  await box.settle();
  return { box, served, lines, update: () => write(documentsOf(site, newGeneration, lines)) };
}

/** Plan and files belong together, and nothing is missing. */
function assertWhole(t: ExecutionContext, obeyed: ObeyedPlan | undefined, lines: number, where: string): void {
  const generation = obeyed?.plan.generation ?? 0;
  t.true(generation === oldGeneration || generation === newGeneration, `${where}: generation ${generation}`);
  const wanted = filesOf(generation, lines);
  t.is(obeyed?.files.size, wanted.length, where);
  for (const [index, { sha256 }] of (obeyed?.plan.files ?? []).entries()) {
    const content = obeyed?.files.get(sha256);
    t.true(content !== undefined && sha256Hex(content) === sha256, where);
    t.true(Buffer.from(content ?? []).equals(Buffer.from(wanted[index]?.content ?? '')), where);
  }
}

/** A start without any network obeys something whole; then the link is back, and the new plan is obeyed. */
async function assertStartsAndCatchesUp(
  t: ExecutionContext,
  { box, served, lines }: World,
  where: string,
): Promise<number> {
  await box.stop();
  const { atStart } = await box.start();
  assertWhole(t, atStart, lines, `${where}, from the disk`);
  assertWhole(t, box.obeyed.at(-1), lines, `${where}, after a look into the mailbox`);
  const withoutNetwork = box.generation() ?? 0;
  const link = linkTo(served, box);
  await link.pull();
  await link.push();
  link.close();
  t.deepEqual(link.refused, [], where);
  await box.settle();
  t.is(box.generation(), newGeneration, `${where}, with the link back`);
  assertWhole(t, box.obeyed.at(-1), lines, where);
  assertWhole(t, await loadObeyedPlan(box.disk), lines, where);
  t.is(box.authorities.at(-1), newGeneration + 1, where);
  t.deepEqual(box.ignored, [], where);
  await box.stop();
  return withoutNetwork;
}

test('the link cut after any frame of an update', async (t) => {
  const site = createPlanSite();
  const seen: number[] = [];
  for (let framesMax = 0; ; framesMax += 1) {
    const world = await createWorld(site, longLines);
    await world.update();
    const link = linkTo(world.served, world.box, framesMax);
    const cut = await link.pull().then(
      () => false,
      () => true,
    );
    link.close();
    await world.box.settle();
    seen.push(await assertStartsAndCatchesUp(t, world, `cut after ${framesMax} frames`));
    if (!cut) break;
  }
  t.true(seen.length > 10, `only ${seen.length} places were cut`);
  t.is(seen[0], oldGeneration);
  t.is(seen.at(-1), newGeneration);
  t.deepEqual(seen, seen.toSorted(), 'once it has come, it stays');
});

/** The peer of which only documents with these ids can be written; then the power is off. */
function takingOnly(peer: ReplicationPeer, ids: ReadonlySet<string>): ReplicationPeer {
  return {
    ...peer,
    async bulkDocs(request, options) {
      const docs = (request['docs'] as StoredDocument[]).filter(({ _id }) => ids.has(_id));
      await peer.bulkDocs({ ...request, docs }, options);
      throw new Error('the power was cut');
    },
  };
}

test('any part of an update’s documents and no more, in whatever order they came', async (t) => {
  const site = createPlanSite();
  const documents = documentsOf(site, newGeneration, 1).map(({ _id }) => _id);
  let complete = 0;
  for (let choice = 0; choice < 1 << documents.length; choice += 1) {
    const arrived = new Set(documents.filter((_, index) => choice & (1 << index)));
    const world = await createWorld(site);
    await world.update();
    const local = guardedPeer(takingOnly(world.box.mailbox.peer, arrived), controllerWrites, () => undefined);
    await t.throwsAsync(replicate(world.served.peer, local), { message: /power was cut/ });
    await world.box.settle();
    const where = `with ${[...arrived].join(', ') || 'nothing'}`;
    const whole = documents.every((id) => id === 'desired/authority' || arrived.has(id));
    t.is(await assertStartsAndCatchesUp(t, world, where), whole ? newGeneration : oldGeneration, where);
    complete += Number(whole);
  }
  t.is(complete, 2, 'with and without the authority');
});

test('a mailbox that a power cut set back in the middle of an update', async (t) => {
  const site = createPlanSite();
  const world = await createWorld(site);
  const { box, served } = world;
  const before = box.store.snapshot();
  await world.update();
  const link = linkTo(served, box);
  await link.pull();
  await box.write('observed/node', { node: nodeName, version: { epoch: 1, term: 1, generation: newGeneration } });
  await box.write('observed/node', { node: nodeName, again: true });
  await link.push();
  link.close();
  await box.settle();
  t.is(box.generation(), newGeneration);
  await box.stop();

  // The plan had been synced beside it; what the mailbox had was not.
  box.store.restore(before);
  const { atStart } = await box.start();
  t.is(atStart?.plan.generation, newGeneration);
  t.is(box.generation(), newGeneration);
  t.is(box.ignored.length, 1, 'the older plan in the mailbox is reported');

  const again = linkTo(served, box);
  await again.pull();
  again.close();
  await box.settle();
  t.is(box.generation(), newGeneration);
  t.is(box.obeyed.length, 1, 'what is obeyed already is not obeyed anew');
  for (const id of documentsOf(site, newGeneration, 1).map(({ _id }) => _id)) {
    t.deepEqual(await box.mailbox.leaves(id), await served.leaves(id), `${id} has come again`);
  }
  await box.stop();
});

test('after a mailbox was set back, the controller soon sees what the node says now', async (t) => {
  const fabric = await createSimFabric(t, 'set back');
  const box = await fabric.join('box2');
  const own = await box.store.open('mailbox/box2');
  const atController = await fabric.founder.store.open('mailbox/box2');
  const content = async (mailbox: Database) => {
    const { _rev, ...said } = (await mailbox.get('observed/node')) ?? { _id: '' };
    return JSON.stringify(said);
  };
  const inStep = () =>
    fabric.until('the controller sees what the node says', async () => {
      return (await content(own)) === (await content(atController));
    });
  const linked = (count: number) =>
    fabric.until(`${count} links`, async () => (await fabric.linkedTo(box)).length === count, 120_000);
  await inStep();
  const before = box.store.snapshot();
  for (let round = 0; round < 4; round += 1) {
    fabric.network.cut(fabric.peerId(fabric.founder), fabric.peerId(box));
    await linked(0);
    fabric.network.heal();
    await linked(1);
    await inStep();
  }
  await box.stop();
  box.store.restore(before);
  await fabric.clock.advance(5_000);
  await box.start();
  await linked(1);
  await fabric.clock.advance(10_000);
  await inStep();
  await fabric.until('nothing is left over', async () => {
    const leaves = await atController.leaves('observed/node');
    return leaves.filter(({ _deleted }) => _deleted !== true).length === 1;
  });
  t.false(
    fabric.said('box2').some((line) => line.includes('observed/')),
    'what came back is nothing to report',
  );
});

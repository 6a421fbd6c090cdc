// Which plan a node obeys: genuine, its own, newer, complete. With real signatures; what the mailbox holds is the attacker's.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { Plan } from '../../control/plan.ts';
import type { Disk } from '../../node-runtime/disk.ts';
import { createFileDisk } from '../../node-runtime/file-disk.ts';
import { loadObeyedPlan, type ObeyedPlan, saveObeyedPlan } from '../../node-runtime/obeyed-plan.ts';
import { createSimDisk } from '../../simulations/sim-disk.ts';
import { createFabric, type Member, monitor } from '../pki/fabric-fixture.ts';
import {
  createPlanBox,
  createPlanSite,
  hashOf,
  type PlanBox,
  type PlannedFile,
  type PlanSite,
  plannedInstance,
  signerOf,
} from './plan-world.ts';

const one: PlannedFile = { slot: 'default.settings.one', content: 'first content' };
const two: PlannedFile = { slot: 'default.settings.two', content: 'second content' };

/** A box that obeys generation 5, whose file is `one`. */
async function obeyingBox(site?: PlanSite): Promise<PlanBox> {
  const box = await createPlanBox(site);
  await box.writeFile(one);
  await box.start();
  await box.writePlan(box.site.signed(box.site.planOf(5, [one])));
  return box;
}

const contents = ({ files }: ObeyedPlan): Record<string, string> =>
  Object.fromEntries([...files].map(([sha256, bytes]) => [sha256, Buffer.from(bytes).toString('utf8')]));

interface BadDocument {
  title: string;
  document(site: PlanSite): Record<string, unknown>;
  reason: RegExp;
}

/** A plan that nothing is wrong with but what is changed in it. */
const plan = (changes: Partial<Plan> | Record<string, unknown>) => (site: PlanSite) => ({
  jws: site.signed({ ...site.planOf(9, [one]), ...changes }),
});
const signedBy = (who: (site: PlanSite) => Pick<Member, 'key' | 'chain'>) => (site: PlanSite) => ({
  jws: site.signed(site.planOf(9, [one]), signerOf(who(site))),
});

const badDocuments: BadDocument[] = [
  { title: 'an older plan', document: plan({ generation: 4 }), reason: /not newer/ },
  { title: 'a higher generation of an older term', document: plan({ term: 0, generation: 99 }), reason: /not newer/ },
  { title: 'a higher term of an older epoch', document: plan({ epoch: 0, term: 99 }), reason: /not newer/ },
  {
    title: 'other content under the generation that is obeyed',
    document: plan({ generation: 5, instances: [plannedInstance('default.app.evil.0')] }),
    reason: /not newer/,
  },
  {
    title: 'a plan that a stranger signed',
    document: signedBy(() => createFabric().controller),
    reason: /signer is not accepted/,
  },
  {
    title: 'a plan that this node’s own authority signed',
    document: signedBy(({ node }) => node),
    reason: /may not sign/,
  },
  {
    title: 'a plan that another node’s authority signed',
    document: signedBy(({ fabric }) => fabric.addNode('box3')),
    reason: /may not sign/,
  },
  {
    title: 'a plan that a workload signed',
    document: signedBy(({ fabric }) => fabric.issueWorkload(fabric.addNode('box3', { covers: [monitor] }), monitor)),
    reason: /may not sign/,
  },
  {
    title: 'a plan that a revoked controller signed',
    document(site) {
      const gone = site.fabric.addController('box9');
      site.revoke(gone.peerId);
      return { jws: site.signed(site.planOf(9, [one]), signerOf(gone)) };
    },
    reason: /revoked/,
  },
  { title: 'a plan for another node', document: plan({ node: 'box3' }), reason: /another node/ },
  {
    title: 'a plan for another peer id',
    document: (site) => plan({ peerId: site.fabric.newPeerId() })(site),
    reason: /another node/,
  },
  { title: 'a plan for another fabric', document: plan({ fabricId: createFabric().id }), reason: /another fabric/ },
  {
    title: 'a signed document of another type',
    document: (site) => ({ jws: site.sign('selvedge-ticket+jws', site.planOf(9)) }),
    reason: /type/,
  },
  {
    title: 'a plan whose payload was altered',
    document(site) {
      const [header, , signature] = site.signed(site.planOf(9, [one])).split('.');
      const payload = Buffer.from(JSON.stringify(site.planOf(10))).toString('base64url');
      return { jws: `${header}.${payload}.${signature}` };
    },
    reason: /signature/,
  },
  { title: 'a document without a plan', document: () => ({ plan: 'none' }), reason: /no signed plan/ },
  { title: 'a plan that is no text', document: () => ({ jws: { header: 1 } }), reason: /no signed plan/ },
  { title: 'a text that is no JWS', document: () => ({ jws: 'nonsense' }), reason: /JWS/ },
  { title: 'a plan that is null', document: (site) => ({ jws: site.signed(null) }), reason: /malformed/ },
  { title: 'a plan without instances', document: plan({ instances: undefined }), reason: /malformed/ },
  { title: 'a plan with an instance that is null', document: plan({ instances: [null] }), reason: /malformed/ },
  {
    title: 'a plan with an instance without a specification',
    document: plan({ instances: [{ ...plannedInstance('default.app.web.0'), spec: undefined }] }),
    reason: /malformed/,
  },
  {
    title: 'a plan with one instance twice',
    document: plan({ instances: [plannedInstance('default.app.web.0'), plannedInstance('default.app.web.0')] }),
    reason: /malformed/,
  },
  { title: 'a plan with a file that is null', document: plan({ files: [null] }), reason: /malformed/ },
  {
    title: 'a plan with a file whose hash is a path',
    document: plan({ files: [{ slot: one.slot, sha256: '../../identity.pem' }] }),
    reason: /malformed/,
  },
  { title: 'a plan with a negative generation', document: plan({ epoch: 2, generation: -1 }), reason: /malformed/ },
  { title: 'a plan with half a generation', document: plan({ generation: 9.5 }), reason: /malformed/ },
  {
    title: 'a plan with more files than a plan has',
    document: plan({ files: Array.from({ length: 4001 }, (_, slot) => ({ slot: `${slot}`, sha256: hashOf('') })) }),
    reason: /malformed/,
  },
];

for (const { title, document, reason } of badDocuments) {
  test(`${title} is ignored and reported once`, async (t) => {
    const box = await obeyingBox();
    await box.write('desired/plan', document(box.site));
    await box.settle();
    // Every change makes the node look again.
    for (const content of ['a', 'b', 'c']) await box.writeFile({ slot: 'unrelated', content });
    t.is(box.generation(), 5);
    t.is(box.obeyed.length, 1, 'nothing else was obeyed');
    t.is(box.ignored.length, 1, box.ignored.join('\n'));
    t.regex(box.ignored[0] ?? '', /^desired\/plan \(revision 2-[0-9a-f]{32}\) is ignored: /);
    t.regex(box.ignored[0] ?? '', reason);
    await box.stop();
    const { atStart } = await box.start();
    t.is(atStart?.plan.generation, 5, 'the next start obeys the same plan');
    t.is(box.generation(), 5);
    await box.writePlan(box.site.signed(box.site.planOf(10, [one])));
    t.is(box.generation(), 10, 'and the bad one stands in the way of no good one');
    await box.stop();
  });

  test(`${title} beside a good new plan keeps it from nothing`, async (t) => {
    const box = await obeyingBox();
    await box.addLeaf('desired/plan', 9, 'bad', document(box.site));
    await box.addLeaf('desired/plan', 3, 'good', { jws: box.site.signed(box.site.planOf(6, [one])) });
    t.is(box.generation(), 6);
    t.true(box.ignored.some((line) => reason.test(line)));
    await box.stop();
  });
}

test('a malformed plan is not obeyed by a node that obeys none yet either', async (t) => {
  const box = await createPlanBox();
  await box.start();
  for (const { document, reason } of badDocuments.filter((bad) => bad.reason.source === 'malformed')) {
    await box.write('desired/plan', document(box.site));
    await box.settle();
    t.regex(box.ignored.at(-1) ?? '', reason);
  }
  t.deepEqual(box.obeyed, []);
  t.is(await loadObeyedPlan(box.disk), undefined);
  await box.stop();
});

test('a deleted plan is ignored and reported once, and the obeyed one runs on', async (t) => {
  const box = await obeyingBox();
  await box.mailbox.remove('desired/plan');
  await box.settle();
  for (const content of ['a', 'b']) await box.writeFile({ slot: 'unrelated', content });
  t.is(box.generation(), 5);
  t.is(box.ignored.length, 1);
  t.regex(box.ignored[0] ?? '', /never deleted/);
  await box.stop();
  t.is((await box.start()).atStart?.plan.generation, 5);
  await box.stop();
});

test('a tombstone on a longer branch does not hide the new plan on a shorter one', async (t) => {
  const box = await obeyingBox();
  await box.addLeaf('desired/plan', 30, 'tombstone', { _deleted: true });
  await box.addLeaf('desired/plan', 2, 'plan', { jws: box.site.signed(box.site.planOf(6, [one])) });
  t.is(box.generation(), 6);
  t.is(box.ignored.filter((line) => line.includes('never deleted')).length, 1);
  await box.stop();
});

test('an edit that hides the plan does not make the node forget it', async (t) => {
  const box = await createPlanBox();
  await box.writeFile(one);
  // Written before the node looks for the first time: the stale edit wins by its length.
  await box.addLeaf('desired/plan', 2, 'plan', { jws: box.site.signed(box.site.planOf(7, [one])) });
  await box.addLeaf('desired/plan', 40, 'edit', { jws: box.site.signed(box.site.planOf(3, [one])) });
  await box.start();
  t.is(box.generation(), 7);
  await box.stop();
});

test('of several leaves the newest plan counts, wherever it is in the tree', async (t) => {
  const generations = [12, 30, 25, 6, 18];
  for (const place of generations.keys()) {
    const box = await obeyingBox();
    await box.stop();
    for (const [index, generation] of generations.entries()) {
      const jws = box.site.signed(box.site.planOf(generation, [one]));
      await box.addLeaf('desired/plan', 2 + ((index + place) % generations.length), `leaf ${index}`, { jws });
    }
    await box.start();
    t.is(box.generation(), 30);
    t.is(box.obeyed.length, 2, 'no plan between was obeyed');
    await box.stop();
  }
});

test('a plan whose files have not all arrived is obeyed when the last of them has', async (t) => {
  const box = await obeyingBox();
  const three = { slot: 'default.settings.three', content: 'third content' };
  await box.writePlan(box.site.signed(box.site.planOf(6, [one, two, three])));
  t.is(box.generation(), 5);
  await box.writeFile(three);
  t.is(box.generation(), 5);
  await box.writeFile({ ...two, content: 'something else' });
  t.is(box.generation(), 5, 'the slot has other content than the plan says');
  await box.stop();
  t.is((await box.start()).atStart?.plan.generation, 5, 'nor after a new start');
  await box.writeFile(two);
  t.is(box.generation(), 6);
  const obeyed = box.obeyed.at(-1) as ObeyedPlan;
  t.deepEqual(contents(obeyed), Object.fromEntries([one, two, three].map(({ content }) => [hashOf(content), content])));
  t.deepEqual(await loadObeyedPlan(box.disk), { ...obeyed, files: new Map(obeyed.files) });
  t.deepEqual(box.ignored, [], 'waiting for a file is nothing to report');
  await box.stop();
});

test('while files of the newest plan are missing, a complete newer one than the obeyed one is obeyed', async (t) => {
  const box = await obeyingBox();
  await box.stop();
  await box.addLeaf('desired/plan', 3, 'complete', { jws: box.site.signed(box.site.planOf(6, [one])) });
  await box.addLeaf('desired/plan', 4, 'newest', { jws: box.site.signed(box.site.planOf(7, [one, two])) });
  await box.start();
  t.is(box.generation(), 6);
  await box.writeFile(two);
  t.is(box.generation(), 7);
  await box.stop();
});

test('a slot that arrives ahead of its plan disturbs nothing', async (t) => {
  const box = await obeyingBox();
  const changed = { ...one, content: 'content of the next plan' };
  await box.writeFile(changed);
  t.is(box.obeyed.length, 1);
  await box.stop();
  const { atStart } = await box.start();
  t.deepEqual(atStart && contents(atStart), { [hashOf(one.content)]: one.content }, 'the boot has the old content');
  // A plan that still wants the old content gets it from the node's own copy.
  await box.writePlan(box.site.signed(box.site.planOf(6, [one])));
  t.is(box.generation(), 6);
  await box.writePlan(box.site.signed(box.site.planOf(7, [changed])));
  t.is(box.generation(), 7);
  t.deepEqual(contents(box.obeyed.at(-1) as ObeyedPlan), { [hashOf(changed.content)]: changed.content });
  t.deepEqual(box.ignored, []);
  await box.stop();
});

test('a file is found in a losing leaf of its slot, and under a tombstone that wins nothing', async (t) => {
  const box = await obeyingBox();
  const id = `desired/file/${two.slot}`;
  const file = (content: unknown) => ({ contentBase64: content });
  await box.addLeaf(id, 9, 'edit', file(Buffer.from('an edit').toString('base64')));
  await box.addLeaf(id, 5, 'malformed', file(7));
  await box.addLeaf(id, 20, 'tombstone', { _deleted: true });
  await box.writePlan(box.site.signed(box.site.planOf(6, [one, two])));
  t.is(box.generation(), 5);
  await box.addLeaf(id, 2, 'loser', file(Buffer.from(two.content).toString('base64')));
  t.is(box.generation(), 6);
  await box.stop();
});

test('the mailbox put back to an earlier state: the obeyed plan runs, the older one is ignored and reported', async (t) => {
  const box = await obeyingBox();
  const before = box.store.snapshot();
  await box.writeFile(two);
  await box.writePlan(box.site.signed(box.site.planOf(6, [one, two])));
  t.is(box.generation(), 6);
  await box.stop();
  box.store.restore(before);

  const { atStart } = await box.start();
  t.is(atStart?.plan.generation, 6);
  t.is(atStart && contents(atStart)[hashOf(two.content)], two.content, 'with files that the mailbox no longer has');
  t.is(box.generation(), 6);
  t.is(box.ignored.length, 1);
  t.regex(box.ignored[0] ?? '', /not newer/);

  // The controller delivers again what was lost, and goes on.
  await box.writeFile(two);
  await box.writePlan(box.site.signed(box.site.planOf(7, [one, two])));
  t.is(box.generation(), 7);
  await box.stop();

  box.store.restore(new Map());
  t.is((await box.start()).atStart?.plan.generation, 7, 'an empty mailbox does no harm either');
  await box.stop();
});

test('an authority counts when it is newer, for this node and for its key; anything else is reported once', async (t) => {
  const site = createPlanSite();
  const { fabric, node } = site;
  const encoded = (member: Member) => member.chain.map((der) => Buffer.from(der).toString('base64'));
  const box = await obeyingBox(site);
  await box.write('desired/authority', { chain: site.authority(3) });
  await box.settle();
  t.deepEqual(box.authorities, [3]);
  const bad: [Record<string, unknown>, RegExp][] = [
    [{ chain: encoded(fabric.addNode('box3', { issueNumber: 9 })) }, /another node/],
    [{ chain: encoded(fabric.addNode('box2', { peerId: node.peerId, issueNumber: 9 })) }, /key/],
    [{ chain: encoded(createFabric().addNode('box2', { ...node, issueNumber: 9 })) }, /issuer|root/],
    [{ chain: encoded(fabric.controller) }, /another node/],
    [{ chain: 'text' }, /no chain/],
    [{ chain: [7] }, /no chain/],
    [{ chain: [] }, /./],
    [{}, /no chain/],
  ];
  for (const [fields, reason] of bad) {
    const reports = box.ignored.length;
    await box.write('desired/authority', fields);
    await box.settle();
    for (const content of ['a', 'b']) await box.writeFile({ slot: 'unrelated', content });
    t.is(box.ignored.length, reports + 1, JSON.stringify(fields).slice(0, 80));
    t.regex(box.ignored.at(-1) ?? '', reason);
  }
  await box.mailbox.remove('desired/authority');
  await box.settle();
  t.regex(box.ignored.at(-1) ?? '', /desired\/authority .* never deleted/);
  await box.write('desired/authority', { chain: site.authority(2) });
  await box.settle();
  t.deepEqual(box.authorities, [3], 'an older one is not taken');
  await box.write('desired/authority', { chain: site.authority(4) });
  await box.settle();
  t.deepEqual(box.authorities, [3, 4]);
  t.is(box.generation(), 5, 'none of it touched the plan');
  await box.stop();
});

/** What an interrupted write leaves: nothing, or all of it with nothing after. A removal may also get half way. */
type Cut = 'before' | 'after' | 'within';

/** Passes `count` changes of the disk; the next is cut, and from then on the power is off. */
function cutDisk(disk: Disk, count: number, cut: Cut): { disk: Disk; happened(): boolean } {
  let left = count;
  let off = false;
  async function change(path: string, run: () => Promise<void>): Promise<void> {
    if (off) throw new Error('the power is off');
    if (left-- > 0) return run();
    off = true;
    if (cut === 'after') await run();
    if (cut === 'within') {
      // Of a folder some files are gone already; a write is atomic.
      const [first] = await disk.list(path);
      if (first !== undefined) await disk.remove(`${path}/${first}`);
    }
    throw new Error('the power was cut');
  }
  return {
    happened: () => off,
    disk: {
      read: (path) => disk.read(path),
      list: (folder) => disk.list(folder),
      write: (path, content) => change(path, () => disk.write(path, content)),
      append: (path, line) => change(path, () => disk.append(path, line)),
      remove: (path) => change(path, () => disk.remove(path)),
    },
  };
}

const asObeyed = (site: PlanSite, generation: number, files: readonly PlannedFile[]): ObeyedPlan => {
  const planned = site.planOf(generation, files);
  return {
    plan: planned,
    jws: site.signed(planned),
    files: new Map(files.map(({ content }) => [hashOf(content), Buffer.from(content)])),
  };
};

/** Cuts the power at every change of the disk while `next` replaces `old`; returns how many changes there are. */
async function cutEverywhere(
  cut: Cut,
  makeDisk: () => Promise<Disk>,
  old: ObeyedPlan | undefined,
  next: ObeyedPlan,
  check: (loaded: ObeyedPlan | undefined, where: string, disk: Disk) => Promise<void>,
): Promise<number> {
  for (let count = 0; ; count += 1) {
    const disk = await makeDisk();
    if (old !== undefined) await saveObeyedPlan(disk, old);
    const cutting = cutDisk(disk, count, cut);
    await saveObeyedPlan(cutting.disk, next).catch(() => undefined);
    await check(await loadObeyedPlan(disk), `${cut} change ${count}`, disk);
    if (!cutting.happened()) return count;
  }
}

const sameAs = (loaded: ObeyedPlan | undefined, wanted: ObeyedPlan): boolean =>
  loaded?.jws === wanted.jws &&
  JSON.stringify(contents(loaded)) === JSON.stringify(contents(wanted)) &&
  loaded.plan.generation === wanted.plan.generation;

for (const cut of ['before', 'after', 'within'] as const) {
  test(`a power cut ${cut} any change of the disk leaves the old plan or the new one, whole`, async (t) => {
    const site = createPlanSite();
    const old = asObeyed(site, 5, [one, two]);
    const next = asObeyed(site, 6, [{ ...one, content: 'changed' }, two, { slot: 'more', content: 'more' }]);
    const seen = new Set<string>();
    const changes = await cutEverywhere(
      cut,
      async () => createSimDisk(),
      old,
      next,
      async (loaded, where, disk) => {
        const whole = sameAs(loaded, old) ? 'old' : sameAs(loaded, next) ? 'new' : 'neither';
        t.not(whole, 'neither', where);
        seen.add(whole);
        // The next life takes the plan up again, and leaves nothing of the interrupted one behind.
        await saveObeyedPlan(disk, next);
        t.true(sameAs(await loadObeyedPlan(disk), next), where);
        t.deepEqual(await disk.list('obeyed'), ['1-1-6', 'current'], where);
      },
    );
    t.deepEqual([...seen].sort(), ['new', 'old']);
    t.true(changes >= 6, `only ${changes} changes were cut`);
  });

  test(`a power cut ${cut} any change of the disk at the first plan leaves none or the whole of it`, async (t) => {
    const site = createPlanSite();
    const next = asObeyed(site, 1, [one, two]);
    const seen = new Set<boolean>();
    await cutEverywhere(
      cut,
      async () => createSimDisk(),
      undefined,
      next,
      async (loaded, where) => {
        t.true(loaded === undefined || sameAs(loaded, next), where);
        seen.add(loaded === undefined);
      },
    );
    t.is(seen.size, 2);
  });
}

test('the same on a real file system', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'selvedge-obeyed-'));
  t.teardown(() => rm(root, { recursive: true, force: true }));
  const site = createPlanSite();
  const old = asObeyed(site, 5, [one]);
  const next = asObeyed(site, 6, [two]);
  let folders = 0;
  const makeDisk = async () => {
    folders += 1;
    return createFileDisk(join(root, String(folders)));
  };
  const changes = await cutEverywhere('before', makeDisk, old, next, async (loaded, where) => {
    t.true(sameAs(loaded, old) || sameAs(loaded, next), where);
  });
  t.is(changes, 4, 'a file, the plan, the pointer, the removal of the old folder');
});

test('a power cut while the node obeys a plan: the next start obeys the old or the new one, then the new one', async (t) => {
  const site = createPlanSite();
  for (let count = 0; ; count += 1) {
    const box = await createPlanBox(site);
    await box.writeFile(one);
    await saveObeyedPlan(box.disk, asObeyed(site, 5, [one]));
    await box.writeFile(two);
    await box.writePlan(site.signed(site.planOf(6, [one, two])));
    const cutting = cutDisk(box.disk, count, 'before');
    const lost = { obeyed: [] as ObeyedPlan[], ignored: [] as string[], authorities: [] };
    const obeyed = await loadObeyedPlan(box.disk);
    const follower = site.follow({ mailbox: box.mailbox, disk: cutting.disk, obeyed, events: lost });
    await follower.start();
    await follower.stop();
    const { atStart } = await box.start();
    t.true(atStart?.plan.generation === 5 || atStart?.plan.generation === 6);
    for (const { plan: announced } of lost.obeyed) {
      t.is(atStart?.plan.generation, announced.generation, 'what was obeyed once is never forgotten');
    }
    t.is(box.generation(), 6);
    await box.stop();
    if (!cutting.happened()) break;
  }
});

test('a disk that fails for a while is reported for what it is, and the plan is obeyed at the next look', async (t) => {
  const box = await createPlanBox();
  const events = { obeyed: [] as ObeyedPlan[], ignored: [] as string[], authorities: [] };
  let full = true;
  const disk: Disk = {
    ...box.disk,
    write: (path, content) => (full ? Promise.reject(new Error('no space left')) : box.disk.write(path, content)),
  };
  const follower = box.site.follow({ mailbox: box.mailbox, disk, obeyed: undefined, events });
  await follower.start();
  await box.writePlan(box.site.signed(box.site.planOf(1)));
  t.deepEqual(events.obeyed, []);
  t.regex(events.ignored.join(), /no space left/);
  full = false;
  await box.writeFile(one);
  t.is(events.obeyed.at(-1)?.plan.generation, 1);
  await follower.stop();
});

test('an old folder that cannot be removed does not keep the node from the plan that is stored', async (t) => {
  const site = createPlanSite();
  const box = await createPlanBox(site);
  await saveObeyedPlan(box.disk, asObeyed(site, 5, []));
  const events = { obeyed: [] as ObeyedPlan[], ignored: [] as string[], authorities: [] };
  const disk: Disk = { ...box.disk, remove: () => Promise.reject(new Error('the folder is busy')) };
  const follower = site.follow({ mailbox: box.mailbox, disk, obeyed: await loadObeyedPlan(disk), events });
  await follower.start();
  await box.writePlan(site.signed(site.planOf(6)));
  t.is((await loadObeyedPlan(box.disk))?.plan.generation, 6, 'the next boot would run it');
  t.is(events.obeyed.at(-1)?.plan.generation, 6, 'so this one runs it too');
  await follower.stop();
});

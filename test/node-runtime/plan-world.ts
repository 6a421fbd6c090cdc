// One node's mailbox, disk and plan follower, and controllers that really sign: for the tests of what a node obeys.

import { createHash } from 'node:crypto';
import type { FileDocument, Plan, PlannedInstance } from '../../control/plan.ts';
import type { Database, StoredDocument } from '../../control/store.ts';
import type { Disk } from '../../node-runtime/disk.ts';
import { loadObeyedPlan, type ObeyedPlan } from '../../node-runtime/obeyed-plan.ts';
import { createPlanFollower, type PlanFollower, planType } from '../../node-runtime/plan-follower.ts';
import type { SignPayload } from '../../pki/identity.ts';
import { sha256Hex } from '../../pki/public-key.ts';
import { createSignatureVerifier, createSigner } from '../../pki/signature.ts';
import { createChainVerifier } from '../../pki/verify-chain.ts';
import { createSimDisk, type SimDisk } from '../../simulations/sim-disk.ts';
import { createSimStore, type SimStore } from '../../simulations/sim-store.ts';
import { createFabric, type Fabric, type Member } from '../pki/fabric-fixture.ts';

export const nodeName = 'box2';

export const signerOf = ({ key, chain }: Pick<Member, 'key' | 'chain'>): SignPayload => createSigner({ key, chain });

export const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex');

export interface PlannedFile {
  slot: string;
  content: string;
}

export function plannedInstance(name: string): PlannedInstance {
  const [project = '', application = '', microservice = '', index = '0'] = name.split('.');
  return {
    ...{ project, application, microservice, name, index: Number(index) },
    spec: {
      engine: 'process',
      command: ['/bin/true'],
      env: {},
      ports: [],
      configs: [],
      restart: 'always',
      stopTimeoutMs: 1000,
    },
    specHash: hashOf(name),
    calls: [],
    dependsOn: [],
    ticket: '',
  };
}

/** What is the same for every start of the node: who it is and who may sign for it. */
export interface PlanSite {
  fabric: Fabric;
  node: Member;
  /** The plan of this node, one instance, with these files. */
  planOf(generation: number, files?: readonly PlannedFile[], changes?: Partial<Plan>): Plan;
  sign: SignPayload;
  signed(plan: unknown, by?: SignPayload): string;
  /** Base64 DER of a new authority of the node. */
  authority(issueNumber: number): string[];
  revoke(peerId: string): void;
  follow(place: {
    mailbox: Database;
    disk: Disk;
    obeyed: ObeyedPlan | undefined;
    events: FollowerEvents;
  }): PlanFollower;
}

export interface FollowerEvents {
  obeyed: ObeyedPlan[];
  ignored: string[];
  authorities: number[];
}

export function createPlanSite(): PlanSite {
  const fabric = createFabric();
  const node = fabric.addNode(nodeName);
  const sign = signerOf(fabric.controller);
  const revoked = new Set<string>();
  const verifyChain = createChainVerifier({
    fabricId: fabric.id,
    clock: fabric.clock,
    root: fabric.root,
    revoked: (peerId) => revoked.has(peerId),
  });
  const verifySigned = createSignatureVerifier({ verifyChain });
  return {
    fabric,
    node,
    sign,
    planOf: (generation, files = [], changes = {}) => ({
      ...{ epoch: 1, term: 1, generation },
      ...{ fabricId: fabric.id, node: nodeName, peerId: node.peerId },
      instances: [plannedInstance(`default.app.web.${generation}`)],
      files: files.map(({ slot, content }) => ({ slot, sha256: hashOf(content) })),
      ...changes,
    }),
    signed: (plan, by = sign) => by(planType, plan),
    authority(issueNumber) {
      const { chain } = fabric.addNode(nodeName, { peerId: node.peerId, key: node.key, issueNumber });
      return chain.map((der) => Buffer.from(der).toString('base64'));
    },
    revoke: (peerId) => void revoked.add(peerId),
    follow: ({ mailbox, disk, obeyed, events }) =>
      createPlanFollower({
        clock: fabric.clock,
        mailbox,
        disk,
        fabricId: fabric.id,
        node: nodeName,
        peerId: node.peerId,
        authorityKeySha256: sha256Hex(node.key.publicKey),
        verifySigned,
        verifyChain,
        obeyed,
        issueNumber: events.authorities.at(-1) ?? 1,
        onPlan: (next) => void events.obeyed.push(next),
        onAuthority: async (_chain, identity) => void events.authorities.push(identity.issueNumber),
        onIgnored: (message) => void events.ignored.push(message),
      }),
  };
}

export interface PlanBox extends FollowerEvents {
  site: PlanSite;
  store: SimStore;
  disk: SimDisk;
  mailbox: Database;
  /** A start of the node with no network: what the disk says is obeyed, then the mailbox is looked at. */
  start(): Promise<{ atStart: ObeyedPlan | undefined }>;
  stop(): Promise<void>;
  /** One more revision of the winner, as a controller writes it. */
  write(id: string, fields: Record<string, unknown>): Promise<void>;
  writePlan(jws: string): Promise<void>;
  writeFile(file: PlannedFile): Promise<void>;
  /** A leaf of its own, as replication brings it: `generation` revisions long, the last one told apart by `mark`. */
  addLeaf(id: string, generation: number, mark: string, fields: Record<string, unknown>): Promise<string>;
  /** Lets everything that was started come to an end. */
  settle(): Promise<void>;
  /** Generation of the plan that is obeyed, by what was told last. */
  generation(): number | undefined;
}

const revisionHash = (text: string): string => createHash('md5').update(text).digest('hex');

export const fileDocument = ({ slot, content }: PlannedFile): FileDocument => ({
  _id: `desired/file/${slot}`,
  contentBase64: Buffer.from(content).toString('base64'),
});

export async function createPlanBox(site: PlanSite = createPlanSite()): Promise<PlanBox> {
  const store = createSimStore();
  const disk = createSimDisk();
  const mailbox = await store.open(`mailbox/${nodeName}`);
  const events: FollowerEvents = { obeyed: [], ignored: [], authorities: [] };
  let follower: PlanFollower | undefined;

  const box: PlanBox = {
    ...events,
    site,
    store,
    disk,
    mailbox,
    async start() {
      await follower?.stop();
      const atStart = await loadObeyedPlan(disk);
      events.obeyed.length = 0;
      events.ignored.length = 0;
      if (atStart !== undefined) events.obeyed.push(atStart);
      follower = site.follow({ mailbox, disk, obeyed: atStart, events });
      await follower.start();
      return { atStart };
    },
    async stop() {
      await follower?.stop();
      follower = undefined;
    },
    write: (id, fields) => mailbox.update(id, () => ({ _id: id, ...fields })),
    async writePlan(jws) {
      await box.write('desired/plan', { jws });
      await box.settle();
    },
    async writeFile(file) {
      const { _id, contentBase64 } = fileDocument(file);
      await box.write(_id, { contentBase64 });
      await box.settle();
    },
    async addLeaf(id, generation, mark, fields) {
      const ids = Array.from({ length: generation }, (_, index) => revisionHash(`${mark} ${generation - index}`));
      const _rev = `${generation}-${ids[0]}`;
      const document: StoredDocument = { _id: id, _rev, _revisions: { start: generation, ids }, ...fields };
      await mailbox.peer.bulkDocs({ docs: [document], new_edits: false });
      await box.settle();
      return _rev;
    },
    // The follower uses no timers: some turns of the event loop are all that it can want.
    async settle() {
      for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    },
    generation: () => events.obeyed.at(-1)?.plan.generation,
  };
  return box;
}

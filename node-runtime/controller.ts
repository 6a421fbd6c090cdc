// What a controller has beside a node: the fabric's documents, every node's mailbox, the lease, the planner, tokens and the
// ledger, composed. Called by member.ts. It never reaches an actor of a node: it reads and writes documents.

import { type Apply, createApply, createTurns } from '../control/apply.ts';
import { type Contents, createContents } from '../control/contents.ts';
import { getRecord, listRecords } from '../control/documents.ts';
import type { NodeRecord } from '../control/fabric.ts';
import { createGateways, type Gateways } from '../control/gateways.ts';
import { createLease } from '../control/lease.ts';
import { createLedger, type Ledger } from '../control/ledger.ts';
import { createNodeLabels, type NodeLabels } from '../control/node-labels.ts';
import { checkLabels, createNodeRegistry } from '../control/nodes.ts';
import { createObservedBounds, type ObservedBounds } from '../control/observed-bounds.ts';
import type { MicroserviceName, Plan, PlanVersion } from '../control/plan.ts';
import { asPlan, compareVersions, decodePayload } from '../control/plan-version.ts';
import { createPlanner } from '../control/planner.ts';
import { createPolicies, type Policies } from '../control/policies.ts';
import { createStage, type Stage } from '../control/stage.ts';
import { createStatusReader, type StatusReader } from '../control/status-reader.ts';
import type { Database, Store } from '../control/store.ts';
import type { TokenView } from '../control/views.ts';
import type { WriteGuard } from '../control/write-guard.ts';
import { policyAuthorization } from '../mesh/authorization.ts';
import type { Mesh, PeerId } from '../mesh/mesh.ts';
import { issueNodeAuthority } from '../pki/certificates.ts';
import type { AdmissionAnswer, AdmissionRequest, EnrollmentServerDependencies } from '../pki/enrollment-server.ts';
import type { VerifyChain, VerifySigned } from '../pki/identity.ts';
import { certificateToPem } from '../pki/pem.ts';
import { isIssuedAhead, renewAt, validityOf } from '../pki/rotation.ts';
import { createSigner } from '../pki/signature.ts';
import { createTokenBook } from '../pki/token-book.ts';
import { type Admissions, createAdmissions } from './admissions.ts';
import type { Bulletin } from './bulletin.ts';
import type { TimerId } from './clock.ts';
import { StoreLostError } from './errors.ts';
import type { ControllerAuthority } from './founding.ts';
import { authorityCheckPeriodMs, controllerAddressesMax, controllerFactLifetimeMs } from './limits.ts';
import type { Membership } from './membership.ts';
import type { NodePorts } from './node-ports.ts';
import { createPolicyFacts } from './policy-facts.ts';
import { createRevoking, type Revoking } from './revoking.ts';
import { createWindowFacts } from './window-facts.ts';

export interface Controller {
  start(): Promise<void>;
  stop(): Promise<void>;
  readonly admission: NonNullable<EnrollmentServerDependencies['admission']>;
  /** Boxes that wait for an operator, and the open window. */
  readonly admissions: Admissions;
  readonly apply: Apply;
  readonly stage: Stage;
  readonly contents: Contents;
  readonly policies: Policies;
  readonly gateways: Gateways;
  /** PEM. */
  rootCertificate(): string;
  readonly status: StatusReader;
  readonly ledger: Ledger;
  createToken(request: {
    uses: number;
    ttlMs: number;
    labels: Record<string, string>;
    router: 'interior' | 'edge';
  }): Promise<TokenView>;
  /** The mailbox of an admitted peer; undefined for anybody else. */
  mailboxOf(peerId: PeerId): Promise<{ node: string; database: Database; guard: WriteGuard } | undefined>;
  peerOf(node: string): Promise<PeerId | undefined>;
  /** Takes nodes out of the fabric: reaches every connected node within seconds. */
  readonly labels: NodeLabels;
  readonly revoking: Revoking;
  /** The clock was set: looks now which authorities must be issued again. */
  recheckAuthorities(): void;
  /** The bulletin says something else of policies than before: what the fabric does not say is put right. */
  recheckPolicies(): void;
  /** An enrollment was refused. */
  refused(peerId: PeerId, reason: string): void;
  /** A peer asked for, or wrote, what it may not. */
  refusedRequest(from: PeerId, reason: string): void;
}

const base64 = (der: Uint8Array): string => Buffer.from(der).toString('base64');
const fromBase64 = (text: string): Uint8Array => Buffer.from(text, 'base64');

export interface ControllerDependencies {
  ports: Pick<NodePorts, 'clock' | 'random' | 'deriveKey' | 'disk' | 'platform' | 'engines'>;
  store: Store;
  bulletin: Bulletin;
  mesh: Mesh;
  membership: Membership;
  /** SubjectPublicKeyInfo of this node's own authority key. */
  authorityPublicKey: Uint8Array;
  issuing: ControllerAuthority;
  /** The plan that this node obeyed when it started: what its store must know of. */
  obeyed: PlanVersion | undefined;
  /** Time aside: by a wrong clock everything would be issued again, and by nobody who is believed. What has expired is renewed. */
  verifyOwnChain: VerifyChain;
  verifySigned: VerifySigned;
  isLinked(peerId: PeerId): boolean;
  /** What stands in the way of a linked node on its box, as it says. */
  conditionsOf(peerId: PeerId): string[];
  /** When the link to it was lost; undefined while it stands, and when that was before this start. */
  lastSeenAt(peerId: PeerId): number | undefined;
  problem(message: string): void;
}

export type CreateController = (dependencies: ControllerDependencies) => Promise<Controller>;

export async function createController(dependencies: ControllerDependencies): Promise<Controller> {
  const { ports, store, bulletin, mesh, membership, issuing, verifySigned, isLinked, conditionsOf, problem } =
    dependencies;
  const { clock, random, disk } = ports;
  const { fabricId, fabricName, node: self } = membership;
  const [issuingCertificate = '', root = ''] = issuing.chain;
  const sign = createSigner({ key: issuing.key, chain: issuing.chain.map(fromBase64) });
  const fabric = await store.open('fabric');
  const mailbox = (node: string): Promise<Database> => store.open(`mailbox/${node}`);
  const ledger = createLedger({ fabric, controller: self, clock });
  const registry = createNodeRegistry({ fabric, clock, ledger });
  const tokens = await createTokenBook({ disk, clock, random, fabricId });
  const lease = createLease({ disk, clock, self: mesh.peerId, usedTerm });
  const observedBounds = new Map<PeerId, ObservedBounds>();
  let authorityTimer: TimerId | undefined;

  /** What was obeyed is synced, and the store is not: it may be behind after a power cut, and empty when its files are damaged. */
  async function checkStore(): Promise<void> {
    const { obeyed } = dependencies;
    if (obeyed === undefined) return;
    const text = `${obeyed.epoch}.${obeyed.term}.${obeyed.generation}`;
    if ((await getRecord(fabric, 'node', self)) === undefined) throw new StoreLostError(self, text);
    const jws = (await (await mailbox(self)).get('desired/plan'))?.['jws'];
    const stored = typeof jws === 'string' ? asPlan(decodePayload(jws)) : undefined;
    if (stored !== undefined && compareVersions(stored, obeyed) >= 0) return;
    problem(`the store has lost its last writes (plan ${text} was obeyed already): apply again what was applied last`);
  }

  /** Over all mailboxes: a plan that would say the same is not written again, so no single one has the newest term for certain. */
  async function usedTerm(): Promise<{ epoch: number; term: number } | undefined> {
    let highest: Plan | undefined;
    for (const { name } of await members()) {
      const jws = (await (await mailbox(name)).get('desired/plan'))?.['jws'];
      const plan = typeof jws === 'string' ? asPlan(decodePayload(jws)) : undefined;
      if (plan !== undefined && (highest === undefined || compareVersions(plan, highest) > 0)) highest = plan;
    }
    if (highest !== undefined) {
      problem('the file lease.jsonl of the data folder had lost its end; terms go on after those of the plans');
    }
    return highest && { epoch: highest.epoch, term: highest.term };
  }

  function issueAuthority(
    node: NodeRecord,
    covers: MicroserviceName[],
    issueNumber: number,
    publicNames: string[] = [],
  ): string[] {
    const certificate = issueNodeAuthority({
      issuer: { key: issuing.key, certificate: fromBase64(issuingCertificate) },
      publicKey: fromBase64(node.authorityPublicKey),
      node: node.name,
      peerId: node.peerId,
      fabricId,
      covers,
      publicNames,
      issueNumber,
      random,
      nowMs: clock.now(),
    });
    return [base64(certificate), issuingCertificate, root];
  }

  const planner = createPlanner({
    fabric,
    mailbox,
    lease,
    clock,
    sign,
    issueAuthority,
    ledger,
    fabricId,
    verifySigned,
    verifyChain: dependencies.verifyOwnChain,
  });

  /** Without those that were revoked: they have no mailbox and get no certificate. */
  const members = async (): Promise<NodeRecord[]> =>
    (await listRecords(fabric, 'node', problem)).filter(({ revoked }) => revoked === undefined);

  async function admit(request: AdmissionRequest): Promise<AdmissionAnswer> {
    const { peerId, name, nameChosen, publicKey, labels, router, engines, platform, by } = request;
    // Whatever it shows: a revocation is never lifted, and nobody would believe what were issued to this key.
    if (bulletin.isRevoked(peerId)) {
      return {
        refused: 'the key of this box was revoked: give the box an empty data folder, and it joins as a new node',
      };
    }
    try {
      const record = await registry.admitNode({
        peerId,
        ...(nameChosen && { name }),
        defaultName: name,
        router,
        controller: false,
        labels,
        engines,
        authorityPublicKey: base64(publicKey),
        admittedBy: by,
        arch: platform.arch,
        os: platform.os,
      });
      // Number 1 covers nothing: what the mailbox delivers is always newer, also when this answer is asked for again.
      return {
        chain: issueAuthority(record, [], 1),
        node: record.name,
        router: record.router,
        controllers: [{ peerId: mesh.peerId, addresses: mesh.addresses() }],
      };
    } catch (error) {
      // Errors that carry an action are decisions; others are faults and end the conversation.
      if (error instanceof Error && 'action' in error) return { refused: error.message };
      throw error;
    }
  }

  const admissions = createAdmissions({
    clock,
    random,
    deriveKey: ports.deriveKey,
    mesh,
    fabric,
    fabricId,
    ledger,
    admit,
    facts: createWindowFacts({ clock, bulletin, sign, self: { peerId: mesh.peerId, node: self } }),
    problem,
  });

  const revoking = createRevoking({
    ...{ clock, fabric, store, bulletin, sign, ledger, problem },
    self: { peerId: mesh.peerId, node: self },
    requests: admissions.requests,
    planned: () => planner.idle(),
  });

  let unsubscribe: (() => void) | undefined;

  /** Tells every node where this controller is; says nothing when that is known already. */
  async function publishAddresses(): Promise<void> {
    const addresses = mesh.addresses().slice(0, controllerAddressesMax);
    const known = bulletin.controllers().find(({ peerId }) => peerId === mesh.peerId);
    if (known !== undefined && known.addresses.join() === addresses.join()) return;
    const body = { kind: 'controller', peerId: mesh.peerId, node: self, addresses } as const;
    await bulletin.publish(sign, mesh.peerId, `controller/${mesh.peerId}`, body, controllerFactLifetimeMs);
  }

  /** Renews every node's authority at half of its life. */
  async function renewAuthorities(): Promise<void> {
    for (const { name } of await members()) {
      const document = await (await mailbox(name)).get('desired/authority');
      const [certificate] = Array.isArray(document?.chain) ? (document.chain as string[]) : [];
      if (certificate === undefined) continue;
      const validity = validityOf(fromBase64(certificate));
      const due = renewAt(validity, 0) <= clock.now() || isIssuedAhead(validity, clock.now());
      if (due) await planner.renewAuthority(name);
    }
  }

  /** Only by who holds the lease: two with different documents would go on correcting each other. */
  function recheckPolicies(): void {
    if (lease.current() === undefined) return;
    policyFacts.settle().catch((error: unknown) => problem(`policies cannot be told to the nodes: ${String(error)}`));
  }

  function watchAuthorities(delayMs = authorityCheckPeriodMs): void {
    clock.clearTimeout(authorityTimer);
    authorityTimer = clock.setTimeout(() => {
      recheckPolicies();
      renewAuthorities()
        .catch((error: unknown) => problem(`authorities cannot be renewed: ${String(error)}`))
        .finally(() => {
          if (authorityTimer !== undefined) watchAuthorities();
        });
    }, delayMs);
  }

  const serialized = createTurns();
  const policyFacts = createPolicyFacts({ clock, fabric, bulletin, sign, issuer: mesh.peerId });
  const policiesChanged = (): Promise<void> => policyFacts.settle();
  const apply = createApply({ fabric, clock, random, ledger, serialized, policiesChanged });

  return {
    admission: { tokens, admit, pending: admissions.requests },
    admissions,
    apply,
    contents: createContents({ fabric, ledger, serialized, applyNow: apply.applyNow }),
    policies: createPolicies({ fabric, ledger, serialized, policiesChanged }),
    rootCertificate: () => certificateToPem(fromBase64(root)),
    gateways: createGateways({ fabric, mailbox, clock, random, ledger, serialized, isLinked, policiesChanged }),
    stage: createStage({ fabric, clock, ledger, serialized }),
    status: createStatusReader({
      fabric,
      mailbox,
      identity: { id: fabricId, name: fabricName },
      self,
      linked: isLinked,
      conditionsOf,
      lastSeenAt: dependencies.lastSeenAt,
      authorization: policyAuthorization,
    }),
    ledger,
    labels: createNodeLabels({ fabric, ledger }),
    revoking,

    async start() {
      await checkStore();
      unsubscribe = mesh.subscribe((event) => {
        if (event.type !== 'moved') return;
        publishAddresses().catch((error: unknown) => problem(`the new addresses cannot be told: ${String(error)}`));
      });
      await registry.admitNode({
        peerId: mesh.peerId,
        name: self,
        defaultName: self,
        router: membership.router,
        controller: true,
        labels: membership.labels,
        engines: ports.engines.offered(),
        authorityPublicKey: base64(dependencies.authorityPublicKey),
        admittedBy: 'founding',
        arch: ports.platform.arch,
        os: ports.platform.os,
      });
      await publishAddresses();
      await revoking.reconcile();
      await policyFacts.settle();
      await admissions.start();
      await lease.start();
      await planner.start();
      // What has expired while no controller ran, or was issued by a clock far ahead.
      watchAuthorities(0);
    },
    recheckAuthorities() {
      if (authorityTimer !== undefined) watchAuthorities(0);
    },
    recheckPolicies,

    async stop() {
      unsubscribe?.();
      unsubscribe = undefined;
      clock.clearTimeout(authorityTimer);
      authorityTimer = undefined;
      await admissions.stop();
      for (const { close } of observedBounds.values()) close();
      observedBounds.clear();
      await planner.stop();
      await lease.stop();
      await ledger.stop();
    },

    async createToken({ uses, ttlMs, labels, router }) {
      checkLabels(labels);
      const { token, id, expiresAt } = await tokens.create({ uses, ttlMs, labels, router });
      await ledger.append({ type: 'token-created', subject: id, message: `a token for ${uses} node(s) was created` });
      return { token, id, uses, expiresAt, labels, router };
    },

    async mailboxOf(peerId) {
      const record = (await members()).find((node) => node.peerId === peerId);
      if (record === undefined) return undefined;
      const { name: node } = record;
      const database = await mailbox(node);
      // One for all streams of the peer, so that they are counted together.
      const bounds = observedBounds.get(peerId) ?? createObservedBounds({ node, mailbox: database, clock });
      observedBounds.set(peerId, bounds);
      return { node, database, guard: bounds.guard };
    },

    peerOf: async (node) => (await getRecord(fabric, 'node', node))?.peerId,

    refused(peerId, reason) {
      // A stranger chooses its peer id, and details of what it gets wrong.
      const cause = reason.slice(0, reason.indexOf(':') + 1) || reason;
      ledger.append({ type: 'enrollment-refused', subject: peerId, message: reason, cause }).catch(() => undefined);
    },
    refusedRequest(from, reason) {
      ledger.append({ type: 'request-refused', subject: from, message: reason, cause: from }).catch(() => undefined);
    },
  };
}

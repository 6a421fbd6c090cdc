// What a controller has beside a node: the fabric's documents, every node's mailbox, the lease, the planner, tokens and the
// ledger, composed. Called by member.ts. It never reaches an actor of a node: it reads and writes documents.

import { type Apply, createApply } from '../control/apply.ts';
import { getRecord, listRecords } from '../control/documents.ts';
import type { NodeRecord } from '../control/fabric.ts';
import { createLease } from '../control/lease.ts';
import { createLedger, type Ledger } from '../control/ledger.ts';
import { checkLabels, createNodeRegistry } from '../control/nodes.ts';
import type { MicroserviceName } from '../control/plan.ts';
import { createPlanner } from '../control/planner.ts';
import { createStatusReader, type StatusReader } from '../control/status-reader.ts';
import type { Database, Store } from '../control/store.ts';
import type { TokenView } from '../control/views.ts';
import type { Mesh, PeerId } from '../mesh/mesh.ts';
import { issueNodeAuthority } from '../pki/certificates.ts';
import type { AdmissionAnswer, AdmissionRequest, EnrollmentServerDependencies } from '../pki/enrollment-server.ts';
import type { VerifyChain, VerifySigned } from '../pki/identity.ts';
import { renewAt, validityOf } from '../pki/rotation.ts';
import { createSigner } from '../pki/signature.ts';
import { createTokenBook } from '../pki/token-book.ts';
import { type Admissions, createAdmissions } from './admissions.ts';
import type { Bulletin } from './bulletin.ts';
import type { TimerId } from './clock.ts';
import type { ControllerAuthority } from './founding.ts';
import { authorityCheckPeriodMs, controllerAddressesMax, controllerFactLifetimeMs } from './limits.ts';
import type { Membership } from './membership.ts';
import type { NodePorts } from './node-ports.ts';

export interface Controller {
  start(): Promise<void>;
  stop(): Promise<void>;
  readonly admission: NonNullable<EnrollmentServerDependencies['admission']>;
  /** Boxes that wait for an operator, and the open window. */
  readonly admissions: Admissions;
  readonly apply: Apply;
  readonly status: StatusReader;
  readonly ledger: Ledger;
  createToken(request: {
    uses: number;
    ttlMs: number;
    labels: Record<string, string>;
    router: 'interior' | 'edge';
  }): Promise<TokenView>;
  /** The mailbox of an admitted peer; undefined for anybody else. */
  mailboxOf(peerId: PeerId): Promise<{ node: string; database: Database } | undefined>;
  peerOf(node: string): Promise<PeerId | undefined>;
  /** Takes the peer's membership away: published as a fact, reaches every connected node within seconds. */
  revoke(node: string, reason: string): Promise<void>;
  /** An enrollment was refused. */
  refused(peerId: PeerId, reason: string): void;
  /** A peer asked for, or wrote, what it may not. */
  refusedRequest(from: PeerId, reason: string): void;
}

const base64 = (der: Uint8Array): string => Buffer.from(der).toString('base64');
const fromBase64 = (text: string): Uint8Array => Buffer.from(text, 'base64');

export async function createController(dependencies: {
  ports: Pick<NodePorts, 'clock' | 'random' | 'deriveKey' | 'disk' | 'platform' | 'engines'>;
  store: Store;
  bulletin: Bulletin;
  mesh: Mesh;
  membership: Membership;
  /** SubjectPublicKeyInfo of this node's own authority key. */
  authorityPublicKey: Uint8Array;
  issuing: ControllerAuthority;
  verifyChain: VerifyChain;
  verifySigned: VerifySigned;
  isLinked(peerId: PeerId): boolean;
  problem(message: string): void;
}): Promise<Controller> {
  const { ports, store, bulletin, mesh, membership, issuing, verifyChain, verifySigned, isLinked, problem } =
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
  const lease = createLease({ disk, clock, self: mesh.peerId });
  let authorityTimer: TimerId | undefined;

  function issueAuthority(node: NodeRecord, covers: MicroserviceName[], issueNumber: number): string[] {
    const certificate = issueNodeAuthority({
      issuer: { key: issuing.key, certificate: fromBase64(issuingCertificate) },
      publicKey: fromBase64(node.authorityPublicKey),
      node: node.name,
      peerId: node.peerId,
      fabricId,
      covers,
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
    verifyChain,
  });

  const nodes = (): Promise<NodeRecord[]> => listRecords(fabric, 'node', problem);

  async function admit(request: AdmissionRequest): Promise<AdmissionAnswer> {
    const { peerId, name, nameChosen, publicKey, labels, router, engines, platform, by } = request;
    if (bulletin.isRevoked(peerId)) return { refused: 'this box was removed from the fabric' };
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
    problem,
  });

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
    for (const { name } of await nodes()) {
      const document = await (await mailbox(name)).get('desired/authority');
      const [certificate] = Array.isArray(document?.chain) ? (document.chain as string[]) : [];
      if (certificate === undefined) continue;
      if (renewAt(validityOf(fromBase64(certificate)), 0) <= clock.now()) await planner.renewAuthority(name);
    }
  }

  function watchAuthorities(): void {
    authorityTimer = clock.setTimeout(() => {
      renewAuthorities()
        .catch((error: unknown) => problem(`authorities cannot be renewed: ${String(error)}`))
        .finally(watchAuthorities);
    }, authorityCheckPeriodMs);
  }

  return {
    admission: { tokens, admit, pending: admissions.requests },
    admissions,
    apply: createApply({ fabric, clock, ledger }),
    status: createStatusReader({
      fabric,
      mailbox,
      identity: { id: fabricId, name: fabricName },
      self,
      linked: isLinked,
    }),
    ledger,

    async start() {
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
      await lease.start();
      await planner.start();
      watchAuthorities();
    },

    async stop() {
      clock.clearTimeout(authorityTimer);
      authorityTimer = undefined;
      admissions.stop();
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
      const record = (await nodes()).find((node) => node.peerId === peerId);
      return record && { node: record.name, database: await mailbox(record.name) };
    },

    peerOf: async (node) => (await getRecord(fabric, 'node', node))?.peerId,

    async revoke(node, reason) {
      const record = await getRecord(fabric, 'node', node);
      if (record === undefined) throw new Error(`there is no node ${node}`);
      await bulletin.publish(
        sign,
        mesh.peerId,
        `revocation/${record.peerId}`,
        { kind: 'revocation', peerId: record.peerId, node, reason },
        // Outlives every certificate that the node holds or issued.
        controllerFactLifetimeMs,
      );
      await ledger.append({ type: 'node-revoked', subject: node, message: reason });
    },

    refused(peerId, reason) {
      ledger.append({ type: 'enrollment-refused', subject: peerId, message: reason }).catch(() => undefined);
    },
    refusedRequest(from, reason) {
      ledger.append({ type: 'request-refused', subject: from, message: reason }).catch(() => undefined);
    },
  };
}

// A controller where boxes wait for approval, boxes that show codes, and an attacker's ends of the same conversations, joined by
// frame streams in memory. Who Noise would have authenticated is said by the caller of `open` and `register`.

import { createHash, randomBytes } from 'node:crypto';
import type { FrameStream } from '../../mesh/mesh.ts';
import { createApprovals } from '../../pki/approval.ts';
import { type ApprovalRequest, registerForApproval } from '../../pki/approval-client.ts';
import { type ApprovalDesk, createApprovalDesk } from '../../pki/approval-desk.ts';
import type { DeriveKey } from '../../pki/approval-proof.ts';
import { createSigningRequest } from '../../pki/csr.ts';
import { createEnrollWindow, type WindowState } from '../../pki/enroll-window.ts';
import { encodeChain, enrollmentProtocol } from '../../pki/enrollment-frames.ts';
import { type AdmissionRequest, createEnrollmentServer } from '../../pki/enrollment-server.ts';
import type { PrivateKey } from '../../pki/keys.ts';
import { peerIdOf } from '../../pki/peer-id.ts';
import { createPendingRequests } from '../../pki/pending-requests.ts';
import { createTokenBook } from '../../pki/token-book.ts';
import { createChainVerifier } from '../../pki/verify-chain.ts';
import { createFramePair, type FramePair } from '../frame-pair.ts';
import { createFabric, type Fabric } from './fabric-fixture.ts';
import { createMemoryDisk } from './memory-disk.ts';

/** Stands in for scrypt, which takes 0.1 s: what is tested here does not depend on how dear a guess is. */
export const cheapKey: DeriveKey = async (code, salt) =>
  new Uint8Array(createHash('sha256').update(code).update(salt).digest());

export type Frame = Record<string, unknown> & { type: string };

export const write = (stream: FrameStream, frame: Frame): Promise<void> =>
  stream.send(new TextEncoder().encode(JSON.stringify(frame)));

/** The next frame; undefined at the end or after a reset. */
export async function read(stream: FrameStream): Promise<Frame | undefined> {
  const bytes = await stream.receive().catch(() => undefined);
  return bytes === undefined ? undefined : (JSON.parse(Buffer.from(bytes).toString()) as Frame);
}

export const junk = (bytes = 32): string => randomBytes(bytes).toString('base64');

export interface Box {
  peerId: string;
  name: string;
  key: PrivateKey;
  desk: ApprovalDesk;
  code(): string;
  wrongProofs: string[];
  waiting: string[];
}

export interface Site {
  fabric: Fabric;
  pending: ReturnType<typeof createPendingRequests>;
  window: ReturnType<typeof createEnrollWindow>;
  closed: { state: WindowState; reason: string }[];
  windowNodes: string[];
  requests: AdmissionRequest[];
  forged: string[];
  refusals: string[];
  addresses: Map<string, string>;
  approve(code: string, wish?: { name?: string }): Promise<{ node: string; peerId: string }>;
  /** The same while time goes on, for approvals that fail or have to try again. */
  approveInTime(code: string, ms?: number): Promise<{ node: string; peerId: string }>;
  /** A stream to the controller as `from`. */
  open(from: string, address?: string): FramePair;
  newBox(name?: string): Promise<Box>;
  /** What a box does; resolves with what it became. */
  register(
    box: Box,
    more?: Partial<ApprovalRequest>,
    address?: string,
  ): { pair: FramePair; joined: ReturnType<typeof registerForApproval> };
  /** Resolves once the controller lists that many. */
  untilPending(count: number): Promise<void>;
  /** An attacker's request: its own peer id, whatever handle and nonce it likes. Resolves once it is listed. */
  claim(claim: { handle: string; nonce?: string; address?: string; trustLan?: boolean }): Promise<{
    peerId: string;
    stream: FrameStream;
  }>;
}

export const platform = { os: 'linux', arch: 'x64', software: '0.1.0' };

export function pendingFrame(handle: string, nonce = junk(), trustLan = false): Frame {
  const description = { name: 'box2', nameChosen: false, labels: {}, engines: ['process'], platform };
  return { type: 'pending', handle, nonce, trustLan, ...description };
}

export const requestOf = (key: PrivateKey): string =>
  Buffer.from(createSigningRequest({ key, commonName: 'box2' })).toString('base64');

export async function createSite({
  fabric = createFabric(),
  refuseNames = [],
}: {
  fabric?: Fabric;
  refuseNames?: string[];
} = {}): Promise<Site> {
  const { clock, random, keys, controller } = fabric;
  const requests: AdmissionRequest[] = [];
  const addresses = new Map<string, string>();
  const [forged, refusals, windowNodes]: string[][] = [[], [], []];
  const closed: Site['closed'] = [];

  const admit = async (request: AdmissionRequest) => {
    requests.push(request);
    if (refuseNames.includes(request.name)) return { refused: `the name ${request.name} is taken` };
    const key = { publicKey: request.publicKey } as PrivateKey;
    const { chain } = fabric.addNode(request.name, { peerId: request.peerId, key });
    const controllers = [{ peerId: controller.peerId, addresses: ['/ip4/192.0.2.7/tcp/7433'] }];
    return { chain: encodeChain(chain), node: request.name, router: request.router, controllers };
  };
  const pending = createPendingRequests({ clock, addressOf: (peerId) => addresses.get(peerId), admit });
  const approvals = createApprovals({
    clock,
    random,
    deriveKey: cheapKey,
    fabricId: fabric.id,
    self: controller.peerId,
    pending,
    onForged: ({ peerId }) => void forged?.push(peerId),
  });
  const window = createEnrollWindow({
    clock,
    pending,
    onAdmitted: (node) => void windowNodes?.push(node),
    onClosed: (state, reason) => void closed.push({ state, reason }),
  });
  const handler = createEnrollmentServer({
    fabricId: fabric.id,
    fabricName: fabric.name,
    chain: () => controller.chain,
    verifyChain: createChainVerifier({ fabricId: fabric.id, clock }),
    clock,
    onAdmitted: () => undefined,
    onRefused: ({ reason }) => void refusals?.push(reason),
    admission: {
      tokens: await createTokenBook({ disk: createMemoryDisk(), clock, random, fabricId: fabric.id }),
      admit,
      pending,
    },
  });

  const site: Site = {
    fabric,
    pending,
    window,
    closed,
    windowNodes: windowNodes ?? [],
    requests,
    forged: forged ?? [],
    refusals: refusals ?? [],
    addresses,
    approve: (code, { name } = {}) =>
      approvals.approve(code, { labels: { site: 'north' }, router: 'edge', ...(name !== undefined && { name }) }),
    async approveInTime(code, ms = 30_000) {
      const approved = site.approve(code);
      approved.catch(() => undefined);
      await clock.advance(ms);
      return await approved;
    },
    open(from, address = '192.0.2.7') {
      addresses.set(from, address);
      const pair = createFramePair(enrollmentProtocol);
      // As the mesh does: a handler that rejects resets its stream.
      handler(pair.far, from).catch((error: Error) => pair.far.abort(error));
      return pair;
    },
    async newBox(name = 'box2') {
      const peerId = peerIdOf(keys.create('Ed25519').publicKey);
      const onFailed = () => undefined;
      const desk = createApprovalDesk({ clock, random, deriveKey: cheapKey, self: peerId, onFailed });
      await desk.start();
      const code = () => desk.current().code;
      return { peerId, name, key: keys.create('P-256'), desk, code, wrongProofs: [], waiting: [] };
    },
    register(box, more = {}, address) {
      const pair = site.open(box.peerId, address);
      const joined = registerForApproval({
        stream: pair.near,
        peerId: controller.peerId,
        clock,
        desk: box.desk,
        name: box.name,
        nameChosen: false,
        self: box.peerId,
        key: box.key,
        labels: { room: '4' },
        engines: ['process'],
        platform,
        trustLan: false,
        onWaiting: ({ fabricId }) => void box.waiting.push(fabricId),
        onWrongProof: ({ fabricId }) => void box.wrongProofs.push(fabricId),
        onDecided: () => undefined,
        mayTrust: async () => true,
        ...more,
      });
      joined.catch(() => undefined);
      return { pair, joined };
    },
    async untilPending(count) {
      for (let turn = 0; turn < 500 && pending.list().length !== count; turn += 1) await clock.settle();
      if (pending.list().length !== count) throw new Error(`${pending.list().length} are pending, not ${count}`);
    },
    async claim({ handle, nonce, address, trustLan }) {
      const peerId = fabric.newPeerId();
      const { near: stream } = site.open(peerId, address);
      await write(stream, { type: 'hello' });
      await read(stream);
      await write(stream, pendingFrame(handle, nonce, trustLan));
      const answer = await read(stream);
      if (answer?.type !== 'waiting') throw new Error(`the controller answered ${answer?.type}`);
      return { peerId, stream };
    },
  };
  return site;
}

// A controller that takes tokens, and a box that asks it, joined by a pair of frame streams in memory.

import { enrollWithToken, type TokenEnrollment } from '../../pki/enrollment-client.ts';
import { enrollmentProtocol } from '../../pki/enrollment-frames.ts';
import type { MemberIdentity } from '../../pki/enrollment-server.ts';
import { type AdmissionAnswer, type AdmissionRequest, createEnrollmentServer } from '../../pki/enrollment-server.ts';
import type { PrivateKey } from '../../pki/keys.ts';
import { peerIdOf } from '../../pki/peer-id.ts';
import { createTokenBook, type TokenBook, type TokenRequest } from '../../pki/token-book.ts';
import { createChainVerifier } from '../../pki/verify-chain.ts';
import { createFramePair, type FramePair } from '../frame-pair.ts';
import { createFabric, type Fabric, hourMs, type Member } from './fabric-fixture.ts';
import { createMemoryDisk } from './memory-disk.ts';

export interface Server {
  /** Opens a stream to it as `from`; `served` settles when the handler has. */
  open(from: string): FramePair & { served: Promise<Error | undefined> };
  refusals: { peerId: string; reason: string }[];
  welcomed: { peerId: string; identity: MemberIdentity }[];
}

export function serve(
  fabric: Fabric,
  by: Member,
  admission?: { tokens: TokenBook; admit: (request: AdmissionRequest) => Promise<AdmissionAnswer> },
): Server {
  const refusals: Server['refusals'] = [];
  const welcomed: Server['welcomed'] = [];
  const handler = createEnrollmentServer({
    fabricId: fabric.id,
    fabricName: fabric.name,
    chain: () => by.chain,
    verifyChain: createChainVerifier({ fabricId: fabric.id, clock: fabric.clock }),
    clock: fabric.clock,
    onAdmitted: (peerId, identity) => void welcomed.push({ peerId, identity }),
    onRefused: (refusal) => void refusals.push(refusal),
    ...(admission && { admission }),
  });
  return {
    open(from) {
      const pair = createFramePair(enrollmentProtocol);
      const served = handler(pair.far, from).then(
        () => undefined,
        (error: Error) => {
          // The mesh resets the stream of a handler that rejects.
          pair.far.abort(error);
          return error;
        },
      );
      return { ...pair, served };
    },
    refusals,
    welcomed,
  };
}

export interface Box {
  peerId: string;
  key: PrivateKey;
}

export interface Site {
  fabric: Fabric;
  tokens: TokenBook;
  server: Server;
  requests: AdmissionRequest[];
  newToken(request?: Partial<TokenRequest>): Promise<string>;
  newBox(): Box;
  enroll(box: Box, token: string, more?: Partial<TokenEnrollment>): ReturnType<typeof enrollWithToken>;
  /** What the box asks with, on a stream of the caller's. */
  enrollmentOf(
    box: Box,
    token: string,
    stream: TokenEnrollment['stream'],
    more?: Partial<TokenEnrollment>,
  ): TokenEnrollment;
}

export async function createSite(refuseNames: string[] = []): Promise<Site> {
  const fabric = createFabric();
  const { clock, random, keys, controller } = fabric;
  const tokens = await createTokenBook({ disk: createMemoryDisk(), clock, random, fabricId: fabric.id });
  const requests: AdmissionRequest[] = [];
  const server = serve(fabric, controller, {
    tokens,
    async admit(request) {
      requests.push(request);
      if (refuseNames.includes(request.name)) return { refused: `the name ${request.name} is taken` };
      const key = { publicKey: request.publicKey } as PrivateKey;
      const { chain } = fabric.addNode(request.name, { peerId: request.peerId, key });
      return {
        chain: chain.map((der) => Buffer.from(der).toString('base64')),
        node: request.name,
        router: request.router,
        controllers: [{ peerId: controller.peerId, addresses: ['/ip4/192.0.2.7/tcp/7433'] }],
      };
    },
  });
  const site: Site = {
    fabric,
    tokens,
    server,
    requests,
    newToken: async (request = {}) =>
      (await tokens.create({ uses: 1, ttlMs: hourMs, labels: {}, router: 'edge', ...request })).token,
    newBox: () => ({ peerId: peerIdOf(keys.create('Ed25519').publicKey), key: keys.create('P-256') }),
    enroll: (box, token, more) =>
      enrollWithToken(site.enrollmentOf(box, token, more?.stream ?? server.open(box.peerId).near, more)),
    enrollmentOf: (box, token, stream, more) => ({
      stream,
      peerId: controller.peerId,
      clock,
      token,
      self: box.peerId,
      name: 'box2',
      nameChosen: false,
      key: box.key,
      labels: {},
      engines: ['process'],
      platform: { os: 'linux', arch: 'x64', software: '0.1.0' },
      ...more,
    }),
  };
  return site;
}

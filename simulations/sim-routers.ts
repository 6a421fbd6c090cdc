// Interior routers alone, hundreds of them: the product's routing (node-runtime/routing.ts) on simulated links that carry its messages.
// Called by tests and by the bench `routing`. It has no discovery, no admission and no streams of frames: sim-node.ts has those, and no
// such number of nodes. What a message is in bytes is what it is as JSON. Signatures are real ones, each verified once for all routers.

import type { MeshEvent, PeerId } from '../mesh/mesh.ts';
import type { RouterMode } from '../mesh/own-links.ts';
import type { TrafficMessage } from '../node-runtime/link-session.ts';
import { createRouting, type Routing } from '../node-runtime/routing.ts';
import { createRoot, issueControllerAuthority, issueNodeAuthority } from '../pki/certificates.ts';
import type { SignPayload, VerifySigned } from '../pki/identity.ts';
import { fabricIdOf } from '../pki/names.ts';
import { peerIdOf } from '../pki/peer-id.ts';
import { createSignatureVerifier, createSigner } from '../pki/signature.ts';
import { createChainVerifier } from '../pki/verify-chain.ts';
import type { SimClock } from './sim-clock.ts';
import { createSimKeys } from './sim-keys.ts';
import { createSimLife } from './sim-life.ts';
import type { SimRandom } from './sim-random.ts';

export interface SimRouter {
  readonly peerId: PeerId;
  readonly mode: RouterMode;
  readonly routing: Routing;
  readonly running: boolean;
}

export interface SimTraffic {
  messages: number;
  bytes: number;
  /** Link states in them. */
  statements: number;
  /** When the last message that carried any arrived. */
  lastAtMs: number;
  /** When the last end of a link noticed that it is lost. */
  noticedAtMs: number;
}

export interface SimRouters {
  readonly routers: readonly SimRouter[];
  /** Of all routers together, since the last call. */
  takeTraffic(): SimTraffic;
  /** Both ends have the link a moment later. */
  link(one: number, other: number, costMicroseconds: number): void;
  /** Nothing passes any more, and both ends notice it after the time that keep-alives take. */
  cut(one: number, other: number): void;
  /** It is gone, without a word. */
  crash(index: number): void;
  /** As one whose disk has kept its boot counter. */
  restart(index: number): void;
  /** The whole numbers of both ends and what a link costs. */
  links(): { one: number; other: number; costMicroseconds: number }[];
  /** Why link states were refused; nothing where everybody is honest. */
  readonly refused: string[];
}

interface Link {
  ends: [number, number];
  costMicroseconds: number;
  latencyMs: number;
  open: boolean;
  /** When the wire of each direction is free again. */
  freeAtMs: [number, number];
}

/** 100 Mbit/s. */
const bytesPerMs = 12_500;
const lossNoticeMs = { min: 600, max: 1_400 };

export function createSimRouters({
  clock,
  random,
  modes,
}: {
  clock: SimClock;
  random: SimRandom;
  /** One router for each. */
  modes: readonly RouterMode[];
}): SimRouters {
  const fabric = createFabric(clock, random);
  const links = new Set<Link>();
  const refused: string[] = [];
  const none = (): SimTraffic => ({
    ...{ messages: 0, bytes: 0, statements: 0, lastAtMs: clock.now(), noticedAtMs: clock.now() },
  });
  let traffic = none();

  function createOne(mode: RouterMode, index: number) {
    const { peerId, node, sign } = fabric.member(index);
    let bootCounter = 0;
    const neighbours = new Map<PeerId, Link>();
    const listeners = new Set<(event: MeshEvent) => void>();

    function live(): { routing: Routing; end(): void } {
      bootCounter += 1;
      neighbours.clear();
      listeners.clear();
      const life = createSimLife(clock);
      const jitter = random.fork(`router-${index}-${bootCounter}`);
      const routing = createRouting({
        ...{ fabricId: fabric.fabricId, node, router: mode, bootCounter, clock: life.clock },
        mesh: {
          peerId,
          costMicroseconds: (to) => neighbours.get(to)?.costMicroseconds,
          subscribe(listener) {
            listeners.add(listener);
            return () => listeners.delete(listener);
          },
        },
        jitter: () => jitter.next(),
        sign: () => sign,
        verifySigned: fabric.verifySigned,
        announcements: { held: () => undefined, all: () => [] },
        onAnnouncement: () => undefined,
        called: () => new Set(),
        onRefused: (_, reason) => refused.push(reason),
      });
      routing.start();
      return { routing, end: () => life.end() };
    }

    let current: ReturnType<typeof live> | undefined = live();
    const last = current.routing;
    return {
      peerId,
      mode,
      neighbours,
      get running() {
        return current !== undefined;
      },
      get routing() {
        return current?.routing ?? last;
      },
      crash() {
        current?.end();
        current = undefined;
      },
      restart() {
        current ??= live();
      },
    };
  }

  const routers = modes.map(createOne);
  const at = (index: number): (typeof routers)[number] => routers[index] as (typeof routers)[number];

  /** As JSON; a JWS is the same text there. */
  function sizeOf(message: TrafficMessage): number {
    if (message.type !== 'statements') return JSON.stringify(message).length;
    const jws = message.list.reduce((bytes, statement) => bytes + statement.jws.length, 0);
    return jws + JSON.stringify({ ...message, list: message.list.map((each) => ({ ...each, jws: '' })) }).length;
  }

  /** Resolves when the wire has taken it. */
  async function carry(link: Link, direction: 0 | 1, message: TrafficMessage): Promise<void> {
    const bytes = sizeOf(message);
    const from = at(link.ends[direction]);
    const to = at(link.ends[direction === 0 ? 1 : 0]);
    const statements = message.type === 'statements' ? message.list.length : 0;
    traffic.messages += 1;
    traffic.bytes += bytes;
    traffic.statements += statements;
    const now = clock.now();
    const begin = Math.max(now, link.freeAtMs[direction]);
    link.freeAtMs[direction] = begin + bytes / bytesPerMs;
    clock.setTimeout(
      () => {
        if (!link.open || !from.running || to.neighbours.get(from.peerId) !== link) return;
        if (statements > 0) traffic.lastAtMs = clock.now();
        to.routing.receive(from.peerId, message);
      },
      link.freeAtMs[direction] - now + link.latencyMs,
    );
    if (link.freeAtMs[direction] - now >= 1) await clock.sleep(link.freeAtMs[direction] - now);
  }

  function notice(link: Link, direction: 0 | 1): void {
    const [self, far] = [at(link.ends[direction]), at(link.ends[direction === 0 ? 1 : 0])];
    clock.setTimeout(
      () => {
        if (!self.running || self.neighbours.get(far.peerId) !== link) return;
        self.neighbours.delete(far.peerId);
        traffic.noticedAtMs = clock.now();
        self.routing.end(far.peerId);
      },
      lossNoticeMs.min + (lossNoticeMs.max - lossNoticeMs.min) * random.next(),
    );
  }

  function lose(link: Link): void {
    link.open = false;
    links.delete(link);
    notice(link, 0);
    notice(link, 1);
  }

  return {
    routers,
    refused,
    takeTraffic() {
      const taken = traffic;
      traffic = none();
      return taken;
    },
    link(one, other, costMicroseconds) {
      const latencyMs = costMicroseconds / 2_000;
      const link: Link = { ends: [one, other], costMicroseconds, latencyMs, open: true, freeAtMs: [0, 0] };
      links.add(link);
      clock.setTimeout(() => {
        if (!link.open) return;
        for (const direction of [0, 1] as const) {
          const [self, far] = [at(link.ends[direction]), at(link.ends[direction === 0 ? 1 : 0])];
          self.neighbours.set(far.peerId, link);
          self.routing.begin(far.peerId, far.mode, (message) => carry(link, direction, message));
        }
      }, latencyMs);
    },
    cut(one, other) {
      for (const link of links) if (link.ends.includes(one) && link.ends.includes(other)) lose(link);
    },
    crash(index) {
      at(index).crash();
      for (const link of links) if (link.ends.includes(index)) lose(link);
    },
    restart: (index) => at(index).restart(),
    links: () => [...links].map(({ ends: [one, other], costMicroseconds }) => ({ one, other, costMicroseconds })),
  };
}

/** Root, controller and the authorities of the members, all from the seed. */
function createFabric(clock: SimClock, random: SimRandom) {
  const keys = createSimKeys(random.fork('keys'));
  const moment = { random: random.fork('certificates'), nowMs: clock.now() };
  const rootKey = keys.create('P-256');
  const root = createRoot({ key: rootKey, fabricName: 'routers', ...moment });
  const fabricId = fabricIdOf(rootKey.publicKey);
  const controllerKey = keys.create('P-256');
  const newPeerId = (): PeerId => peerIdOf(keys.create('Ed25519').publicKey);
  const controller = issueControllerAuthority({
    issuer: { key: rootKey, certificate: root },
    ...{ publicKey: controllerKey.publicKey, node: 'controller', peerId: newPeerId(), ...moment },
  });
  const verify = createSignatureVerifier({ verifyChain: createChainVerifier({ fabricId, clock, root }) });
  const verified = new Map<string, ReturnType<VerifySigned>>();
  return {
    fabricId,
    /** A signature says the same to each of them. */
    verifySigned(jws: string, type: string): ReturnType<VerifySigned> {
      const known = verified.get(jws) ?? verify(jws, type);
      verified.set(jws, known);
      return known;
    },
    member(index: number): { peerId: PeerId; node: string; sign: SignPayload } {
      const key = keys.create('P-256');
      const [peerId, node] = [newPeerId(), `router-${index}`];
      const authority = issueNodeAuthority({
        issuer: { key: controllerKey, certificate: controller },
        ...{ publicKey: key.publicKey, node, peerId, fabricId, covers: [], issueNumber: 1, ...moment },
      });
      return { peerId, node, sign: createSigner({ key, chain: [authority, controller, root] }) };
    },
  };
}

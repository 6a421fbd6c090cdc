// The simulated network: the mesh port between nodes of one process, with delay, partition, cut and crash. Used by
// scenarios and by tests. Every delivery is a timer of the simulated clock, drawn from seeded streams of numbers, so that a
// seed gives one trace. A lost link is reported after a drawn delay; keep-alives are not simulated one by one.

import {
  NotConnectedError,
  PeerMismatchError,
  ProtocolRefusedError,
  StreamResetError,
  UnreachableError,
} from '../mesh/errors.ts';
import { costSettleMs, foundExpiryMs, frameBytesMax, streamLingerMs, unadmittedFrameBytesMax } from '../mesh/limits.ts';
import { createLinkCost, type LinkCost, sampleCost } from '../mesh/link-cost.ts';
import type { Address, Audience, Mesh, MeshEvent, PeerId, StreamHandler } from '../mesh/mesh.ts';
import type { Clock } from '../node-runtime/clock.ts';
import { createSimStreamPair, type SimStream } from './sim-mesh-stream.ts';
import type { SimRandom } from './sim-random.ts';

export interface SimFrame {
  atMs: number;
  from: PeerId;
  to: PeerId;
  protocol: string;
  frame: Uint8Array;
}

export interface SimNetworkOptions {
  clock: Clock;
  random: SimRandom;
  /** One-way delay of a link in milliseconds: drawn once per pair of nodes, and varied by a tenth per frame. */
  latencyMs?: { min: number; max: number };
  /** How long it takes until the ends of a broken link know. */
  lossNoticeMs?: { min: number; max: number };
  /** How long it takes until nodes on the network find each other. */
  discoveryMs?: { min: number; max: number };
  /** Called for each frame when it is delivered. */
  onFrame?: (frame: SimFrame) => void;
}

export interface SimNetwork {
  /** A node of the network, stopped. A new one under a known peer id takes the place of a crashed one. */
  createMesh(node: { peerId: PeerId; name: string }): Mesh;
  /** Nothing passes between the sets from now on; links between them are lost. Adds to earlier partitions. */
  partition(setA: readonly PeerId[], setB: readonly PeerId[]): void;
  /** Undoes every partition and cut. */
  heal(): void;
  cut(peerA: PeerId, peerB: PeerId): void;
  /** Frames between the two take so long one way from now on; what the link costs follows once it has been so for a while. */
  setLatency(peerA: PeerId, peerB: PeerId, latencyMs: number): void;
  /** To each of the two the other one is late with its signs of life, from now on or no longer. */
  setOverdue(peerA: PeerId, peerB: PeerId, overdue: boolean): void;
  /** The node is gone in the middle of what it did: it gets and emits nothing any more, and others notice later. */
  crash(peerId: PeerId): void;
}

interface SimLink {
  nodes: [SimNode, SimNode];
  openedAtMs: number;
  /** As both ends measure it. */
  cost: LinkCost;
  streams: Set<{ near: SimStream; far: SimStream; audience: Audience; server: SimNode }>;
  open: boolean;
}

interface SimNode {
  peerId: PeerId;
  name: string;
  address: Address;
  running: boolean;
  /** When it crashed: others remember what it said until that expires. */
  crashedAt: number | undefined;
  fabricId: string | undefined;
  links: Map<PeerId, SimLink>;
  admitted: Set<PeerId>;
  handlers: Map<string, { audience: Audience; handler: StreamHandler }>;
  found: Map<PeerId, { peerId: PeerId; addresses: Address[]; fabricId: string | undefined }>;
  /** How long others may be silent, where that is more than usual. */
  allowedMs: Map<PeerId, number>;
  emit(event: MeshEvent): void;
}

const DEFAULT_LATENCY = { min: 1, max: 4 };
const DEFAULT_LOSS_NOTICE = { min: 600, max: 1_400 };
const DEFAULT_DISCOVERY = { min: 20, max: 300 };
/** What a dial to nobody takes before it fails, as a refused connection does. */
const REFUSED_AFTER_MS = 5;
/** The port of the addresses, as a real node would have. */
const PORT = 7433;

export function createSimNetwork(options: SimNetworkOptions): SimNetwork {
  const { clock, random, onFrame } = options;
  const latency = options.latencyMs ?? DEFAULT_LATENCY;
  const lossNotice = options.lossNoticeMs ?? DEFAULT_LOSS_NOTICE;
  const discoveryDelay = options.discoveryMs ?? DEFAULT_DISCOVERY;
  const nodes = new Map<PeerId, SimNode>();
  const byAddress = new Map<Address, SimNode>();
  /** Pairs between which nothing passes, and since when. */
  const broken = new Map<string, number>();
  const pairs = new Map<string, { baseMs: number; random: SimRandom }>();
  const overduePairs = new Set<string>();
  let addressCount = 0;

  const pairOf = (a: PeerId, b: PeerId): string => (a < b ? `${a} ${b}` : `${b} ${a}`);
  const between = (range: { min: number; max: number }, from: SimRandom): number =>
    range.min + (range.max - range.min) * from.next();

  /** Each pair of nodes draws from a stream of its own: what others do does not shift it. */
  function pair(a: PeerId, b: PeerId): { baseMs: number; random: SimRandom } {
    const key = pairOf(a, b);
    let known = pairs.get(key);
    if (known === undefined) {
      const own = random.fork(key);
      known = { baseMs: between(latency, own), random: own };
      pairs.set(key, known);
    }
    return known;
  }

  function delayMs(a: PeerId, b: PeerId): number {
    const { baseMs, random: own } = pair(a, b);
    return baseMs * (0.95 + 0.1 * own.next());
  }

  const reachable = (a: SimNode, b: SimNode): boolean =>
    a.running && b.running && !broken.has(pairOf(a.peerId, b.peerId));

  // --- links

  function link(dialler: SimNode, target: SimNode): void {
    const made: SimLink = {
      ...{ nodes: [dialler, target], openedAtMs: clock.now(), cost: createLinkCost(), streams: new Set(), open: true },
    };
    dialler.links.set(target.peerId, made);
    target.links.set(dialler.peerId, made);
    target.emit({ type: 'connected', peerId: dialler.peerId, direction: 'inbound', address: dialler.address });
    dialler.emit({ type: 'connected', peerId: target.peerId, direction: 'outbound', address: target.address });
    clock.setTimeout(() => measure(made), 2 * pair(dialler.peerId, target.peerId).baseMs);
  }

  /** Single pings are not simulated: they would all find the same. */
  function measure({ nodes: [a, b], cost, open: stands }: SimLink): void {
    if (!stands || !sampleCost(cost, 2 * pair(a.peerId, b.peerId).baseMs, clock.now())) return;
    const costMicroseconds = cost.saidMicroseconds ?? 0;
    a.emit({ type: 'cost', peerId: b.peerId, costMicroseconds });
    b.emit({ type: 'cost', peerId: a.peerId, costMicroseconds });
  }

  /** Both ends learn it at times of their own; until then they believe in the link, but nothing passes. */
  function lose(lost: SimLink): void {
    if (!lost.open) return;
    lost.open = false;
    const [a, b] = lost.nodes;
    const { random: own } = pair(a.peerId, b.peerId);
    for (const [node, other] of [
      [a, b],
      [b, a],
    ] as const) {
      const noticedMs = Math.max(between(lossNotice, own), node.allowedMs.get(other.peerId) ?? 0);
      clock.setTimeout(() => unlink(node, other, lost, 'no sign of life'), noticedMs);
    }
  }

  /** One end takes note that the link is gone. */
  function unlink(node: SimNode, other: SimNode, lost: SimLink, reason: string): void {
    lost.open = false;
    if (!node.running || node.links.get(other.peerId) !== lost) return;
    node.links.delete(other.peerId);
    node.admitted.delete(other.peerId);
    for (const stream of lost.streams)
      endOf(stream, node).fail(new StreamResetError(`the connection is gone: ${reason}`));
    node.emit({ type: 'disconnected', peerId: other.peerId, reason });
  }

  function endOf(stream: { near: SimStream; far: SimStream; server: SimNode }, node: SimNode): SimStream {
    return stream.server === node ? stream.far : stream.near;
  }

  /** Closed on purpose: the other end hears of it after the link's delay. */
  function closeLink(node: SimNode, closing: SimLink, reason: string): void {
    const other = closing.nodes[0] === node ? closing.nodes[1] : closing.nodes[0];
    const wasOpen = closing.open;
    unlink(node, other, closing, reason);
    if (!wasOpen) return;
    const heard = () => unlink(other, node, closing, 'the other side closed the connection');
    if (reachable(node, other)) clock.setTimeout(heard, delayMs(node.peerId, other.peerId));
    else clock.setTimeout(heard, between(lossNotice, pair(node.peerId, other.peerId).random));
  }

  async function dial(
    node: SimNode,
    address: Address,
    expected: PeerId | undefined,
    signal?: AbortSignal,
  ): Promise<PeerId> {
    const target = byAddress.get(address);
    if (target === undefined || target === node || !reachable(node, target)) {
      await clock.sleep(REFUSED_AFTER_MS, signal);
      throw new Error(`${address}: connection refused`);
    }
    // TCP and Noise: two round trips.
    await clock.sleep(4 * delayMs(node.peerId, target.peerId), signal);
    if (!node.running) throw new NotConnectedError('the mesh is not running');
    if (!reachable(node, target)) throw new Error(`${address}: no answer`);
    if (expected !== undefined && expected !== target.peerId) throw new PeerMismatchError(expected, target.peerId);
    const existing = node.links.get(target.peerId);
    if (existing?.open !== true) {
      // What an end still believes of an older link ends with the new one.
      for (const [end, other] of [
        [node, target],
        [target, node],
      ] as const) {
        const stale = end.links.get(other.peerId);
        if (stale !== undefined) unlink(end, other, stale, 'the connection was made anew');
      }
      link(node, target);
    }
    return target.peerId;
  }

  // --- streams

  async function open(node: SimNode, peerId: PeerId, protocol: string, signal?: AbortSignal): Promise<SimStream> {
    signal?.throwIfAborted();
    const over = node.links.get(peerId);
    if (!node.running || over === undefined) throw new NotConnectedError(`there is no connection to ${peerId}`);
    const server = over.nodes[0] === node ? over.nodes[1] : over.nodes[0];
    // The question and its answer.
    await clock.sleep(2 * delayMs(node.peerId, peerId), signal);
    if (!over.open || node.links.get(peerId) !== over)
      throw new NotConnectedError(`the connection to ${peerId} is gone`);
    const served = server.handlers.get(protocol);
    if (served === undefined || (served.audience === 'admitted' && !server.admitted.has(node.peerId))) {
      throw new ProtocolRefusedError(`${peerId} does not serve ${protocol} to this node`);
    }
    const { near, far } = createSimStreamPair({
      protocol,
      clock,
      delayMs: () => delayMs(node.peerId, peerId),
      passes: () => over.open && reachable(node, server),
      frameBytesMax: {
        toFar: served.audience === 'anyone' ? unadmittedFrameBytesMax : frameBytesMax,
        toNear: frameBytesMax,
      },
      onFrame: (toFar, frame) => {
        const [from, to] = toFar ? [node.peerId, peerId] : [peerId, node.peerId];
        onFrame?.({ atMs: clock.now(), from, to, protocol, frame });
      },
    });
    const entry = { near, far, audience: served.audience, server };
    over.streams.add(entry);
    void Promise.all([near.finished, far.finished]).then(() => over.streams.delete(entry));
    void serve(far, node.peerId, served.handler);
    return near;
  }

  async function serve(stream: SimStream, from: PeerId, handler: StreamHandler): Promise<void> {
    try {
      await handler(stream, from);
      await stream.close();
      const timer = clock.setTimeout(() => stream.abort(new Error('the far end left the stream open')), streamLingerMs);
      void stream.finished.then(() => clock.clearTimeout(timer));
    } catch (error) {
      stream.abort(error instanceof Error ? error : new Error(String(error)));
    }
  }

  // --- discovery

  /** What a node says reaches the others after delays of their own, in the order of their peer ids. */
  function announce(from: SimNode): void {
    const entry = { peerId: from.peerId, addresses: [from.address], fabricId: from.fabricId };
    for (const to of [...nodes.values()].sort((a, b) => (a.peerId < b.peerId ? -1 : 1))) {
      if (to === from) continue;
      clock.setTimeout(() => hear(to, from, entry), between(discoveryDelay, pair(from.peerId, to.peerId).random));
    }
  }

  function hear(
    to: SimNode,
    from: SimNode,
    entry: { peerId: PeerId; addresses: Address[]; fabricId: string | undefined },
  ): void {
    if (!reachable(from, to) || from.fabricId !== entry.fabricId) return;
    const before = to.found.get(from.peerId);
    to.found.set(from.peerId, entry);
    if (
      before !== undefined &&
      before.fabricId === entry.fabricId &&
      before.addresses.join() === entry.addresses.join()
    ) {
      return;
    }
    to.emit({ type: 'found', ...entry });
  }

  /** Not heard of for so long that it is forgotten. */
  function isForgotten(to: SimNode, peerId: PeerId): boolean {
    const since = broken.get(pairOf(to.peerId, peerId)) ?? nodes.get(peerId)?.crashedAt;
    return since !== undefined && clock.now() - since >= foundExpiryMs;
  }

  // --- nodes

  function stopNode(node: SimNode): void {
    for (const each of [...node.links.values()]) closeLink(node, each, 'this node is stopping');
    node.running = false;
    node.found.clear();
    for (const other of nodes.values()) other.found.delete(node.peerId);
  }

  function createMesh({ peerId, name }: { peerId: PeerId; name: string }): Mesh {
    const existing = nodes.get(peerId);
    if (existing?.running === true) throw new Error(`the node ${existing.name} runs under this peer id`);
    addressCount++;
    const listeners = new Set<(event: MeshEvent) => void>();
    const node: SimNode = {
      peerId,
      name,
      address:
        existing?.address ??
        `/ip4/10.${(addressCount >> 16) & 255}.${(addressCount >> 8) & 255}.${addressCount & 255}/tcp/${PORT}`,
      running: false,
      crashedAt: undefined,
      fabricId: undefined,
      links: new Map(),
      admitted: new Set(),
      handlers: new Map(),
      found: new Map(),
      allowedMs: new Map(),
      emit(event) {
        for (const listener of [...listeners]) listener(event);
      },
    };
    nodes.set(peerId, node);
    byAddress.set(node.address, node);

    return {
      peerId,
      async start() {
        if (node.running || node.crashedAt !== undefined || nodes.get(peerId) !== node) return;
        node.running = true;
        announce(node);
        // The new node asks, the others answer.
        for (const other of nodes.values()) if (other !== node && other.running) answer(other, node);
      },
      async stop() {
        if (node.running) stopNode(node);
      },
      addresses: () => [node.address],
      advertise(fabricId) {
        if (node.fabricId === fabricId) return;
        node.fabricId = fabricId;
        if (node.running) announce(node);
      },
      found: () => [...node.found.values()].filter((entry) => !isForgotten(node, entry.peerId)),
      handle: (protocol, audience, handler) => node.handlers.set(protocol, { audience, handler }),
      // Here everybody is reached directly or not at all.
      route: () => undefined,
      async connect(target, signal) {
        signal?.throwIfAborted();
        if (!node.running) throw new NotConnectedError('the mesh is not running');
        if (target.peerId === peerId) throw new NotConnectedError('a node does not connect to itself');
        if (target.peerId !== undefined && node.links.has(target.peerId)) return target.peerId;
        const failures: unknown[] = [];
        for (const address of target.addresses) {
          try {
            return await dial(node, address, target.peerId, signal);
          } catch (error) {
            signal?.throwIfAborted();
            if (target.peerId !== undefined && node.links.has(target.peerId)) return target.peerId;
            failures.push(error);
          }
        }
        const known = failures.find(
          (error) => error instanceof PeerMismatchError || error instanceof NotConnectedError,
        );
        throw known ?? new UnreachableError(`no address answered (${failures.map(String).join('; ')})`);
      },
      open: (to, protocol, signal) => open(node, to, protocol, signal),
      async disconnect(to) {
        const closing = node.links.get(to);
        if (closing !== undefined) closeLink(node, closing, 'this node closed the connection');
      },
      admit(to) {
        if (node.links.has(to)) node.admitted.add(to);
      },
      expel(to) {
        node.admitted.delete(to);
        for (const stream of [...(node.links.get(to)?.streams ?? [])]) {
          // As in the real adapter: what the peer was served as anybody stays.
          if (stream.audience === 'admitted' || stream.server !== node) {
            endOf(stream, node).abort(new ProtocolRefusedError('the peer is no longer admitted'));
          }
        }
      },
      isAdmitted: (of) => node.admitted.has(of),
      allowSilence: (to, silentMs = 0) => void node.allowedMs.set(to, silentMs),
      connected: () => [...node.links.keys()],
      costMicroseconds: (to) => node.links.get(to)?.cost.saidMicroseconds,
      connection(to) {
        const link = node.links.get(to);
        if (link === undefined) return undefined;
        const far = link.nodes[0] === node ? link.nodes[1] : link.nodes[0];
        return {
          address: far.address,
          openedAtMs: link.openedAtMs,
          through: undefined,
          bytes: undefined,
          overdue: overduePairs.has(pairOf(peerId, to)),
        };
      },
      roundTripMs: (to) => (node.links.has(to) ? 2 * pair(peerId, to).baseMs : undefined),
      subscribe(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    };
  }

  function answer(from: SimNode, to: SimNode): void {
    const entry = { peerId: from.peerId, addresses: [from.address], fabricId: from.fabricId };
    clock.setTimeout(() => hear(to, from, entry), between(discoveryDelay, pair(from.peerId, to.peerId).random));
  }

  function breakPair(a: PeerId, b: PeerId): void {
    if (!broken.has(pairOf(a, b))) broken.set(pairOf(a, b), clock.now());
    const lost = nodes.get(a)?.links.get(b);
    if (lost !== undefined) lose(lost);
  }

  return {
    createMesh,
    partition(setA, setB) {
      for (const a of setA) for (const b of setB) if (a !== b) breakPair(a, b);
    },
    heal() {
      for (const node of nodes.values()) {
        for (const peerId of [...node.found.keys()]) if (isForgotten(node, peerId)) node.found.delete(peerId);
      }
      broken.clear();
      for (const node of nodes.values()) if (node.running) announce(node);
    },
    cut: breakPair,
    setLatency(a, b, latencyMs) {
      pair(a, b).baseMs = latencyMs;
      const over = nodes.get(a)?.links.get(b);
      if (over === undefined) return;
      measure(over);
      clock.setTimeout(() => measure(over), costSettleMs);
    },
    setOverdue(a, b, overdue) {
      if (overdue) overduePairs.add(pairOf(a, b));
      else overduePairs.delete(pairOf(a, b));
    },
    crash(peerId) {
      const node = nodes.get(peerId);
      if (node === undefined || !node.running) return;
      node.running = false;
      node.crashedAt = clock.now();
      node.emit = () => {};
      for (const each of node.links.values()) {
        for (const stream of each.streams) endOf(stream, node).fail(new StreamResetError('this node has crashed'));
        lose(each);
      }
      node.links.clear();
    },
  };
}

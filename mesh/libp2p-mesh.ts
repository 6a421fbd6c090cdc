// The mesh port on libp2p: links, streams, admission, keep-alive and discovery of one node. Made by the composition root.
// It never decides whom to link to or admit, never redials by itself, and serves nothing but what `handle` was given.

import type { Clock, TimerId } from '../node-runtime/clock.ts';
import type { Random } from '../node-runtime/random.ts';
import { dialAny } from './dialler.ts';
import { createDiscovery } from './discovery.ts';
import { ListenError, NotConnectedError, ProtocolRefusedError, StreamResetError } from './errors.ts';
import {
  createInterfaceWatch,
  dialableAddresses,
  type InterfaceFilter,
  notVirtual,
  readInterfaces,
} from './interfaces.ts';
import { createLiveness, judge, type KeepAliveSettings, type Liveness, sampleRoundTrip } from './keep-alive.ts';
import { type Connection, createLibp2pNode, type LinkMuxer, muxerOf, type Stream } from './libp2p-node.ts';
import {
  connectionsPerPeerMax,
  frameBytesMax,
  keepAliveIntervalMs,
  openTimeoutMs,
  silentMsMax,
  streamLingerMs,
  streamsPerProtocolMax,
  unadmittedConnectionsMax,
  unadmittedFrameBytesMax,
  unadmittedStreamsMax,
} from './limits.ts';
import { type LinkFacts, linkToEvict, preferredLink, redundantLinks } from './link-table.ts';
import type { Address, Audience, Mesh, MeshEvent, PeerId, StreamHandler } from './mesh.ts';
import { createLinkStream, type LinkStream } from './stream-frames.ts';

/** Fields first, then the text, as pino has it. */
export interface MeshLogger {
  debug(fields: object, text: string): void;
  warn(fields: object, text: string): void;
}

export interface Libp2pMeshOptions {
  /** PKCS#8 PEM of the node's Ed25519 key. */
  identityPem: string;
  clock: Clock;
  random: Random;
  /** Port 0 takes any. Hosts default to every address of both families. */
  listen: { port: number; hosts?: readonly string[] };
  /** Multicast DNS; the filter says which interfaces are used, by name. */
  discovery: boolean | { interfaces?: InterfaceFilter };
  keepAlive?: Partial<KeepAliveSettings>;
  logger?: MeshLogger;
}

interface Link extends LinkFacts {
  connection: Connection;
  muxer: LinkMuxer;
  address: Address;
  liveness: Liveness;
  /** Why we closed it, when we did. */
  closedBecause: string | undefined;
}

interface OpenStream {
  stream: LinkStream;
  audience: Audience;
}

const ANY_HOST = ['0.0.0.0', '::'] as const;

/** Rejects with IdentityKeyError. `start` rejects with ListenError. */
export async function createLibp2pMesh(options: Libp2pMeshOptions): Promise<Mesh> {
  const { identityPem, clock, random, logger } = options;
  const settings: KeepAliveSettings = { intervalMs: keepAliveIntervalMs, silentMsMax, ...options.keepAlive };
  const filter = (typeof options.discovery === 'object' ? options.discovery.interfaces : undefined) ?? notVirtual;
  const node = await createLibp2pNode({ identityPem });
  const self = node.peerId;
  const links = new Map<PeerId, Link[]>();
  const streams = new Map<PeerId, Set<OpenStream>>();
  const admitted = new Set<PeerId>();
  const dialling = new Map<PeerId, Promise<PeerId>>();
  const listeners = new Set<(event: MeshEvent) => void>();
  const interfaces = createInterfaceWatch({ clock, read: () => readInterfaces(filter) });
  let listening: { host: string; port: number }[] = [];
  let state: 'stopped' | 'started' = 'stopped';
  let changing: Promise<void> = Promise.resolve();
  let beat: TimerId | undefined;
  let beatAt = 0;
  let stopping = new AbortController();

  const discovery = createDiscovery({
    peerId: self,
    addresses,
    interfaces: () => interfaces.current(),
    clock,
    random,
    onFound: (entry) => emit({ type: 'found', ...entry }),
    ...(logger === undefined ? {} : { logger }),
  });

  function emit(event: MeshEvent): void {
    for (const listener of [...listeners]) {
      try {
        listener(event);
      } catch (error) {
        logger?.warn({ error, event: event.type }, 'a listener of the mesh failed');
      }
    }
  }

  function addresses(): Address[] {
    return dialableAddresses(listening, interfaces.current());
  }

  // --- connections

  function onOpen(connection: Connection): void {
    const peerId = connection.remotePeer.toString();
    if (state === 'stopped' || connection.status !== 'open') {
      connection.abort(new Error('this node is stopping'));
      return;
    }
    const link: Link = {
      peerId,
      direction: connection.direction,
      host: connection.remoteAddr.toString().split('/')[2] ?? '',
      openedAt: clock.now(),
      connection,
      muxer: muxerOf(connection),
      address: connection.remoteAddr.toString().replace(/\/p2p\/[^/]*$/, ''),
      liveness: createLiveness(clock.now()),
      closedBecause: undefined,
    };
    connection.addEventListener('close', (event) => onClose(link, event.error));
    link.muxer.onData(() => {
      link.liveness.heardAt = clock.now();
    });
    link.muxer.onStream((stream) => refuseTooMany(link, stream));
    const others = links.get(peerId) ?? [];
    links.set(peerId, [...others, link]);
    if (others.length >= connectionsPerPeerMax) closeOldest(others);
    makeRoom();
    logger?.debug({ peerId, direction: link.direction, address: link.address }, 'connection open');
    if (others.length === 0) emit({ type: 'connected', peerId, direction: link.direction, address: link.address });
  }

  function onClose(link: Link, error: Error | undefined): void {
    const { peerId } = link;
    const all = links.get(peerId) ?? [];
    const left = all.filter((other) => other !== link);
    if (left.length === all.length) return;
    const reason = link.closedBecause ?? error?.message ?? 'the other side closed the connection';
    logger?.debug({ peerId, address: link.address, reason }, 'connection closed');
    if (left.length > 0) {
      links.set(peerId, left);
      return;
    }
    links.delete(peerId);
    admitted.delete(peerId);
    for (const { stream } of streams.get(peerId) ?? [])
      stream.abort(new StreamResetError(`the connection is gone: ${reason}`));
    streams.delete(peerId);
    node.forget(link.connection);
    emit({ type: 'disconnected', peerId, reason });
  }

  function drop(link: Link, reason: string): void {
    link.closedBecause ??= reason;
    link.connection.abort(new Error(reason));
  }

  function closeOldest(of: readonly Link[]): void {
    const kept = preferredLink(links.get(of[0]?.peerId ?? '') ?? [], self);
    const oldest = [...of].filter((link) => link !== kept).sort((a, b) => a.openedAt - b.openedAt)[0];
    if (oldest !== undefined) drop(oldest, 'too many connections of one peer');
  }

  function makeRoom(): void {
    const strangers = [...links.values()]
      .flat()
      .filter(({ direction, peerId }) => direction === 'inbound' && !admitted.has(peerId));
    if (strangers.length <= unadmittedConnectionsMax) return;
    const evicted = linkToEvict(strangers);
    if (evicted !== undefined) drop(evicted, 'too many connections of peers that are not admitted');
  }

  function refuseTooMany(link: Link, stream: Stream): void {
    if (admitted.has(link.peerId) || stream.direction !== 'inbound') return;
    const open = link.connection.streams.filter(({ direction }) => direction === 'inbound').length;
    if (open > unadmittedStreamsMax) stream.abort(new Error('too many streams of a peer that is not admitted'));
  }

  // --- keep-alive

  function onBeat(): void {
    const now = clock.now();
    // This process was frozen or starved, or the box's clock was set: the peers' silence is ours.
    const late = now < beatAt || now - beatAt > 2 * settings.intervalMs;
    beatAt = now;
    beat = clock.setTimeout(onBeat, settings.intervalMs);
    for (const ofPeer of [...links.values()]) {
      for (const link of redundantLinks(ofPeer, self, now)) closeWhenIdle(link);
      for (const link of ofPeer) {
        if (late) link.liveness.heardAt = now;
        const verdict = judge(link.liveness, now, settings);
        if (verdict === 'ping') void ping(link, now);
        if (verdict === 'dead') drop(link, `no sign of life for ${now - link.liveness.heardAt} ms`);
      }
    }
  }

  async function ping(link: Link, now: number): Promise<void> {
    const { liveness } = link;
    liveness.pinging = true;
    liveness.pingedAt = now;
    // The clock counts whole milliseconds; a round trip on a LAN takes a fraction of one.
    const sentAt = performance.now();
    try {
      await link.muxer.ping();
      liveness.pinging = false;
      sampleRoundTrip(liveness, performance.now() - sentAt);
    } catch {
      // The connection is closing; its event follows.
    }
  }

  function closeWhenIdle(link: Link): void {
    if (link.connection.streams.length > 0 || link.closedBecause !== undefined) return;
    link.closedBecause = 'a second connection to the peer was not needed';
    link.connection.close().catch((error) => link.connection.abort(error));
  }

  // --- streams

  function track(peerId: PeerId, open: OpenStream): void {
    const ofPeer = streams.get(peerId) ?? new Set();
    streams.set(peerId, ofPeer.add(open));
    void open.stream.finished.then(() => {
      ofPeer.delete(open);
      if (ofPeer.size === 0 && streams.get(peerId) === ofPeer) streams.delete(peerId);
    });
  }

  async function serve(stream: Stream, peerId: PeerId, audience: Audience, handler: StreamHandler): Promise<void> {
    if (state === 'stopped' || !links.has(peerId) || (audience === 'admitted' && !admitted.has(peerId))) {
      stream.abort(new ProtocolRefusedError(`${stream.protocol} is not served to ${peerId}`));
      return;
    }
    const link = createLinkStream(stream, 'serving', audience === 'anyone' ? unadmittedFrameBytesMax : frameBytesMax);
    track(peerId, { stream: link, audience });
    try {
      await handler(link, peerId);
      await link.close();
      const timer = clock.setTimeout(() => link.abort(new Error('the far end left the stream open')), streamLingerMs);
      void link.finished.then(() => clock.clearTimeout(timer));
    } catch (error) {
      logger?.debug({ peerId, protocol: stream.protocol, error }, 'a stream handler failed');
      link.abort(error instanceof Error ? error : new Error(String(error)));
    }
  }

  async function openStream(peerId: PeerId, protocol: string, signal: AbortSignal): Promise<LinkStream> {
    const link = preferredLink(links.get(peerId) ?? [], self);
    if (link === undefined) throw new NotConnectedError(`there is no connection to ${peerId}`);
    let stream: Stream;
    try {
      stream = await link.connection.newStream(protocol, { signal, maxOutboundStreams: streamsPerProtocolMax });
    } catch (cause) {
      signal.throwIfAborted();
      if (!links.has(peerId)) throw new NotConnectedError(`the connection to ${peerId} is gone`, { cause });
      throw new ProtocolRefusedError(`${peerId} does not serve ${protocol} to this node`, { cause });
    }
    const opened = createLinkStream(stream, 'opening');
    const abort = () => opened.abort(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    try {
      await opened.accepted;
      if (!links.has(peerId)) opened.abort(new NotConnectedError(`the connection to ${peerId} is gone`));
      else track(peerId, { stream: opened, audience: 'admitted' });
      return opened;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  // --- life

  async function listen(): Promise<void> {
    const { port, hosts = ANY_HOST } = options.listen;
    listening = [];
    let failure: unknown;
    for (const host of hosts) {
      // Both families on one port where it can be had: shorter to read, and one rule in a firewall.
      const wanted = port === 0 ? (listening[0]?.port ?? 0) : port;
      try {
        listening.push({ host, port: await listenOn(host, wanted, port === 0) });
      } catch (error) {
        // A box may lack one of the families; a port that is taken is another matter.
        if (port !== 0 && isTaken(error)) throw error;
        failure = error;
      }
    }
    if (listening.length === 0) throw failure ?? new ListenError('there is no host to listen on');
  }

  async function listenOn(host: string, port: number, anyPort: boolean): Promise<number> {
    try {
      return await node.listen(host, port);
    } catch (error) {
      if (anyPort && port !== 0 && isTaken(error)) return node.listen(host, 0);
      throw error;
    }
  }

  async function start(): Promise<void> {
    if (state === 'started') return;
    state = 'started';
    stopping = new AbortController();
    try {
      await node.libp2p.start();
      await listen();
      beatAt = clock.now();
      beat = clock.setTimeout(onBeat, settings.intervalMs);
      interfaces.start(() => discovery.refresh());
      if (options.discovery !== false) discovery.start();
    } catch (error) {
      await stop();
      throw error;
    }
  }

  async function stop(): Promise<void> {
    if (state === 'stopped') return;
    state = 'stopped';
    stopping.abort(new NotConnectedError('this node is stopping'));
    if (beat !== undefined) clock.clearTimeout(beat);
    interfaces.stop();
    await discovery.stop();
    for (const link of [...links.values()].flat()) link.closedBecause ??= 'this node is stopping';
    for (const { stream } of [...streams.values()].flatMap((ofPeer) => [...ofPeer])) {
      stream.abort(new NotConnectedError('this node is stopping'));
    }
    await node.libp2p.stop();
    for (const link of [...links.values()].flat()) drop(link, 'this node is stopping');
    listening = [];
  }

  /** One at a time, in call order. */
  function inTurn(change: () => Promise<void>): Promise<void> {
    const done = changing.then(change);
    changing = done.catch(() => {});
    return done;
  }

  node.libp2p.addEventListener('connection:open', ({ detail }) => onOpen(detail));

  return {
    peerId: self,
    start: () => inTurn(start),
    stop: () => inTurn(stop),
    addresses,
    advertise: (fabricId) => discovery.advertise(fabricId),
    found: () => discovery.found(),
    handle(protocol, audience, handler) {
      const limits = audience === 'anyone' ? unadmittedStreamsMax : streamsPerProtocolMax;
      node.libp2p
        .handle(
          protocol,
          (stream, connection) => {
            serve(stream, connection.remotePeer.toString(), audience, handler).catch((error) => stream.abort(error));
          },
          { force: true, maxInboundStreams: limits, maxOutboundStreams: streamsPerProtocolMax },
        )
        .catch((error) => logger?.warn({ error, protocol }, 'libp2p did not take a protocol'));
    },
    async connect(target, signal) {
      const { peerId: expected } = target;
      if (state === 'stopped') throw new NotConnectedError('the mesh is not running');
      if (expected === self) throw new NotConnectedError('a node does not connect to itself');
      const linked = () => expected !== undefined && links.has(expected);
      if (expected !== undefined && !linked()) await dialling.get(expected)?.catch(() => {});
      if (expected !== undefined && linked()) return expected;
      const dial = dialAny(
        target.addresses,
        {
          clock,
          dial: (address, attempt) => node.dial(address, expected, attempt),
          discard: (connection) => connection.abort(new Error('another address answered first')),
        },
        signal === undefined ? stopping.signal : AbortSignal.any([signal, stopping.signal]),
      ).then((connection) => connection.remotePeer.toString());
      if (expected === undefined) return dial;
      dialling.set(expected, dial);
      try {
        return await dial;
      } catch (error) {
        // It may have dialled us meanwhile.
        if (linked()) return expected;
        throw error;
      } finally {
        if (dialling.get(expected) === dial) dialling.delete(expected);
      }
    },
    async open(peerId, protocol, signal) {
      const late = new AbortController();
      const timer = clock.setTimeout(
        () =>
          late.abort(new ProtocolRefusedError(`${peerId} did not answer for ${protocol} within ${openTimeoutMs} ms`)),
        openTimeoutMs,
      );
      try {
        return await openStream(
          peerId,
          protocol,
          AbortSignal.any([late.signal, stopping.signal, ...(signal ? [signal] : [])]),
        );
      } finally {
        clock.clearTimeout(timer);
      }
    },
    async disconnect(peerId) {
      const closing = (links.get(peerId) ?? []).map(async (link) => {
        link.closedBecause ??= 'this node closed the connection';
        for (const stream of link.connection.streams) stream.abort(new Error(link.closedBecause));
        await link.connection.close().catch(() => {});
        drop(link, link.closedBecause);
      });
      await Promise.all(closing);
    },
    admit(peerId) {
      if (links.has(peerId)) admitted.add(peerId);
    },
    expel(peerId) {
      admitted.delete(peerId);
      for (const { stream, audience } of [...(streams.get(peerId) ?? [])]) {
        if (audience === 'admitted') stream.abort(new ProtocolRefusedError('the peer is no longer admitted'));
      }
    },
    isAdmitted: (peerId) => admitted.has(peerId),
    connected: () => [...links.keys()],
    roundTripMs: (peerId) => preferredLink(links.get(peerId) ?? [], self)?.liveness.roundTripMs,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

function isTaken(error: unknown): boolean {
  return error instanceof ListenError && String((error.cause as Error | undefined)?.message).includes('EADDRINUSE');
}

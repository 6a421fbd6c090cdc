// The mesh port on libp2p: links, streams, admission and discovery of one node. Made by the composition root.
// It never decides whom to link to or admit, never redials by itself, and serves nothing but what `handle` was given.

import type { Clock } from '../node-runtime/clock.ts';
import type { Random } from '../node-runtime/random.ts';
import { createDiscovery } from './discovery.ts';
import { NotConnectedError, ProtocolRefusedError, StreamResetError } from './errors.ts';
import { createFloodTeller } from './flood-teller.ts';
import {
  createInterfaceWatch,
  dialableAddresses,
  type InterfaceFilter,
  notVirtual,
  readInterfaces,
} from './interfaces.ts';
import type { KeepAliveSettings } from './keep-alive.ts';
import { createDials } from './libp2p-dials.ts';
import { createLinks } from './libp2p-links.ts';
import { listenOnHosts } from './libp2p-listen.ts';
import { type Connection, createLibp2pNode } from './libp2p-node.ts';
import { createStreams } from './libp2p-streams.ts';
import { keepAliveIntervalMs, silentMsMax, streamsPerProtocolMax, unadmittedStreamsMax } from './limits.ts';
import type { Address, FindStep, Mesh, MeshEvent, PeerId } from './mesh.ts';
import { createRoutedStreams } from './routed-streams.ts';
import { overdueLast } from './routes.ts';
import { createWayMarks } from './way-marks.ts';

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
  /** More arrives than is looked at; told at a bounded rate. */
  onFlood?: (message: string) => void;
}

const STOPPING = 'this node is stopping';

/** Rejects with IdentityKeyError. `start` rejects with ListenError, and then nothing is left open. */
export async function createLibp2pMesh(options: Libp2pMeshOptions): Promise<Mesh> {
  const { identityPem, clock, random, logger } = options;
  const filter = (typeof options.discovery === 'object' ? options.discovery.interfaces : undefined) ?? notVirtual;
  const tellFlood = createFloodTeller({ clock, tell: (message) => options.onFlood?.(message) });
  const node = await createLibp2pNode({
    identityPem,
    onCrowded: (host) =>
      tellFlood(
        'handshakes',
        `${host} connects while too many connections are not finished: the oldest of them was closed`,
      ),
  });
  const self = node.peerId;
  const admitted = new Set<PeerId>();
  const listeners = new Set<(event: MeshEvent) => void>();
  const marks = createWayMarks(clock);
  const interfaces = createInterfaceWatch({ clock, read: () => readInterfaces(filter) });
  let listening: { host: string; port: number }[] = [];
  let running = false;
  let stopping = new AbortController();
  let changing: Promise<void> = Promise.resolve();

  const links = createLinks({
    self,
    clock,
    keepAlive: { intervalMs: keepAliveIntervalMs, silentMsMax, ...options.keepAlive },
    isAdmitted: (peerId) => admitted.has(peerId),
    onCrowded: (host) =>
      tellFlood('strangers', `too many connections of peers that are not admitted: the oldest of ${host} was closed`),
    onHarmed: ({ peerId, routed, host }, harm) =>
      emit({ type: 'harmed', peerId, harm, through: routed ? host : undefined }),
    onBroken: ({ peerId, host }) => marks.mark(peerId, host),
    onFirst({ peerId, direction, address, routed: goesThrough }) {
      dials.reached(peerId, goesThrough);
      logger?.debug({ peerId, direction, address }, 'connected');
      emit({ type: 'connected', peerId, direction, address });
    },
    onLast({ peerId, connection, routed: wentThrough }, reason, wayLost) {
      if (!wentThrough) marks.lost(peerId);
      logger?.debug({ peerId, reason }, 'disconnected');
      admitted.delete(peerId);
      streams.reset(peerId, new StreamResetError(`the connection is gone: ${reason}`));
      node.forget(connection);
      emit({ type: 'disconnected', peerId, reason, wayLost });
    },
    onCost: (peerId, costMicroseconds) => emit({ type: 'cost', peerId, costMicroseconds }),
  });

  const streams = createStreams({
    clock,
    connectionTo: (peerId) => links.preferred(peerId)?.connection,
    mayOpen: (peerId, audience) => running && links.has(peerId) && (audience === 'anyone' || admitted.has(peerId)),
    onHandlerFailed: (fields) => logger?.debug(fields, 'a stream handler failed'),
  });

  const handle: Mesh['handle'] = (protocol, audience, handler) => {
    const maxInboundStreams = audience === 'anyone' ? unadmittedStreamsMax : streamsPerProtocolMax;
    const serve = (stream: Parameters<typeof streams.serve>[0], connection: Connection): void => {
      streams.serve(stream, connection.remotePeer.toString(), audience, handler).catch((error) => stream.abort(error));
    };
    node.libp2p
      .handle(protocol, serve, { force: true, maxInboundStreams, maxOutboundStreams: streamsPerProtocolMax })
      .catch((error) => logger?.warn({ error, protocol }, 'libp2p did not take a protocol'));
  };

  let findStep: FindStep | undefined;
  const routed = createRoutedStreams({
    clock,
    self,
    mesh: { open: (peerId, protocol, signal) => streams.open(peerId, protocol, untilStopped(signal)), handle },
    step: () => findStep,
    order: (to, neighbours) =>
      overdueLast(marks.order(to, neighbours), (peerId) => links.facts(peerId)?.overdue === true),
    failed: marks.failed,
    onArrived: ({ stream, neighbour }, from) => dials.accept(stream, neighbour, from),
  });

  const dials = createDials({
    ...{ clock, node, links, marks, routed },
    own: addresses,
    onHarmed: (peerId, harm, through) => emit({ type: 'harmed', peerId, harm, through }),
  });

  const discovery = createDiscovery({
    peerId: self,
    addresses,
    interfaces: () => interfaces.current(),
    clock,
    random,
    onFound: (entry) => emit({ type: 'found', ...entry }),
    tellFlood,
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

  function onOpen(connection: Connection): void {
    if (running && connection.status === 'open') links.add(connection);
    else connection.abort(new NotConnectedError(STOPPING));
  }

  async function start(): Promise<void> {
    if (running) return;
    running = true;
    stopping = new AbortController();
    try {
      await node.libp2p.start();
      listening = await listenOnHosts(node, options.listen);
      links.startKeepAlive();
      interfaces.start(() => {
        discovery.refresh();
        emit({ type: 'moved' });
      });
      if (options.discovery !== false) discovery.start();
    } catch (error) {
      await stop();
      throw error;
    }
  }

  async function stop(): Promise<void> {
    if (!running) return;
    running = false;
    stopping.abort(new NotConnectedError(STOPPING));
    links.stopKeepAlive();
    interfaces.stop();
    await discovery.stop();
    links.markClosing(STOPPING);
    streams.resetAll(new NotConnectedError(STOPPING));
    await node.libp2p.stop();
    links.dropAll(STOPPING);
    listening = [];
  }

  /** Starts and stops one at a time, in call order. */
  function inTurn(change: () => Promise<void>): Promise<void> {
    const done = changing.then(change);
    changing = done.catch(() => {
      // The caller has it.
    });
    return done;
  }

  const untilStopped = (signal: AbortSignal | undefined): AbortSignal =>
    signal === undefined ? stopping.signal : AbortSignal.any([signal, stopping.signal]);

  node.libp2p.addEventListener('connection:open', ({ detail }) => onOpen(detail));

  return {
    peerId: self,
    start: () => inTurn(start),
    stop: () => inTurn(stop),
    addresses,
    advertise: (fabricId) => discovery.advertise(fabricId),
    found: () => discovery.found(),
    handle,
    route(find) {
      if (findStep === undefined) routed.serve();
      findStep = find;
    },
    async connect({ peerId: expected, addresses: wanted, direct = false }, signal) {
      signal?.throwIfAborted();
      if (!running) throw new NotConnectedError('the mesh is not running');
      if (expected === self) throw new NotConnectedError('a node does not connect to itself');
      if (expected === undefined) return dials.anybody(wanted, untilStopped(signal));
      return dials.expected(expected, wanted, direct, untilStopped(signal));
    },
    open: (peerId, protocol, signal) => streams.open(peerId, protocol, untilStopped(signal)),
    disconnect: (peerId) => links.close(peerId, 'this node closed the connection'),
    admit(peerId) {
      if (links.has(peerId)) admitted.add(peerId);
    },
    expel(peerId) {
      admitted.delete(peerId);
      streams.reset(peerId, new ProtocolRefusedError('the peer is no longer admitted'), 'anyone');
    },
    isAdmitted: (peerId) => admitted.has(peerId),
    allowSilence: (peerId, silentMs) => links.allowSilence(peerId, silentMs),
    connected: () => links.peers(),
    connection: (peerId) => links.facts(peerId),
    roundTripMs: (peerId) => links.preferred(peerId)?.liveness.roundTripMs,
    costMicroseconds: (peerId) => links.costMicroseconds(peerId),
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

// The libp2p node under libp2p-mesh.ts: the only file that imports libp2p's packages. TCP, Noise and yamux, and nothing
// else: no identify, no ping protocol, no relay, no DHT, no automatic dialling. It knows nothing of admission.

import { createPrivateKey } from 'node:crypto';
import { noise } from '@chainsafe/libp2p-noise';
import { yamux } from '@chainsafe/libp2p-yamux';
import { privateKeyFromRaw } from '@libp2p/crypto/keys';
import type { Connection, MultiaddrConnection, PrivateKey, Stream, StreamMuxer, Upgrader } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { tcp } from '@libp2p/tcp';
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr';
import { createLibp2p, type Libp2p } from 'libp2p';
import { IdentityKeyError, ListenError, PeerMismatchError } from './errors.ts';
import { makeFrugal, socketBytes } from './libp2p-frugal.ts';
import {
  connectionsMax,
  connectionsPerHostPerSecondMax,
  handshakesMax,
  handshakesPerHostMax,
  handshakeTimeoutMs,
  inboundStreamsMax,
  openTimeoutMs,
  streamWindowBytesMax,
} from './limits.ts';
import type { Address, FrameStream, PeerId } from './mesh.ts';
import { RoutedConnection } from './routed-connection.ts';

export type { Connection, Stream };

/** libp2p's read buffer of a stream; the window must stay below it, or yamux breaks under load. */
const READ_BUFFER_BYTES = 4 * 1024 * 1024;

export interface Libp2pNode {
  readonly peerId: PeerId;
  readonly libp2p: Libp2p;
  /** Listens on one more address; resolves with the port. Rejects with ListenError. */
  listen(host: string, port: number): Promise<number>;
  /** Dials one address. Rejects with PeerMismatchError before any stream exists when `expected` did not answer. */
  dial(address: Address, expected: PeerId | undefined, signal: AbortSignal): Promise<Connection>;
  /** A connection on a stream that leads to the peer through `neighbour`. Rejects when somebody else answers. */
  dialOver(stream: FrameStream, neighbour: PeerId, expected: PeerId, signal: AbortSignal): Promise<Connection>;
  /** The same at the other end. Rejects when it is not `from` that dialled. */
  acceptOver(stream: FrameStream, neighbour: PeerId, from: PeerId): Promise<void>;
  /** Drops what libp2p remembers of a peer that is gone: strangers must not fill its store. */
  forget(connection: Connection): void;
}

/** As libp2p writes addresses of connections through others (/p2p-circuit), for want of one of our own. */
const routedAddress = (neighbour: PeerId, peerId: PeerId) => multiaddr(`/p2p/${neighbour}/p2p-circuit/p2p/${peerId}`);
export const isRoutedAddress = (address: Address): boolean => address.includes('/p2p-circuit');

/** The multiplexer below a connection: pings at this level need no protocol, so they work before admission. */
export interface LinkMuxer {
  ping(): Promise<number>;
  onStream(listener: (stream: Stream) => void): void;
  /** Called for whatever the peer sends, after authentication. */
  onData(listener: () => void): void;
  /** Of its socket; undefined for one that goes through other nodes. `waiting` is part of what was sent, and still here. */
  bytes(): { sent: number; received: number; waiting: number } | undefined;
}

export function muxerOf(connection: Connection): LinkMuxer {
  // libp2p's interface hides the multiplexer, its class has it; the conformance tests notice if that changes.
  const { muxer } = connection as unknown as {
    muxer?: StreamMuxer & { ping?: () => Promise<number>; maConn?: EventTarget };
  };
  const { ping, maConn } = muxer ?? {};
  if (muxer === undefined || ping === undefined || maConn === undefined) {
    throw new Error('this version of libp2p does not give access to the multiplexer of a connection');
  }
  // Here, where the parts are at hand.
  makeFrugal(maConn);
  return {
    ping: () => ping.call(muxer),
    onStream: (listener) => muxer.addEventListener('stream', (event) => listener(event.detail)),
    onData: (listener) => maConn.addEventListener('message', listener),
    bytes: () => socketBytes(maConn),
  };
}

/** Creates it stopped; it listens nowhere by itself. `identityPem`: PKCS#8 PEM of an Ed25519 key. */
export async function createLibp2pNode({
  identityPem,
  onCrowded = () => undefined,
}: {
  identityPem: string;
  /** There are too many unfinished handshakes, when another one of that host began: the oldest was closed. */
  onCrowded?: (host: string) => void;
}): Promise<Libp2pNode> {
  const privateKey = identityFromPem(identityPem);
  const peerId = peerIdFromPrivateKey(privateKey).toString();
  // By the address object of one dial, which libp2p hands on to the gater.
  const expectations = new WeakMap<Multiaddr, { expected: PeerId; found: PeerId | undefined }>();
  let dialAddress: ((address: Multiaddr, signal: AbortSignal) => Promise<Connection>) | undefined;
  let upgrader: Upgrader | undefined;
  let listenOn: ((address: Multiaddr) => Promise<number | undefined>) | undefined;

  /** Inbound connections whose handshake is not done, with their hosts; the oldest first. */
  const handshaking = new Map<MultiaddrConnection, string>();
  /** A handshake takes milliseconds: who holds a place longest gives way, first among those of the same host. */
  function makeRoom(host: string): void {
    const ofHost = [...handshaking].filter(([, each]) => each === host);
    const crowd =
      ofHost.length >= handshakesPerHostMax ? ofHost : handshaking.size >= handshakesMax ? [...handshaking] : [];
    const [oldest] = crowd[0] ?? [];
    if (oldest === undefined) return;
    handshaking.delete(oldest);
    oldest.abort(new Error('too many connections whose handshake is not done'));
    onCrowded(host);
  }

  const libp2p = await createLibp2p({
    start: false,
    privateKey,
    addresses: { listen: [] },
    transports: [tcp({ backlog: handshakesMax })],
    connectionEncrypters: [noise()],
    streamMuxers: [
      yamux({
        enableKeepAlive: false,
        maxInboundStreams: inboundStreamsMax,
        streamOptions: { maxStreamWindowSize: streamWindowBytesMax, maxReadBufferLength: READ_BUFFER_BYTES },
      }),
    ],
    connectionMonitor: { enabled: false },
    connectionManager: {
      maxConnections: connectionsMax,
      inboundConnectionThreshold: connectionsPerHostPerSecondMax,
      // Those beyond ours are closed by us, and leave its count a moment later.
      maxIncomingPendingConnections: 2 * handshakesMax,
      inboundUpgradeTimeout: handshakeTimeoutMs,
      inboundStreamProtocolNegotiationTimeout: openTimeoutMs,
      outboundStreamProtocolNegotiationTimeout: openTimeoutMs,
      reconnectRetries: 0,
    },
    connectionGater: {
      denyDialMultiaddr: () => false,
      denyInboundConnection(connection) {
        const host = hostOf(connection.remoteAddr);
        makeRoom(host);
        handshaking.set(connection, host);
        connection.addEventListener('close', () => handshaking.delete(connection));
        return false;
      },
      denyInboundUpgradedConnection(_peer, connection) {
        handshaking.delete(connection);
        return false;
      },
      denyOutboundEncryptedConnection(peer, connection) {
        const expectation = expectations.get(connection.remoteAddr);
        if (expectation === undefined) return false;
        expectation.found = peer.toString();
        return expectation.found !== expectation.expected;
      },
    },
    services: {
      // A service is handed libp2p's parts; these are used without its dial queue, which would dial one by one.
      parts({ transportManager, upgrader: made }) {
        upgrader = made;
        dialAddress = (address, signal) => transportManager.dial(address, { signal });
        listenOn = async (address) => {
          const before = new Set(transportManager.getListeners());
          await transportManager.listen([address]);
          const listener = transportManager.getListeners().find((each) => !before.has(each));
          return listener?.getAddrs().map(portOf)[0];
        };
        return {};
      },
    },
  });

  const routed = (stream: FrameStream, remoteAddr: Multiaddr, direction: 'inbound' | 'outbound') =>
    new RoutedConnection({ stream, remoteAddr, direction, log: libp2p.logger.forComponent('selvedge:routed') });

  return {
    peerId,
    libp2p,
    async listen(host, port) {
      try {
        const bound = await listenOn?.(multiaddr(`/${host.includes(':') ? 'ip6' : 'ip4'}/${host}/tcp/${port}`));
        if (bound === undefined) throw new Error('the listener has no address');
        return bound;
      } catch (cause) {
        throw new ListenError(`cannot listen on ${host} port ${port}`, { cause });
      }
    },
    async dial(address, expected, signal) {
      const target = multiaddr(address);
      const expectation = expected === undefined ? undefined : { expected, found: undefined as PeerId | undefined };
      if (expectation !== undefined) expectations.set(target, expectation);
      try {
        return await partsOf(dialAddress)(target, signal);
      } catch (error) {
        const found = expectation?.found;
        if (expected !== undefined && found !== undefined && found !== expected)
          throw new PeerMismatchError(expected, found);
        throw error;
      }
    },
    async dialOver(stream, neighbour, expected, signal) {
      const connection = routed(stream, routedAddress(neighbour, expected), 'outbound');
      try {
        return await partsOf(upgrader).upgradeOutbound(connection, { signal });
      } catch (error) {
        connection.abort(error as Error);
        throw error;
      }
    },
    async acceptOver(stream, neighbour, from) {
      const connection = routed(stream, routedAddress(neighbour, from), 'inbound');
      try {
        await partsOf(upgrader).upgradeInbound(connection, { signal: AbortSignal.timeout(handshakeTimeoutMs) });
      } catch (error) {
        connection.abort(error as Error);
        throw error;
      }
      await new Promise<void>((resolve) => {
        if (connection.status === 'open') connection.addEventListener('close', () => resolve(), { once: true });
        else resolve();
      });
    },
    forget(connection) {
      libp2p.peerStore.delete(connection.remotePeer).catch(() => {
        // It was never stored.
      });
    },
  };
}

function partsOf<T>(parts: T | undefined): T {
  if (parts === undefined) throw new Error('libp2p has not handed out its parts');
  return parts;
}

/** libp2p wants the seed and the public key (RFC 8032), 64 bytes. */
function identityFromPem(identityPem: string): PrivateKey {
  let jwk: { crv?: string; d?: string; x?: string };
  try {
    jwk = createPrivateKey(identityPem).export({ format: 'jwk' });
  } catch {
    // The cause could quote the key.
    throw new IdentityKeyError('the identity key cannot be read');
  }
  if (jwk.crv !== 'Ed25519' || jwk.d === undefined || jwk.x === undefined) {
    throw new IdentityKeyError('the identity key is not an Ed25519 key');
  }
  const bytes = [jwk.d, jwk.x].flatMap((part) => [...Buffer.from(part, 'base64url')]);
  return privateKeyFromRaw(Uint8Array.from(bytes));
}

function hostOf(address: Multiaddr): string {
  // Of one through others the far end may not have too many: the routers on the way vouch for who it is.
  return address.getComponents().findLast(({ name }) => ['ip4', 'ip6', 'p2p'].includes(name))?.value ?? 'unknown';
}

function portOf(address: Multiaddr): number | undefined {
  const port = address.getComponents().find(({ name }) => name === 'tcp')?.value;
  return port === undefined ? undefined : Number(port);
}

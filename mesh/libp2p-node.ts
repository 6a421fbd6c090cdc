// The libp2p node under libp2p-mesh.ts: the only file that imports libp2p's packages. TCP, Noise and yamux, and nothing
// else: no identify, no ping protocol, no relay, no DHT, no automatic dialling. It knows nothing of admission.

import { createPrivateKey } from 'node:crypto';
import { noise } from '@chainsafe/libp2p-noise';
import { yamux } from '@chainsafe/libp2p-yamux';
import { privateKeyFromRaw } from '@libp2p/crypto/keys';
import type { Connection, MultiaddrConnection, PrivateKey, Stream, StreamMuxer } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { tcp } from '@libp2p/tcp';
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr';
import { createLibp2p, type Libp2p } from 'libp2p';
import { IdentityKeyError, ListenError, PeerMismatchError } from './errors.ts';
import { makeFrugal } from './libp2p-frugal.ts';
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
import type { Address, PeerId } from './mesh.ts';

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
  /** Drops what libp2p remembers of a peer that is gone: strangers must not fill its store. */
  forget(connection: Connection): void;
}

/** The multiplexer below a connection: pings at this level need no protocol, so they work before admission. */
export interface LinkMuxer {
  ping(): Promise<number>;
  onStream(listener: (stream: Stream) => void): void;
  /** Called for whatever the peer sends, after authentication. */
  onData(listener: () => void): void;
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
  };
}

/** Creates it stopped; it listens nowhere by itself. `identityPem`: PKCS#8 PEM of an Ed25519 key. */
export async function createLibp2pNode({ identityPem }: { identityPem: string }): Promise<Libp2pNode> {
  const privateKey = identityFromPem(identityPem);
  const peerId = peerIdFromPrivateKey(privateKey).toString();
  // By the address object of one dial, which libp2p hands on to the gater.
  const expectations = new WeakMap<Multiaddr, { expected: PeerId; found: PeerId | undefined }>();
  const handshakes = new Map<string, number>();
  let dialAddress: ((address: Multiaddr, signal: AbortSignal) => Promise<Connection>) | undefined;
  let listenOn: ((address: Multiaddr) => Promise<number | undefined>) | undefined;

  /** Counts a host's unfinished handshakes; says whether this one is too many. */
  function tooManyHandshakes(connection: MultiaddrConnection): boolean {
    const host = hostOf(connection.remoteAddr);
    const running = handshakes.get(host) ?? 0;
    if (running >= handshakesPerHostMax) return true;
    handshakes.set(host, running + 1);
    handshaking.set(connection, host);
    connection.addEventListener('close', () => handshakeDone(connection));
    return false;
  }
  const handshaking = new WeakMap<MultiaddrConnection, string>();
  function handshakeDone(connection: MultiaddrConnection): void {
    const host = handshaking.get(connection);
    if (host === undefined) return;
    handshaking.delete(connection);
    const left = (handshakes.get(host) ?? 1) - 1;
    if (left > 0) handshakes.set(host, left);
    else handshakes.delete(host);
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
      maxIncomingPendingConnections: handshakesMax,
      inboundUpgradeTimeout: handshakeTimeoutMs,
      inboundStreamProtocolNegotiationTimeout: openTimeoutMs,
      outboundStreamProtocolNegotiationTimeout: openTimeoutMs,
      reconnectRetries: 0,
    },
    connectionGater: {
      denyDialMultiaddr: () => false,
      denyInboundConnection: tooManyHandshakes,
      denyInboundUpgradedConnection(_peer, connection) {
        handshakeDone(connection);
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
      // A service is handed libp2p's parts; these two are used without its dial queue, which would dial one by one.
      parts({ transportManager }) {
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
      if (dialAddress === undefined) throw new Error('libp2p has not handed out its parts');
      const target = multiaddr(address);
      const expectation = expected === undefined ? undefined : { expected, found: undefined as PeerId | undefined };
      if (expectation !== undefined) expectations.set(target, expectation);
      try {
        return await dialAddress(target, signal);
      } catch (error) {
        const found = expectation?.found;
        if (expected !== undefined && found !== undefined && found !== expected)
          throw new PeerMismatchError(expected, found);
        throw error;
      }
    },
    forget(connection) {
      libp2p.peerStore.delete(connection.remotePeer).catch(() => {
        // It was never stored.
      });
    },
  };
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
  return address.getComponents().find(({ name }) => name === 'ip4' || name === 'ip6')?.value ?? 'unknown';
}

function portOf(address: Multiaddr): number | undefined {
  const port = address.getComponents().find(({ name }) => name === 'tcp')?.value;
  return port === undefined ? undefined : Number(port);
}

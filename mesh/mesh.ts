// The mesh port: authenticated connections between nodes, and streams of frames on them.
// Adapters: libp2p-mesh.ts, simulations/sim-mesh.ts; test/conformance/mesh.ts runs against both.

import type { Harm } from './harm.ts';
import type { Step } from './routes.ts';

/** libp2p peer id of an Ed25519 key, base58btc (`12D3KooW…`). */
export type PeerId = string;

/** Multiaddr in text, e.g. `/ip4/192.0.2.7/tcp/7433`. */
export type Address = string;

/** A bidirectional, ordered, reliable stream of frames of at most `frameBytesMax` each (mesh/limits.ts). */
export interface FrameStream {
  readonly protocol: string;
  /** Resolves when the frame is handed on; waits while the far end is slow (back-pressure). Rejects once the stream is gone. */
  send(frame: Uint8Array): Promise<void>;
  /** The next frame; undefined when the far end has closed its side. Rejects when the stream was reset or the signal aborts. */
  receive(signal?: AbortSignal): Promise<Uint8Array | undefined>;
  /** Closes our side; frames already sent arrive. Idempotent. */
  close(): Promise<void>;
  /** Resets both sides. Idempotent. */
  abort(reason: Error): void;
}

export type MeshEvent =
  | { type: 'connected'; peerId: PeerId; direction: 'inbound' | 'outbound'; address: Address }
  /** `wayLost`: it went through others and ended without the will of either end, so that the peer may well be there. */
  | { type: 'disconnected'; peerId: PeerId; reason: string; wayLost?: boolean }
  /** What came from the peer, or in its name, was not its own: none of it was used, and the connection is over. */
  | { type: 'harmed'; peerId: PeerId; harm: Harm; through: PeerId | undefined }
  /** What crossing the connection costs is known, or has really changed (link-cost.ts). */
  | { type: 'cost'; peerId: PeerId; costMicroseconds: number }
  /** Where others can dial this node is another place than before. */
  | { type: 'moved' }
  /** Somebody answered on the local network. Nothing of it is trusted. */
  | { type: 'found'; peerId: PeerId; addresses: Address[]; fabricId: string | undefined };

/** Who may open a protocol: `anyone` holds for enrollment alone. */
export type Audience = 'anyone' | 'admitted';

export type StreamHandler = (stream: FrameStream, from: PeerId) => Promise<void>;

/** Which way a stream goes: one from a neighbour, or from here (`from` undefined). `avoid`: another way is better, whatever it costs. */
export type FindStep = (stream: {
  destination: PeerId;
  from: PeerId | undefined;
  hopsLeft: number;
  avoid?: readonly PeerId[] | undefined;
}) => Step;

/** The connection to a peer that streams are opened on. */
export interface ConnectionFacts {
  /** The far end's; of one that it dialled, with the port that it dialled from. */
  address: Address;
  openedAtMs: number;
  /** The neighbour that it goes through; undefined when it goes directly. */
  through: PeerId | undefined;
  /** Since it was opened, with what encryption and signs of life add; undefined where nobody counts them. */
  bytes: { sent: number; received: number } | undefined;
  /** The peer was asked for a sign of life and is silent for longer than usual: not gone yet, but no way to prefer. True for a moment, it may also be
   * that its answer was not read yet. */
  overdue: boolean;
}

export interface Mesh {
  readonly peerId: PeerId;
  start(): Promise<void>;
  /** Closes every connection and the discovery sockets. Idempotent. */
  stop(): Promise<void>;
  /** Addresses that others can dial, without the `/p2p/…` part. */
  addresses(): Address[];
  /** What discovery says of this node from now on; `fabricId` undefined while it belongs to none. */
  advertise(fabricId: string | undefined): void;
  /** Everybody found on the local network in the last two minutes. */
  found(): { peerId: PeerId; addresses: Address[]; fabricId: string | undefined }[];
  /**
   * A handler that rejects resets its stream; it never brings the node down. When it resolves, our side of the stream is
   * closed, so it lasts as long as the conversation. A later handler for the same protocol takes the place of the earlier one.
   */
  handle(protocol: string, audience: Audience, handler: StreamHandler): void;
  /** Which way streams go from now on. Without it nobody is reached through others, and nothing is carried. */
  route(find: FindStep): void;
  /**
   * Dials the addresses until one answers and authenticates it; returns the authenticated peer id. Where none does and `route` knows a
   * way, it is reached through others: such a connection is as authenticated and private as any. An existing connection
   * to `peerId` is used again; with `direct`, one through others is not, and none is made. Rejects with PeerMismatchError when `peerId` was given and another one answered.
   */
  connect(
    target: { peerId?: PeerId; addresses: readonly Address[]; direct?: boolean },
    signal?: AbortSignal,
  ): Promise<PeerId>;
  /** Opens a stream to a connected peer. Rejects when there is no connection or the peer does not serve the protocol to us. */
  open(peerId: PeerId, protocol: string, signal?: AbortSignal): Promise<FrameStream>;
  disconnect(peerId: PeerId): Promise<void>;
  /** From now on `admitted` protocols are served to the peer, until its last connection closes or `expel`. Nothing without a connection. */
  admit(peerId: PeerId): void;
  expel(peerId: PeerId): void;
  isAdmitted(peerId: PeerId): boolean;
  connected(): PeerId[];
  /** Undefined without one. */
  connection(peerId: PeerId): ConnectionFacts | undefined;
  /**
   * From now on connections to the peer are believed in for so long although it is silent, and it is asked no more often than twice in that
   * time: for slow and metered links. Undefined, or less than the usual, is the usual.
   */
  allowSilence(peerId: PeerId, silentMs: number | undefined): void;
  /** Smoothed round-trip time of the connection in milliseconds, undefined before the first sample. */
  roundTripMs(peerId: PeerId): number | undefined;
  /** What crossing the connection costs routes, in microseconds: steadier than the round trip. Undefined before the first sample. */
  costMicroseconds(peerId: PeerId): number | undefined;
  subscribe(listener: (event: MeshEvent) => void): () => void;
}

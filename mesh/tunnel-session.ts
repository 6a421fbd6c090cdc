// One session of the calling side: TLS to the called workload on one node, HTTP/2 on it. Called by tunnel-client.ts, which pools them.
// It hands out nothing before the server has proved to be the wanted workload on the wanted node.

import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2, constants } from 'node:http2';
import type { Duplex } from 'node:stream';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { MicroserviceName } from '../control/plan.ts';
import type { Clock } from '../node-runtime/clock.ts';
import type { VerifyChain, WorkloadIdentity } from '../pki/identity.ts';
import { raceAddresses } from './address-race.ts';
import { TunnelPeerError, TunnelRefusedError, TunnelUnreachableError } from './errors.ts';
import {
  offerAddressesMax,
  routedAgainAfterMs,
  tunnelAnswerMs,
  tunnelHandshakeMs,
  tunnelOverLinkAfterMs,
  tunnelSessionWindowBytes,
  tunnelStreamsPerSessionMax,
} from './limits.ts';
import type { PeerId } from './mesh.ts';
import { serviceKey, tunnelServerName } from './service-names.ts';
import type { TunnelOffer } from './service-network.ts';
import { type LoadedCredential, peerChain, tunnelTls } from './tunnel-credentials.ts';
import { instanceHeader, type Liveness, reasonHeader, sessionOptions, watchLiveness } from './tunnel-http2.ts';
import type { TunnelOverLink } from './tunnel-over-link.ts';
import { resetStream } from './tunnel-relay.ts';

export interface TunnelSessionRequest {
  credential: LoadedCredential;
  called: MicroserviceName;
  peerId: PeerId;
  offer: TunnelOffer;
}

export interface TunnelSession {
  readonly request: TunnelSessionRequest;
  readonly server: WorkloadIdentity;
  /** It runs on a stream of the link, for want of a connection of its own. */
  readonly overLink: boolean;
  readonly liveness: Liveness;
  /** Streams that are open or being opened. */
  readonly streams: number;
  /** Since when it has had no stream. */
  readonly idleSince: number;
  /** Takes no new streams any more. */
  readonly closed: boolean;
  readonly full: boolean;
  /**
   * The answered stream of a CONNECT to `<service>:<port>`. Rejects with TunnelRefusedError when the called node says no,
   * with TunnelUnreachableError when it does not answer, with the signal's reason.
   */
  open(port: number, instance: string, signal: AbortSignal): Promise<ClientHttp2Stream>;
  /** Lets open streams end by themselves. */
  retire(): void;
  destroy(): void;
  onClose(run: () => void): void;
}

export interface TunnelSessionOptions {
  clock: Clock;
  verifyChain: VerifyChain;
  /** Carries it where none of its addresses is reached; left out, it is then not reached. */
  overLink?: TunnelOverLink | undefined;
}

/** Rejects with TunnelPeerError when somebody else answered, with TunnelUnreachableError otherwise, or the signal's reason. */
export async function connectTunnel(
  { clock, verifyChain, overLink }: TunnelSessionOptions,
  request: TunnelSessionRequest,
  signal: AbortSignal,
): Promise<TunnelSession> {
  const connectOne = async (place: Place, cancelled: AbortSignal): Promise<TunnelSession> => {
    const socket = await handshake(clock, place, request, cancelled);
    try {
      const server = proveServer(socket, request, verifyChain);
      return await startSession(clock, socket, server, request, 'stream' in place, cancelled);
    } catch (error) {
      socket.destroy();
      throw error;
    }
  };
  const addresses = request.offer.addresses.slice(0, offerAddressesMax);
  const direct = (address: string, cancelled: AbortSignal) => connectOne(splitAddress(address), cancelled);
  const lastResort = overLink && {
    attempt: async (cancelled: AbortSignal) =>
      connectOne({ stream: await overLink.open(request.peerId, cancelled) }, cancelled),
    afterMs: overLink.isIndirect(request.peerId) ? routedAgainAfterMs : tunnelOverLinkAfterMs,
  };
  try {
    return await raceAddresses(clock, addresses, direct, signal, lastResort);
  } catch (error) {
    if (error instanceof TunnelPeerError || signal.aborted) throw error;
    throw new TunnelUnreachableError(`no tunnel to ${serviceKey(request.called)} on ${request.peerId}`, {
      cause: error,
    });
  }
}

/** Where the called node is reached. */
type Place = { host: string; port: number } | { stream: Duplex };

/** `host:port`, IPv6 hosts in brackets. */
function splitAddress(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), port: Number(address.slice(colon + 1)) };
}

function handshake(clock: Clock, place: Place, request: TunnelSessionRequest, signal: AbortSignal): Promise<TLSSocket> {
  const { credential, called } = request;
  const servername = tunnelServerName(called, credential.identity.fabricId);
  const where = 'stream' in place ? { socket: place.stream } : place;
  // No `session` is ever given, so that none is resumed.
  const socket = connectTls({ ...where, servername, secureContext: credential.context, ...tunnelTls });
  if (!('stream' in place)) socket.setNoDelay(true);
  socket.on('error', () => undefined);
  return waitFor<TLSSocket>(clock, tunnelHandshakeMs, signal, (resolve, reject) => {
    socket.once('secureConnect', () => resolve(socket));
    socket.once('error', reject);
    socket.once('close', () =>
      reject(new Error(`${'stream' in place ? 'the link' : `${place.host}:${place.port}`} closed the connection`)),
    );
  }).catch((error: unknown) => {
    socket.destroy();
    throw error;
  });
}

/** Who answered; throws TunnelPeerError unless it is the wanted workload, on the wanted peer, certified by the offered authority. */
function proveServer(
  socket: TLSSocket,
  { called, peerId, offer }: TunnelSessionRequest,
  verifyChain: VerifyChain,
): WorkloadIdentity {
  const wrong = (reason: string, options?: ErrorOptions) =>
    new TunnelPeerError(`what answered for ${serviceKey(called)} on ${peerId} ${reason}`, options);
  let server: ReturnType<VerifyChain>;
  try {
    server = verifyChain(peerChain(socket));
  } catch (error) {
    throw wrong('has no good certificate', { cause: error });
  }
  if (server.kind !== 'workload' || serviceKey(server) !== serviceKey(called)) throw wrong('is another workload');
  if (server.peerId !== peerId) throw wrong(`runs on another node (${server.peerId})`);
  if (server.authorityKeySha256 !== offer.authorityKeySha256)
    throw wrong('has a certificate of another authority than that of the link');
  return server;
}

async function startSession(
  clock: Clock,
  socket: TLSSocket,
  server: WorkloadIdentity,
  request: TunnelSessionRequest,
  overLink: boolean,
  signal: AbortSignal,
): Promise<TunnelSession> {
  const http2 = connectHttp2(`https://${request.called.microservice}`, {
    ...sessionOptions,
    createConnection: () => socket,
  });
  http2.on('error', () => undefined);
  http2.once('close', () => socket.destroy());
  // The server's settings are its first word, and it says nothing before it has accepted our certificate.
  await waitFor<void>(clock, tunnelHandshakeMs, signal, (resolve, reject) => {
    http2.once('remoteSettings', () => resolve());
    http2.once('close', () => reject(new Error('the called node ended the session')));
  }).catch((error: unknown) => {
    http2.destroy();
    throw error;
  });
  http2.setLocalWindowSize(tunnelSessionWindowBytes);
  return wrap(clock, http2, watchLiveness(http2, socket), server, request, overLink);
}

function wrap(
  clock: Clock,
  http2: ClientHttp2Session,
  liveness: Liveness,
  server: WorkloadIdentity,
  request: TunnelSessionRequest,
  overLink: boolean,
): TunnelSession {
  const streamsMax = Math.min(
    tunnelStreamsPerSessionMax,
    http2.remoteSettings.maxConcurrentStreams ?? tunnelStreamsPerSessionMax,
  );
  const streams = new Set<ClientHttp2Stream>();
  let idleSince = clock.now();

  return {
    request,
    server,
    overLink,
    liveness,
    get streams() {
      return streams.size;
    },
    get idleSince() {
      return idleSince;
    },
    get closed() {
      return http2.closed || http2.destroyed;
    },
    get full() {
      return streams.size >= streamsMax;
    },
    // One promise and three listeners: this runs for each call.
    open: (port, instance, signal) =>
      new Promise((resolve, reject) => {
        const stream = http2.request({
          ':method': 'CONNECT',
          ':authority': `${request.called.microservice}:${port}`,
          [instanceHeader]: instance,
        });
        streams.add(stream);
        let waiting = true;
        const settle = () => {
          waiting = false;
          clock.clearTimeout(timer);
          signal.removeEventListener('abort', onAbort);
        };
        const fail = (error: unknown) => {
          if (!waiting) return;
          settle();
          resetStream(stream, constants.NGHTTP2_CANCEL);
          if (!(error instanceof TunnelRefusedError)) liveness.hurry();
          reject(error);
        };
        const onAbort = () => fail(signal.reason);
        const timer = clock.setTimeout(() => fail(new TunnelUnreachableError('no answer in time')), tunnelAnswerMs);
        stream.on('error', fail);
        stream.once('close', () => {
          streams.delete(stream);
          idleSince = clock.now();
          if (waiting) fail(new TunnelUnreachableError('the session ended before the call was answered'));
        });
        stream.once('response', (headers) => {
          const status = headers[':status'] ?? 0;
          if (status !== 200) fail(new TunnelRefusedError(status, `${headers[reasonHeader] ?? ''}`));
          else if (waiting) {
            settle();
            resolve(stream);
          }
        });
        signal.addEventListener('abort', onAbort, { once: true });
        if (signal.aborted) onAbort();
      }),
    retire() {
      if (!http2.closed && !http2.destroyed) http2.close();
    },
    destroy() {
      for (const stream of streams) resetStream(stream);
      http2.destroy();
    },
    onClose(run) {
      if (http2.destroyed) run();
      else http2.once('close', run);
    },
  };
}

/** What `start` resolves with, unless the time is up or the signal aborts first. */
function waitFor<T>(
  clock: Clock,
  timeoutMs: number,
  signal: AbortSignal,
  start: (resolve: (value: T) => void, reject: (error: unknown) => void) => void,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => settle(() => reject(signal.reason));
    const timer = clock.setTimeout(
      () => settle(() => reject(new TunnelUnreachableError('no answer in time'))),
      timeoutMs,
    );
    const settle = (finish: () => void) => {
      clock.clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      finish();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    start(
      (value) => settle(() => resolve(value)),
      (error) => settle(() => reject(error)),
    );
    if (signal.aborted) onAbort();
  });
}

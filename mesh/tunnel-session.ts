// One session of the calling side: TLS to the called workload on one node, HTTP/2 on it. Called by tunnel-client.ts, which pools them.
// It hands out nothing before the server has proved to be the wanted workload on the wanted node.

import { type ClientHttp2Session, type ClientHttp2Stream, constants } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import type { MicroserviceName, ServicePort } from '../control/plan.ts';
import type { Clock } from '../node-runtime/clock.ts';
import type { VerifyChain, WorkloadIdentity } from '../pki/identity.ts';
import { raceAddresses } from './address-race.ts';
import { datagramRequest } from './datagram-requests.ts';
import { TunnelPeerError, TunnelRefusedError, TunnelUnreachableError } from './errors.ts';
import { offerAddressesMax, routedAgainAfterMs, tunnelAnswerMs, tunnelOverLinkAfterMs } from './limits.ts';
import type { PeerId } from './mesh.ts';
import { serviceKey, tunnelServerName } from './service-names.ts';
import type { TunnelOffer } from './service-network.ts';
import { type LoadedCredential, peerChain } from './tunnel-credentials.ts';
import { connectSecure, type Place, splitAddress, startClient } from './tunnel-handshake.ts';
import { instanceHeader, type Liveness, reasonHeader, watchLiveness } from './tunnel-http2.ts';
import type { TunnelOverLink } from './tunnel-over-link.ts';
import { resetStream } from './tunnel-relay.ts';
import { type Windows, windowsFor } from './tunnel-windows.ts';

export interface TunnelSessionRequest {
  credential: LoadedCredential;
  called: MicroserviceName;
  peerId: PeerId;
  offer: TunnelOffer;
}

export interface TunnelSession {
  readonly request: TunnelSessionRequest;
  readonly server: WorkloadIdentity;
  /** It goes through other nodes, or on a stream of the link, for want of a way to the called node's own addresses. */
  readonly overLink: boolean;
  readonly liveness: Liveness;
  /** It is silent: where others carry it, another way is taken the next time. */
  blameWay(): void;
  /** Others carry it by a way that is overdue now, and there is a better one for new calls. */
  readonly isWayOverdue: boolean;
  /** Streams that are open or being opened. */
  readonly streams: number;
  /** Without a call for so long; 0 while there are calls. */
  readonly idleMs: number;
  /** Takes no new streams any more. */
  readonly closed: boolean;
  readonly full: boolean;
  /**
   * The answered stream of a CONNECT to `<service>:<port>`, or of one for datagrams. Rejects with TunnelRefusedError when the called node says no,
   * with TunnelUnreachableError when it does not answer, with the signal's reason.
   */
  open(port: ServicePort, instance: string, signal: AbortSignal): Promise<ClientHttp2Stream>;
  /** Lets open streams end by themselves. */
  retire(): void;
  destroy(): void;
  onClose(run: () => void): void;
}

export interface TunnelSessionOptions {
  clock: Clock;
  verifyChain: VerifyChain;
  /** What the way to the peer costs, in microseconds; undefined where nothing is known. */
  costOf: (peerId: PeerId) => number | undefined;
  /** Carries it where none of its addresses is reached; left out, it is then not reached. */
  overLink?: TunnelOverLink | undefined;
}

/** Rejects with TunnelPeerError when somebody else answered, with TunnelUnreachableError otherwise, or the signal's reason. */
export async function connectTunnel(
  { clock, verifyChain, costOf, overLink }: TunnelSessionOptions,
  request: TunnelSessionRequest,
  signal: AbortSignal,
): Promise<TunnelSession> {
  const connectOne = async (
    place: Place,
    cancelled: AbortSignal,
    way: Way = { blame: () => undefined, isOverdue: () => false },
  ): Promise<TunnelSession> => {
    const { credential, called } = request;
    const servername = tunnelServerName(called, credential.identity.fabricId);
    const socket = await connectSecure(clock, place, { servername, context: credential.context }, cancelled);
    try {
      const server = proveServer(socket, request, verifyChain);
      const windows = windowsFor(costOf(request.peerId));
      const http2 = await startClient(clock, socket, called.microservice, windows, cancelled);
      // Before the calls on it know that it has ended.
      socket.once('error', (error) => isAltered(error) && way.blame());
      const liveness = watchLiveness(http2, socket);
      return wrap({ clock, http2, liveness, server, request, windows, overLink: 'stream' in place, way });
    } catch (error) {
      socket.destroy();
      throw error;
    }
  };
  const addresses = request.offer.addresses.slice(0, offerAddressesMax);
  const direct = (address: string, cancelled: AbortSignal) => connectOne(splitAddress(address), cancelled);
  const isRouted = overLink?.through(request.peerId) !== undefined;
  const connectOver = async (link: TunnelOverLink, cancelled: AbortSignal): Promise<TunnelSession> => {
    const stream = await link.open(request.peerId, cancelled);
    const way = { blame: () => link.blame?.(stream), isOverdue: () => link.isOverdue?.(stream) === true };
    try {
      return await connectOne({ stream }, cancelled, way);
    } catch (error) {
      // Whoever is silent may also be left by the far end first.
      if (!cancelled.aborted) way.blame();
      throw error;
    }
  };
  const lastResort = overLink && {
    attempt: (cancelled: AbortSignal) => connectOver(overLink, cancelled),
    afterMs: overLink.afterMs?.(request.peerId) ?? (isRouted ? routedAgainAfterMs : tunnelOverLinkAfterMs),
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

/** Somebody on the way changes what it carries; a connection that merely ends may be a loss. */
const isAltered = (error: NodeJS.ErrnoException): boolean => error.code?.startsWith('ERR_SSL_') === true;

/** Through other nodes. */
interface Way {
  blame: () => void;
  isOverdue: () => boolean;
}

interface Connected {
  clock: Clock;
  http2: ClientHttp2Session;
  liveness: Liveness;
  server: WorkloadIdentity;
  request: TunnelSessionRequest;
  windows: Windows;
  overLink: boolean;
  way: Way;
}

function wrap({ clock, http2, liveness, server, request, windows, overLink, way }: Connected): TunnelSession {
  const streams = new Set<ClientHttp2Stream>();
  const streamsMax = Math.min(windows.streamsMax, http2.remoteSettings.maxConcurrentStreams ?? windows.streamsMax);
  let idleSince = clock.elapsed();

  return {
    request,
    server,
    overLink,
    liveness,
    blameWay: way.blame,
    get isWayOverdue() {
      return way.isOverdue();
    },
    get streams() {
      return streams.size;
    },
    get idleMs() {
      return streams.size === 0 ? clock.elapsed() - idleSince : 0;
    },
    get closed() {
      return http2.closed || http2.destroyed;
    },
    get full() {
      return streams.size >= streamsMax;
    },
    // One promise and three listeners: this runs for each call.
    open: ({ port, protocol }, instance, signal) =>
      new Promise((resolve, reject) => {
        const ofUdp = protocol === 'udp';
        if (ofUdp && http2.remoteSettings.enableConnectProtocol !== true)
          throw new TunnelUnreachableError('its node runs a version that carries no UDP');
        const asked = ofUdp
          ? datagramRequest(request.called, port)
          : { ':method': 'CONNECT', ':authority': `${request.called.microservice}:${port}` };
        const stream = http2.request({ ...asked, [instanceHeader]: instance });
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
          idleSince = clock.elapsed();
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

// The called side of the tunnel: HTTP/2 CONNECT (RFC 9113, section 8.5) on connections of proven workloads. Called by
// tunnel-network.ts. No byte reaches an instance before tunnel-admission.ts has allowed the call.

import { constants, performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { MicroserviceName } from '../control/plan.ts';
import type { Clock } from '../node-runtime/clock.ts';
import type { WorkloadIdentity } from '../pki/identity.ts';
import type { AllowedCalls } from './allowed-calls.ts';
import type { DatagramServer } from './datagram-server.ts';
import type { TellDenied } from './denied-calls.ts';
import { connectInstance } from './instance-connect.ts';
import {
  tunnelIdleMs,
  tunnelPastCertificateMs,
  tunnelResetBurst,
  tunnelResetsPerSecond,
  tunnelSessionsMax,
  tunnelSessionsPerPeerMax,
} from './limits.ts';
import type { LocalInstances } from './local-instances.ts';
import type { PeerId } from './mesh.ts';
import type { NeighbourConnections } from './neighbour-connections.ts';
import { callsOfPeer, type OpenCalls } from './open-calls.ts';
import { nameOf, serviceKey } from './service-names.ts';
import type { TunnelAdmission, TunnelTarget } from './tunnel-admission.ts';
import { type LoadedCredential, nodeServerName } from './tunnel-credentials.ts';
import { type Liveness, reasonHeader, sessionOptions, watchLiveness } from './tunnel-http2.ts';
import { createTunnelListener } from './tunnel-listener.ts';
import { relay, resetSocket, resetStream, socketEnd, streamEnd } from './tunnel-relay.ts';
import { windowsFor } from './tunnel-windows.ts';

export interface TunnelServerOptions {
  clock: Clock;
  instances: LocalInstances;
  openCalls: OpenCalls;
  admission: TunnelAdmission;
  /** Asked again and again for open sessions. */
  isPeerRevoked: (peerId: PeerId) => boolean;
  allowedCalls: Pick<AllowedCalls, 'watch'>;
  tellDenied: TellDenied;
  datagrams: Pick<DatagramServer, 'carry'>;
  /** What the way to the peer costs, in microseconds; undefined where nothing is known. */
  costOf: (peerId: PeerId) => number | undefined;
  /** Takes connections between nodes, where there are any. */
  nodes?: Pick<NeighbourConnections, 'context' | 'accept'> | undefined;
}

export interface TunnelServer {
  /** Throws TunnelListenError. Port 0 is any. */
  listen(hosts: readonly string[], port: number): Promise<void>;
  listening(): { host: string; port: number }[];
  /** A connection that came in as a stream of a link. */
  accept(stream: Duplex): void;
  /** Sessions with another credential than the current one take no more calls; a microservice that is gone loses its sessions. */
  refresh(name: MicroserviceName): void;
  /** Closes sessions that are revoked, silent, idle or too old. */
  sweep(): void;
  close(): Promise<void>;
}

interface Served {
  session: ServerHttp2Session;
  caller: WorkloadIdentity;
  called: MicroserviceName;
  credential: LoadedCredential;
  liveness: Liveness;
  streams: Set<ServerHttp2Stream>;
  idleSince: number;
}

export function createTunnelServer(options: TunnelServerOptions): TunnelServer {
  const { clock, instances, openCalls, admission, isPeerRevoked, allowedCalls, tellDenied, datagrams, costOf, nodes } =
    options;
  const served = new Set<Served>();
  const listener = createTunnelListener({
    contextFor: (serverName) =>
      serverName === nodeServerName ? nodes?.context() : instances.byServerName(serverName)?.credential.context,
    onConnection: (socket) =>
      nodes !== undefined && socket.servername === nodeServerName ? nodes.accept(socket) : onConnection(socket),
    onCrowded: (reason) => turnedAway(reason),
  });

  function turnedAway(reason: string, caller?: WorkloadIdentity): void {
    const known = { caller: caller && nameOf(caller), callerPeerId: caller?.peerId };
    tellDenied({ kind: 'handshake-refused', ...known, called: undefined, reason });
  }

  function onConnection(socket: TLSSocket): void {
    const full = served.size >= tunnelSessionsMax;
    if (full) turnedAway('this node has too many sessions');
    const admitted = full ? undefined : admission.session(socket);
    if (admitted === undefined) {
      socket.destroy();
      return;
    }
    const { caller, called } = admitted;
    const ofPeer = [...served].filter((other) => other.caller.peerId === caller.peerId).length;
    if (ofPeer >= tunnelSessionsPerPeerMax) {
      turnedAway('its node has too many sessions with this one', caller);
      socket.destroy();
      return;
    }
    const windows = windowsFor(costOf(caller.peerId));
    const session = performServerHandshake(socket, {
      ...sessionOptions(windows),
      streamResetBurst: tunnelResetBurst,
      streamResetRate: tunnelResetsPerSecond,
    });
    const entry: Served = {
      session,
      caller,
      called: nameOf(called),
      credential: called.credential,
      liveness: watchLiveness(session, socket),
      streams: new Set(),
      idleSince: clock.elapsed(),
    };
    served.add(entry);
    session.setLocalWindowSize(windows.sessionBytes);
    session.on('error', () => undefined);
    session.once('close', () => {
      served.delete(entry);
      socket.destroy();
    });
    session.on('stream', (stream, headers) => {
      stream.on('error', () => undefined);
      entry.streams.add(stream);
      stream.once('close', () => {
        entry.streams.delete(stream);
        entry.idleSince = clock.elapsed();
      });
      const target = admission.call(caller, entry.called, headers);
      if ('status' in target) refuse(stream, target.status, target.reason);
      else {
        const call = { caller, callerPeerId: caller.peerId, called: { ...entry.called, ...target.servicePort } };
        stream.once(
          'close',
          allowedCalls.watch(call, () => resetStream(stream)),
        );
        void (target.servicePort.protocol === 'udp' ? carryDatagrams : carry)(stream, target, caller.peerId);
      }
    });
  }

  async function carry(stream: ServerHttp2Stream, target: TunnelTarget, caller: PeerId): Promise<void> {
    const { instance, host, port } = target;
    const counted = [instance.instance, callsOfPeer(instance.instance, caller)];
    const reset = () => resetStream(stream);
    const connected = openCalls.add(counted, { reset, destroy: reset });
    const connection = connectInstance(clock, host, port);
    const onEarlyClose = () => connection.cancel(new Error('the caller is gone'));
    stream.once('close', onEarlyClose);
    let socket: Socket;
    try {
      socket = await connection.connected;
    } catch {
      refuse(stream, 503, 'the instance does not accept connections');
      return;
    } finally {
      stream.off('close', onEarlyClose);
      connected();
    }
    if (stream.closed || stream.destroyed) {
      resetSocket(socket);
      return;
    }
    stream.respond({ ':status': 200 });
    const carried = relay(streamEnd(stream), socketEnd(socket), () => done());
    const done = openCalls.add(counted, carried);
  }

  async function carryDatagrams(stream: ServerHttp2Stream, target: TunnelTarget, caller: PeerId): Promise<void> {
    if (!(await datagrams.carry(stream, target, caller))) refuse(stream, 503, 'the instance cannot be sent datagrams');
  }

  function end({ session, streams }: Served): void {
    for (const stream of streams) resetStream(stream);
    session.destroy();
  }

  function isOver({ caller, credential, streams, idleSince, liveness }: Served, now: number): boolean {
    const validUntil = Math.min(caller.notAfter, credential.identity.notAfter) + tunnelPastCertificateMs;
    if (now > validUntil || isPeerRevoked(caller.peerId) || !liveness.check()) return true;
    // The caller closes an idle session first, unless it is no node of ours.
    return streams.size === 0 && clock.elapsed() - idleSince > 2 * tunnelIdleMs;
  }

  return {
    listen: (hosts, port) => listener.listen(hosts, port),
    listening: () => listener.listening(),
    accept: listener.accept,

    refresh(name) {
      const current = instances.byName(name);
      for (const entry of served) {
        if (serviceKey(entry.called) !== serviceKey(name)) continue;
        if (current === undefined) end(entry);
        // GOAWAY without an error: open streams live on, the caller makes a new session for new ones.
        else if (current.credential !== entry.credential && !entry.session.closed) entry.session.close();
      }
    },

    sweep() {
      const now = clock.now();
      for (const entry of served) if (isOver(entry, now)) end(entry);
    },

    async close() {
      for (const entry of served) end(entry);
      await listener.close();
    },
  };
}

function refuse(stream: ServerHttp2Stream, status: number, reason: string): void {
  if (stream.closed || stream.destroyed) return;
  stream.respond({ ':status': status, [reasonHeader]: reason }, { endStream: true });
  // The caller's half may still be open; nobody reads it.
  stream.close(constants.NGHTTP2_NO_ERROR);
}

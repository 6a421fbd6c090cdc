// Who may come in through the tunnel, and to what: the called side's decisions. Called by tunnel-server.ts for each session and each
// CONNECT. It opens nothing and closes nothing.

import type { IncomingHttpHeaders } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import type { MicroserviceName, ServicePort } from '../control/plan.ts';
import type { VerifyChain, WorkloadIdentity } from '../pki/identity.ts';
import type { AllowedCalls } from './allowed-calls.ts';
import { requestedPort } from './datagram-requests.ts';
import type { TellDenied } from './denied-calls.ts';
import { callsPerInstanceMax, callsPerInstanceOfPeerMax } from './limits.ts';
import type { LocalInstance, LocalInstances, LocalMicroservice } from './local-instances.ts';
import type { PeerId } from './mesh.ts';
import { callsOfPeer, type OpenCalls } from './open-calls.ts';
import { nameOf, portText } from './service-names.ts';
import { peerChain } from './tunnel-credentials.ts';
import { instanceHeader } from './tunnel-http2.ts';

export interface TunnelAdmissionOptions {
  instances: LocalInstances;
  openCalls: OpenCalls;
  verifyChain: VerifyChain;
  /** Asked for each session and each call. */
  isPeerAdmitted: (peerId: PeerId) => boolean;
  allowedCalls: Pick<AllowedCalls, 'refusal'>;
  tellDenied: TellDenied;
}

export interface TunnelTarget {
  instance: LocalInstance;
  host: string;
  port: number;
  /** What the caller calls. */
  servicePort: ServicePort;
}

export interface Refusal {
  status: number;
  reason: string;
}

export interface TunnelAdmission {
  /** Caller and called of a connection whose TLS handshake is done; undefined (and told) when it must be closed. */
  session(socket: TLSSocket): { caller: WorkloadIdentity; called: LocalMicroservice } | undefined;
  /** Where a CONNECT of that session goes. */
  call(caller: WorkloadIdentity, called: MicroserviceName, headers: IncomingHttpHeaders): TunnelTarget | Refusal;
}

export function createTunnelAdmission(options: TunnelAdmissionOptions): TunnelAdmission {
  const { instances, openCalls, verifyChain, isPeerAdmitted, allowedCalls, tellDenied } = options;

  /** The caller when it has proved to be a workload of an admitted node, else why it is sent away. */
  function prove(socket: TLSSocket): WorkloadIdentity | string {
    try {
      const chain = peerChain(socket);
      if (chain.length === 0) return 'no certificate';
      const identity = verifyChain(chain);
      if (identity.kind !== 'workload') return 'its certificate is not that of a workload';
      return isPeerAdmitted(identity.peerId) ? identity : 'its node is not admitted';
    } catch (error) {
      return error instanceof Error ? error.message : 'its certificate cannot be verified';
    }
  }

  /** Told when there is one. */
  function denial(caller: WorkloadIdentity, called: MicroserviceName, port: ServicePort): string | undefined {
    const callerPeerId = caller.peerId;
    if (isPeerAdmitted(callerPeerId))
      return allowedCalls.refusal({ caller, callerPeerId, called: { ...called, ...port } });
    const reason = 'the node of the caller is not admitted';
    tellDenied({ kind: 'call-denied', caller: nameOf(caller), callerPeerId, called, ...port, reason });
    return reason;
  }

  function crowded(instance: string, caller: PeerId): string | undefined {
    if (openCalls.count(instance) >= callsPerInstanceMax) return 'the instance has too many connections';
    if (openCalls.count(callsOfPeer(instance, caller)) < callsPerInstanceOfPeerMax) return undefined;
    return 'the instance has too many connections of the caller’s node';
  }

  return {
    session(socket) {
      const serverName = typeof socket.servername === 'string' ? socket.servername : '';
      const called = instances.byServerName(serverName);
      const caller = called === undefined ? 'no such microservice here' : prove(socket);
      if (called !== undefined && typeof caller !== 'string') return { caller, called };
      const reason = typeof caller === 'string' ? caller : '';
      const to = called === undefined ? undefined : nameOf(called);
      tellDenied({ kind: 'handshake-refused', caller: undefined, callerPeerId: undefined, called: to, reason });
      return undefined;
    },

    call(caller, called, headers) {
      const servicePort = requestedPort(headers, called);
      if ('status' in servicePort) return servicePort;
      const reason = denial(caller, called, servicePort);
      if (reason !== undefined) return { status: 403, reason };
      const wanted = headers[instanceHeader];
      for (const instance of instances.byName(called)?.instances ?? []) {
        if (wanted !== undefined && instance.instance !== wanted) continue;
        const listen = instance.listens.find((one) => portText(one) === portText(servicePort));
        if (listen === undefined) continue;
        // Of UDP flows the one that was silent for longest makes room.
        const full = servicePort.protocol === 'udp' ? undefined : crowded(instance.instance, caller.peerId);
        if (full !== undefined) {
          tellDenied({
            kind: 'call-denied',
            caller: nameOf(caller),
            callerPeerId: caller.peerId,
            called,
            ...servicePort,
            reason: full,
          });
          return { status: 503, reason: full };
        }
        return { instance, host: listen.host, port: listen.hostPort, servicePort };
      }
      return { status: 404, reason: 'no such instance or port here' };
    },
  };
}

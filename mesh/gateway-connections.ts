// The connections of one gateway: who may come at all, how many, and who must go when grants change or their time is over. Called by
// gateway-listener.ts and gateway-http.ts. It reads nothing of them.

import type { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Clock } from '../node-runtime/clock.ts';
import { type Grants, type Judgement, type Presented, plainAddress } from './gateway-grants.ts';
import {
  gatewayConnectionsMax,
  gatewayConnectionsOfAddressMax,
  gatewaySweepMs,
  peerChainCertificatesMax,
} from './limits.ts';
import { type RelayEnd, resetSocket, socketEnd } from './tunnel-relay.ts';

export interface GatewayConnections {
  /** False when it was turned away: nobody from there is let in, or there are too many. */
  arrive(socket: Socket): boolean;
  /** Whether what is shown on this connection lets in; told when not. */
  judge(socket: Socket, token?: Uint8Array): Judgement;
  /** From now on the connection is closed when what was shown no longer lets in; returns what ends that. */
  watch(socket: Socket, token?: Uint8Array): () => void;
  /** So many requests it has under way. */
  underWay(socket: Socket): number;
  change(grants: Grants): void;
  readonly size: number;
  readonly refused: number;
  /** Closes all, and takes no more. */
  close(): void;
}

/** Of TLS that is over, half of an answer is no answer: its far side sees no end of it. */
export function connectionEnd(socket: Socket): RelayEnd {
  if (!(socket instanceof TLSSocket)) return socketEnd(socket);
  const reset = (): void => void socket.destroy();
  return { duplex: socket, wasReset: () => socket.errored !== null, reset, destroy: reset };
}

function certificatesOf(socket: Socket): Pick<Presented, 'certificates' | 'chained'> {
  const certificates: X509Certificate[] = [];
  if (!(socket instanceof TLSSocket)) return { certificates, chained: false };
  let certificate = socket.getPeerX509Certificate();
  while (certificate !== undefined && certificates.length < peerChainCertificatesMax) {
    certificates.push(certificate);
    certificate = certificate.issuerCertificate;
  }
  return { certificates, chained: socket.authorized };
}

export function createGatewayConnections({
  clock,
  grants: first,
  onRefused,
}: {
  clock: Clock;
  grants: Grants;
  onRefused: (address: string, reason: string) => void;
}): GatewayConnections {
  let grants = first;
  /** As they came in, below TLS; by address how many. */
  const arrived = new Map<Socket, string>();
  const ofAddress = new Map<string, number>();
  const shown = new WeakMap<Socket, Presented>();
  const watched = new Map<Socket, Set<Presented>>();
  let refused = 0;

  const turnAway = (address: string, reason: string): void => {
    refused += 1;
    onRefused(address, reason);
  };

  function presentedBy(socket: Socket, token: Uint8Array | undefined): Presented {
    const known = shown.get(socket) ?? {
      address: socket.remoteAddress ?? '',
      ...certificatesOf(socket),
      tokenSha256: undefined,
    };
    shown.set(socket, known);
    return token === undefined ? known : { ...known, tokenSha256: token };
  }

  function leave(socket: Socket, address: string): void {
    if (!arrived.delete(socket)) return;
    const left = (ofAddress.get(address) ?? 1) - 1;
    if (left > 0) ofAddress.set(address, left);
    else ofAddress.delete(address);
  }

  function whyNot(address: string): string | undefined {
    if (!grants.mayCome(address, clock.now())) return 'no grant lets in who comes from there';
    if (arrived.size >= gatewayConnectionsMax) return `there are ${gatewayConnectionsMax} connections already`;
    const count = ofAddress.get(address) ?? 0;
    return count >= gatewayConnectionsOfAddressMax ? `there are ${count} connections from there already` : undefined;
  }

  /** Ends what grants no longer let in. */
  function sweep(): void {
    const nowMs = clock.now();
    for (const [socket, address] of [...arrived]) if (!grants.mayCome(address, nowMs)) resetSocket(socket);
    for (const [socket, all] of [...watched]) {
      if ([...all].some((presented) => 'lacks' in grants.judge(presented, nowMs))) connectionEnd(socket).reset();
    }
  }

  const again = (): void => {
    sweep();
    timer = clock.setTimeout(again, gatewaySweepMs);
  };
  let timer: unknown = clock.setTimeout(again, gatewaySweepMs);
  let closed = false;

  return {
    arrive(socket) {
      const address = plainAddress(socket.remoteAddress ?? '');
      socket.on('error', () => undefined);
      const reason = closed ? 'it is closed' : whyNot(address);
      if (reason !== undefined) {
        turnAway(address, reason);
        resetSocket(socket);
        return false;
      }
      arrived.set(socket, address);
      ofAddress.set(address, (ofAddress.get(address) ?? 0) + 1);
      socket.once('close', () => leave(socket, address));
      return true;
    },

    judge(socket, token) {
      const presented = presentedBy(socket, token);
      const judgement = grants.judge(presented, clock.now());
      if ('lacks' in judgement) {
        const reasons = {
          address: 'no grant lets in who comes from there',
          certificate: 'it showed no certificate that a grant names',
          token: token === undefined ? 'it showed no token' : 'its token is none of a grant',
        };
        turnAway(plainAddress(presented.address), reasons[judgement.lacks]);
      }
      return judgement;
    },

    watch(socket, token) {
      // Another object for each, also where nothing but the connection was shown.
      const presented = { ...presentedBy(socket, token) };
      const all = watched.get(socket) ?? new Set();
      watched.set(socket, all.add(presented));
      return () => {
        all.delete(presented);
        if (all.size === 0 && watched.get(socket) === all) watched.delete(socket);
      };
    },

    underWay: (socket) => watched.get(socket)?.size ?? 0,

    change(next) {
      grants = next;
      sweep();
    },

    get size() {
      return arrived.size;
    },
    get refused() {
      return refused;
    },

    close() {
      closed = true;
      clock.clearTimeout(timer);
      for (const socket of [...arrived.keys()]) resetSocket(socket);
    },
  };
}

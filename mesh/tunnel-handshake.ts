// How a session begins, as seen by who dials: mutual TLS, then HTTP/2 on it. Called by tunnel-session.ts, which judges who answered between the two
// steps, and by neighbour-connections.ts for the first of them. It sends nothing of anybody.

import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import type { Duplex } from 'node:stream';
import { connect as connectTls, type SecureContext, type TLSSocket } from 'node:tls';
import type { Clock } from '../node-runtime/clock.ts';
import { TunnelUnreachableError } from './errors.ts';
import { tunnelHandshakeMs } from './limits.ts';
import { tunnelTls } from './tunnel-credentials.ts';
import { sessionOptions } from './tunnel-http2.ts';
import type { Windows } from './tunnel-windows.ts';

/** Where the far end is reached. */
export type Place = { host: string; port: number } | { stream: Duplex };

/** `host:port`, IPv6 hosts in brackets. */
export function splitAddress(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), port: Number(address.slice(colon + 1)) };
}

export interface SecureRequest {
  servername: string;
  context: SecureContext;
  /** Those of `tunnelTls` when left out. */
  protocols?: string[];
}

/** Resolves when the TLS handshake is done; whose certificate came is not looked at. */
export function connectSecure(
  clock: Clock,
  place: Place,
  { servername, context, protocols }: SecureRequest,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const where = 'stream' in place ? { socket: place.stream } : place;
  const ALPNProtocols = protocols ?? tunnelTls.ALPNProtocols;
  // No `session` is ever given, so that none is resumed.
  const socket = connectTls({ ...where, servername, secureContext: context, ...tunnelTls, ALPNProtocols });
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

/** HTTP/2 on a connection whose far end is known; resolves with the far end's settings at hand. */
export async function startClient(
  clock: Clock,
  socket: TLSSocket,
  name: string,
  windows: Windows,
  signal: AbortSignal,
): Promise<ClientHttp2Session> {
  const http2 = connectHttp2(`https://${name}`, { ...sessionOptions(windows), createConnection: () => socket });
  http2.on('error', () => undefined);
  http2.once('close', () => socket.destroy());
  // The server's settings are its first word, and it says nothing before it has accepted our certificate.
  await waitFor<void>(clock, tunnelHandshakeMs, signal, (resolve, reject) => {
    http2.once('remoteSettings', () => resolve());
    http2.once('error', reject);
    http2.once('close', () => reject(new Error('the called node ended the session')));
  }).catch((error: unknown) => {
    http2.destroy();
    throw error;
  });
  http2.setLocalWindowSize(windows.sessionBytes);
  return http2;
}

/** What `start` resolves with, unless the time is up or the signal aborts first. */
export function waitFor<T>(
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

// The API on a Unix socket in the data folder, for the users that may read that folder (mode 0600). Called by the composition. It must
// never take the socket of a daemon that answers, and never remove what is not a socket.

import { chmod, lstat, unlink } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createRequire } from 'node:module';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { isMainThread } from 'node:worker_threads';
import type { Clock } from '../node-runtime/clock.ts';
import { DaemonRunningError, SocketBlockedError, SocketPathError } from './errors.ts';
import type { Upgrade } from './exec-upgrade.ts';
import {
  apiConnectionsMax,
  apiHeadersMs,
  apiKeepAliveMs,
  apiRequestCheckMs,
  apiRequestMs,
  apiStopGraceMs,
  socketPathBytesMax,
  socketProbeMs,
} from './limits.ts';

export interface ApiServer {
  /** Throws SocketPathError, DaemonRunningError or SocketBlockedError. Idempotent. */
  start(): Promise<void>;
  /** Lets running answers end for `apiStopGraceMs`, then cuts them, and removes the socket. Idempotent. */
  stop(): Promise<void>;
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown }).code ?? '');
}

/** Whether somebody answers on the socket. A full backlog counts as an answer: a daemon is there. */
async function isAnswered(path: string, clock: Clock): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ path });
  const timer = clock.setTimeout(() => resolve(true), socketProbeMs);
  socket.once('connect', () => resolve(true));
  socket.once('error', (error) => resolve(!['ECONNREFUSED', 'ENOENT'].includes(codeOf(error))));
  try {
    return await promise;
  } finally {
    clock.clearTimeout(timer);
    socket.destroy();
  }
}

async function removeStale(path: string, clock: Clock): Promise<void> {
  const entry = await lstat(path).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw new SocketBlockedError(path, codeOf(error), error);
  });
  if (entry === undefined) return;
  if (!entry.isSocket()) throw new SocketBlockedError(path, 'something that is no socket is there');
  if (await isAnswered(path, clock)) throw new DaemonRunningError(path);
  await unlink(path).catch(() => undefined);
}

async function listen(server: Server, path: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  // The socket is bound within listen(), so this mask covers its making and nothing else (threads may not set one; the data folder's
  // mode 0700 and the chmod below hold there).
  const mask = isMainThread ? process.umask(0o177) : undefined;
  try {
    server.listen({ path }, resolve);
  } finally {
    if (mask !== undefined) process.umask(mask);
  }
  try {
    await promise;
    await chmod(path, 0o600);
  } catch (error) {
    server.close();
    if (codeOf(error) === 'EADDRINUSE') throw new DaemonRunningError(path);
    throw new SocketBlockedError(path, codeOf(error) || String(error), error);
  } finally {
    server.off('error', reject);
  }
}

type Fetch = (request: Request) => Response | Promise<Response>;

/**
 * With the first request: it builds on Node's own Request and Response, which are loaded with a whole HTTP client, and on most workers
 * nobody ever asks. Bundled it is a part of the same file all the same: an upgrade may have taken others away.
 */
function loadListener(fetch: Fetch): RequestListener {
  const adaptor = createRequire(import.meta.url)('@hono/node-server') as typeof import('@hono/node-server');
  return adaptor.getRequestListener(fetch, { overrideGlobalObjects: false });
}

export function createApiServer({
  fetch,
  upgrade,
  path,
  clock,
}: {
  /** Of `createApi`. */
  fetch: Fetch;
  /** Of `createExecUpgrade`; without it, requests for another protocol are answered like the rest. */
  upgrade?: Upgrade;
  /** Absolute path of the socket; at most 107 bytes. */
  path: string;
  clock: Clock;
}): ApiServer {
  let server: Server | undefined;
  let starting: Promise<void> | undefined;
  /** Connections that speak another protocol by now: the server knows them no more. */
  const upgraded = new Set<Duplex>();

  const begin = async (): Promise<void> => {
    const bytes = Buffer.byteLength(path);
    if (bytes > socketPathBytesMax) throw new SocketPathError(path, bytes, socketPathBytesMax);
    await removeStale(path, clock);
    const serverOptions = {
      headersTimeout: apiHeadersMs,
      requestTimeout: apiRequestMs,
      keepAliveTimeout: apiKeepAliveMs,
      connectionsCheckingInterval: apiRequestCheckMs,
    };
    let listener: RequestListener | undefined;
    const created = createServer(serverOptions, (request, response) => {
      listener ??= loadListener(fetch);
      listener(request, response);
    });
    created.maxConnections = apiConnectionsMax;
    if (upgrade !== undefined) {
      created.on('upgrade', (request, socket, head) => {
        upgraded.add(socket);
        socket.once('close', () => upgraded.delete(socket));
        upgrade(request, socket, head);
      });
    }
    await listen(created, path);
    // A connection that fails must not bring the daemon down.
    created.on('error', () => undefined);
    server = created;
  };

  return {
    start() {
      starting ??= begin().catch((error: unknown) => {
        starting = undefined;
        throw error;
      });
      return starting;
    },
    async stop() {
      await starting?.catch(() => undefined);
      starting = undefined;
      const stopping = server;
      server = undefined;
      if (stopping === undefined) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      // Closing also unlinks the socket.
      stopping.close(() => resolve());
      stopping.closeIdleConnections();
      for (const socket of upgraded) socket.destroy();
      const timer = clock.setTimeout(() => stopping.closeAllConnections(), apiStopGraceMs);
      await promise;
      clock.clearTimeout(timer);
    },
  };
}

// The serving end of /selvedge/replicate/1: a peer replicates with its own mailbox and with the bulletin, and with nothing
// else. Called by the mesh for each stream that an admitted peer opens. It must never take a name of a database, or of a
// peer, from a message: the peer is whom the connection authenticated, the database is named by kind.

import type { FrameStream, PeerId } from '../mesh/mesh.ts';
import { ReplicationProtocolError } from './errors.ts';
import { refusalsPerStreamMax, replicationStreamsPerPeerMax } from './limits.ts';
import { createMessageChannel, type MessageChannel } from './message-channel.ts';
import {
  argumentSchemas,
  type DatabaseKind,
  databaseKinds,
  isServedMethod,
  openSchema,
  requestSchema,
  type WireError,
} from './replication-messages.ts';
import { createReplicationMethods } from './replication-methods.ts';
import type { Database } from './store.ts';
import type { WriteGuard } from './write-guard.ts';

/** Something that a peer asked for and did not get. */
export interface ReplicationRefusal {
  from: PeerId;
  /** As the peer named it. */
  database: string;
  reason: string;
  /** The document that it would have written. */
  document?: string;
}

export interface ReplicationServerOptions {
  /** What this peer may replicate with, or undefined when there is nothing for it. */
  resolve: (from: PeerId, database: DatabaseKind) => Promise<{ database: Database; guard: WriteGuard } | undefined>;
  onRefused: (refusal: ReplicationRefusal) => void;
}

/** Handler for the mesh. It resolves when the stream has ended, by whomever. */
export function createReplicationServer({
  resolve,
  onRefused,
}: ReplicationServerOptions): (stream: FrameStream, from: PeerId) => Promise<void> {
  const streams = new Map<PeerId, number>();

  async function serve(stream: FrameStream, from: PeerId): Promise<void> {
    const channel = createMessageChannel(stream);
    const opening = openSchema.safeParse(await channel.receive());
    const name = opening.success ? opening.data.open : '';
    const kind = databaseKinds.find((known) => known === name);
    const served = kind && (await resolve(from, kind));
    if (kind === undefined || served === undefined) {
      const reason = kind === undefined ? 'there is no such database' : `this node holds no ${kind} for this peer`;
      onRefused({ from, database: name, reason });
      await channel.send(JSON.stringify({ refused: reason }));
      await stream.close();
      return;
    }
    const refuse = boundedRefusals(onRefused, { from, database: kind });
    await serveDatabase({ stream, channel, from, kind, refuse, ...served });
  }

  return async (stream, from) => {
    const open = streams.get(from) ?? 0;
    if (open >= replicationStreamsPerPeerMax) {
      onRefused({ from, database: '', reason: `more than ${replicationStreamsPerPeerMax} streams of replication` });
      return stream.abort(new ReplicationProtocolError('too many streams'));
    }
    streams.set(from, open + 1);
    try {
      await serve(stream, from);
    } catch (error) {
      if (error instanceof ReplicationProtocolError) onRefused({ from, database: '', reason: error.message });
      // Everything else is a broken link, or a store that is being closed: the peer comes back.
      stream.abort(error instanceof Error ? error : new Error(String(error)));
    } finally {
      const left = (streams.get(from) ?? 1) - 1;
      if (left > 0) streams.set(from, left);
      else streams.delete(from);
    }
  };
}

interface Session {
  stream: FrameStream;
  channel: MessageChannel;
  from: PeerId;
  kind: DatabaseKind;
  database: Database;
  guard: WriteGuard;
  refuse: (reason: string, document?: string) => void;
}

/** Requests one after the other, and word of changes in between. */
async function serveDatabase({ stream, channel, from, kind, database, guard, refuse }: Session): Promise<void> {
  // Word of a change is sent once, until the peer has asked for changes again.
  let told = false;
  const beingWritten = new Set<string>();
  const unsubscribe = database.subscribe(({ id }) => {
    // What the peer itself has just written is no news to it.
    if (told || beingWritten.has(id)) return;
    told = true;
    channel.send(JSON.stringify({ changed: kind })).catch((error) => stream.abort(error));
  });
  const removed = (): void => stream.abort(new Error('the database was removed'));
  database.peer.once('destroyed', removed);
  const methods = createReplicationMethods({
    peer: database.peer,
    owner: from,
    guard,
    onRefusedWrite: ({ id, reason }) => refuse(reason, id),
    beforeChanges: () => {
      told = false;
    },
    beingWritten,
  });
  try {
    await channel.send(JSON.stringify({ opened: kind }));
    for (;;) {
      const message = await channel.receive();
      if (message === undefined) return await stream.close();
      const request = requestSchema.safeParse(message);
      if (!request.success) throw new ReplicationProtocolError('a request has an unknown form');
      const { id, method, args } = request.data;
      await channel.send(await answer(id, method, args));
    }
  } finally {
    unsubscribe();
    database.peer.removeListener('destroyed', removed);
  }

  async function answer(id: number, method: string, args: unknown[]): Promise<string> {
    if (!isServedMethod(method)) return bad(id, `the method ${JSON.stringify(method)} is not served`);
    const parsed = argumentSchemas[method].safeParse(args);
    if (!parsed.success)
      return bad(id, `the arguments of ${method} are not acceptable: ${parsed.error.issues[0]?.message ?? ''}`);
    try {
      return `{"id":${id},"result":${await methods[method](...(parsed.data as [never]))}}`;
    } catch (error) {
      return failure(id, wireError(error));
    }
  }

  function bad(id: number, message: string): string {
    refuse(message);
    return failure(id, { name: 'bad_request', status: 400, message });
  }
}

function failure(id: number, error: WireError): string {
  return JSON.stringify({ id, error });
}

/** What a database answered as an answer (absent, conflict); anything else without its text, which may name files. */
function wireError(error: unknown): WireError {
  if (error instanceof Error || (typeof error === 'object' && error !== null)) {
    const { status, name } = error as { status?: unknown; name?: unknown };
    if (typeof status === 'number' && status >= 400 && status < 500)
      return { name: String(name).slice(0, 100), status, message: String(name).slice(0, 100) };
  }
  return { name: 'internal_error', status: 500, message: 'the database could not answer' };
}

/** Reports up to the limit, then once that no more are; a peer that goes on breaking the protocol is cut off by its stream. */
function boundedRefusals(
  onRefused: (refusal: ReplicationRefusal) => void,
  about: { from: PeerId; database: string },
): (reason: string, document?: string) => void {
  let reported = 0;
  return (reason, document) => {
    reported++;
    if (reported <= refusalsPerStreamMax)
      onRefused({ ...about, reason, ...(document === undefined ? {} : { document }) });
    else if (reported === refusalsPerStreamMax + 1)
      onRefused({ ...about, reason: 'further refusals on this stream are not reported' });
    if (reported > refusalsPerStreamMax && document === undefined)
      throw new ReplicationProtocolError('too many unacceptable requests');
  };
}

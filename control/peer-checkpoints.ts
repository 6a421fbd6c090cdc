// Checkpoints of replication that one peer keeps in a database: it sees its own alone, and they are bounded in number.
// Called by replication-server.ts.

import { checkpointsPerPeerMax } from './limits.ts';
import type { ReplicationPeer } from './store.ts';

interface CheckpointIndex {
  _id: string;
  _rev?: string;
  /** Names of this peer's checkpoints, the oldest first. */
  names: string[];
}

const prefix = '_local/';

export interface PeerCheckpoints {
  get(id: string): Promise<unknown>;
  put(document: Record<string, unknown>): Promise<unknown>;
}

/** `owner` is the peer id that the connection authenticated. */
export function createPeerCheckpoints(peer: ReplicationPeer, owner: string): PeerCheckpoints {
  const indexId = `${prefix}${owner}`;
  const scoped = (name: string): string => `${prefix}${owner}.${name}`;

  async function read<T>(id: string): Promise<T | undefined> {
    try {
      return (await peer.get(id)) as T;
    } catch (error) {
      if (error instanceof Error && 'status' in error && error.status === 404) return undefined;
      throw error;
    }
  }

  /** Lists a new checkpoint before it is written, and drops the oldest beyond the limit. */
  async function list(name: string): Promise<void> {
    const index = (await read<CheckpointIndex>(indexId)) ?? { _id: indexId, names: [] };
    const names = [...index.names.filter((known) => known !== name), name];
    for (const old of names.splice(0, Math.max(0, names.length - checkpointsPerPeerMax))) {
      const document = await read<Record<string, unknown>>(scoped(old));
      if (document !== undefined) await peer.put({ ...document, _deleted: true });
    }
    await peer.put({ ...index, names });
  }

  return {
    async get(id) {
      const document = (await peer.get(scoped(id.slice(prefix.length)))) as Record<string, unknown>;
      return { ...document, _id: id };
    },
    async put(document) {
      const id = String(document['_id']);
      const name = id.slice(prefix.length);
      if (document['_rev'] === undefined) await list(name);
      const result = (await peer.put({ ...document, _id: scoped(name) })) as Record<string, unknown>;
      return { ...result, id };
    },
  };
}

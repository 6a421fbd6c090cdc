// Which databases are kept in step with which linked peers: the mailbox with every controller, the bulletin (pulled only)
// with everybody. One replica actor per (peer, database), alive while the link is. Called by node.ts. It does not judge what
// arrives: write guards and plan-follower.ts do.

import { type Actor, fromPromise } from 'xstate';
import { type ReplicaWork, replicaMachine } from '../actors/replica.ts';
import { createRemotePeer } from '../control/remote-peer.ts';
import type { Database, Replicate, ReplicationPeer } from '../control/store.ts';
import { guardedPeer, type WriteGuard } from '../control/write-guard.ts';
import type { Mesh, PeerId } from '../mesh/mesh.ts';
import type { ActorSystem } from './actor-system.ts';

export const replicateProtocol = '/selvedge/replicate/1';

export interface Replicated {
  database: Database;
  kind: 'mailbox' | 'bulletin';
  /** Only local documents with this prefix are pushed; none when undefined. */
  pushPrefix: string | undefined;
  /** Only documents of the peer with this prefix are pulled; all when undefined. */
  pullPrefix: string | undefined;
  /** What may be stored of what the peer has. */
  guard: WriteGuard;
}

export interface Replicas {
  /** A link to the peer stands: keep these in step with it. Again for a peer: nothing happens. */
  follow(peerId: PeerId, replicated: readonly Replicated[]): void;
  unfollow(peerId: PeerId): void;
  stop(): void;
}

/**
 * The target, asking for documents with the prefix alone. PouchDB counts a compacted revision as missing: without this each side
 * would be offered older revisions of its own documents by the other, and would refuse them as forbidden.
 */
function asking(target: ReplicationPeer, prefix: string | undefined): ReplicationPeer {
  if (prefix === undefined) return target;
  return {
    ...target,
    async revsDiff(diff) {
      const asked = Object.entries(diff).filter(([id]) => id.startsWith(prefix));
      return asked.length === 0 ? {} : await target.revsDiff(Object.fromEntries(asked));
    },
  };
}

interface Followed {
  stop(): void;
}

export function createReplicas(dependencies: {
  mesh: Mesh;
  actors: ActorSystem;
  jitter: () => number;
  replicate: Replicate;
  onRefused(message: string): void;
}): Replicas {
  const { mesh, actors, jitter, replicate, onRefused } = dependencies;
  const followed = new Map<PeerId, Followed[]>();

  function followOne(peerId: PeerId, { database, kind, pushPrefix, pullPrefix, guard }: Replicated): Followed {
    let remote: ReturnType<typeof createRemotePeer> | undefined;

    /** One stream per link; a new one after a failure. */
    async function connected(signal: AbortSignal) {
      if (remote !== undefined) return remote;
      const stream = await mesh.open(peerId, replicateProtocol, signal);
      remote = createRemotePeer(stream, {
        database: kind,
        onChanged: () => actor.send({ type: 'REMOTE_CHANGED' }),
      });
      return remote;
    }

    const machine = replicaMachine.provide({
      actors: {
        replicate: fromPromise<void, ReplicaWork>(async ({ input, signal }) => {
          try {
            const peer = await connected(signal);
            const local = guardedPeer(database.peer, guard, ({ id, reason }) =>
              onRefused(`${id} from ${peerId} was refused: ${reason}`),
            );
            if (input.pull) await replicate(peer, asking(local, pullPrefix), signal);
            if (input.push) await replicate(database.peer, asking(peer, pushPrefix), signal);
          } catch (error) {
            remote?.close();
            remote = undefined;
            throw error;
          }
        }),
      },
    });
    const actor: Actor<typeof replicaMachine> = actors.spawn(`replica/${kind}/${peerId}`, machine, {
      jitter,
      pushes: pushPrefix !== undefined,
    });
    const unsubscribe = database.subscribe(({ id }) => {
      if (pushPrefix !== undefined && id.startsWith(pushPrefix)) actor.send({ type: 'LOCAL_CHANGED' });
    });
    return {
      stop() {
        unsubscribe();
        actor.stop();
        remote?.close();
      },
    };
  }

  function unfollow(peerId: PeerId): void {
    for (const one of followed.get(peerId) ?? []) one.stop();
    followed.delete(peerId);
  }

  return {
    follow(peerId, replicated) {
      if (!followed.has(peerId))
        followed.set(
          peerId,
          replicated.map((one) => followOne(peerId, one)),
        );
    },
    unfollow,
    stop() {
      for (const peerId of [...followed.keys()]) unfollow(peerId);
    },
  };
}

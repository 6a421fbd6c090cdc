// Which databases are kept in step with which linked peers: the mailbox with every controller, the bulletin (pulled only)
// with everybody. One replica actor per (peer, database), alive while the link is. Called by node.ts. It does not judge what
// arrives: write guards and plan-follower.ts do.

import { type Actor, fromPromise } from 'xstate';
import { type ReplicaWork, replicaMachine } from '../actors/replica.ts';
import { createRemotePeer } from '../control/remote-peer.ts';
import type { Database, Replicate, ReplicationPeer } from '../control/store.ts';
import { guardedPeer, nodeWrites, type WriteGuard } from '../control/write-guard.ts';
import type { Mesh, PeerId } from '../mesh/mesh.ts';
import type { ActorSystem } from './actor-system.ts';
import type { Clock } from './clock.ts';
import { replicaSilenceMs } from './limits.ts';

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
  /** A reason to refuse that is in the nature of things, and told to nobody. */
  expected?: string;
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

const generationOf = (revision: string | undefined): number => Number.parseInt(revision ?? '0', 10);

/**
 * The local end of pulling. Of documents that this node writes itself it asks only for what has a longer history at the peer:
 * a power cut set this database back, and what is written next must come after what others have seen already.
 */
function pulling(local: ReplicationPeer, { database, pullPrefix, pushPrefix }: Replicated): ReplicationPeer {
  const wanted = asking(local, pullPrefix);
  if (pushPrefix === undefined || pullPrefix === undefined) return wanted;
  return {
    ...wanted,
    async revsDiff(diff) {
      const lost: Record<string, string[]> = {};
      for (const [id, revisions] of Object.entries(diff)) {
        if (!id.startsWith(pushPrefix)) continue;
        const leaves = await database.leaves(id);
        const held = Math.max(0, ...leaves.map(({ _rev }) => generationOf(_rev)));
        const longer = revisions.filter((revision) => generationOf(revision) > held);
        if (longer.length > 0) lost[id] = longer;
      }
      const missing = (await wanted.revsDiff(diff)) as object;
      return Object.keys(lost).length === 0 ? missing : { ...missing, ...((await local.revsDiff(lost)) as object) };
    },
  };
}

/** What this node wrote itself may come back, in the form and size that it may have. */
function pullGuard({ pushPrefix, guard }: Replicated): WriteGuard {
  return (document, id) =>
    pushPrefix !== undefined && id.startsWith(pushPrefix)
      ? nodeWrites(String(document['node']))(document, id)
      : guard(document, id);
}

interface Followed {
  stop(): void;
}

export function createReplicas(dependencies: {
  mesh: Mesh;
  clock: Clock;
  actors: ActorSystem;
  jitter: () => number;
  replicate: Replicate;
  onRefused(from: PeerId, message: string): void;
}): Replicas {
  const { mesh, clock, actors, jitter, replicate, onRefused } = dependencies;
  const followed = new Map<PeerId, Followed[]>();

  function followOne(peerId: PeerId, replicated: Replicated): Followed {
    const { database, kind, pushPrefix, expected } = replicated;
    let remote: ReturnType<typeof createRemotePeer> | undefined;
    /** Of the run that is under way: the far end answers still. */
    let heard = (): void => undefined;

    /** One stream per link; a new one after a failure. */
    async function connected(signal: AbortSignal) {
      if (remote !== undefined) return remote;
      const stream = await mesh.open(peerId, replicateProtocol, signal);
      const opened = createRemotePeer(stream, {
        database: kind,
        onChanged: () => actor.send({ type: 'REMOTE_CHANGED' }),
        onHeard: () => heard(),
        onClosed() {
          if (remote !== opened) return;
          remote = undefined;
          actor.send({ type: 'STREAM_LOST' });
        },
      });
      remote = opened;
      return opened;
    }

    function disconnect(): void {
      const closing = remote;
      remote = undefined;
      closing?.close();
    }

    const machine = replicaMachine.provide({
      actors: {
        replicate: fromPromise<void, ReplicaWork>(async ({ input, signal }) => {
          const silent = new AbortController();
          const giveUp = (): void => silent.abort(new Error(`the far end said nothing for ${replicaSilenceMs} ms`));
          let timer = clock.setTimeout(giveUp, replicaSilenceMs);
          heard = () => {
            clock.clearTimeout(timer);
            timer = clock.setTimeout(giveUp, replicaSilenceMs);
          };
          const limit = AbortSignal.any([signal, silent.signal]);
          try {
            const peer = await connected(limit);
            const local = guardedPeer(database.peer, pullGuard(replicated), ({ id, reason }) => {
              if (reason !== expected) onRefused(peerId, `${id} from ${peerId} was refused: ${reason}`);
            });
            if (input.pull) await replicate(peer, pulling(local, replicated), limit);
            if (input.push) await replicate(database.peer, asking(peer, pushPrefix), limit);
          } catch (error) {
            disconnect();
            throw error;
          } finally {
            clock.clearTimeout(timer);
            heard = () => undefined;
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
        disconnect();
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

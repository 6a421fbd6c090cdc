// Which databases follow which peers, over simulated links: neither a stream that ends nor one that is silent keeps changes away.

import test, { type ExecutionContext } from 'ava';
import { replicate } from '../../control/replicate.ts';
import { createReplicationServer } from '../../control/replication-server.ts';
import type { FrameStream, Mesh } from '../../mesh/mesh.ts';
import { createActorSystem } from '../../node-runtime/actor-system.ts';
import { replicaSilenceMs } from '../../node-runtime/limits.ts';
import { createReplicas, replicateProtocol } from '../../node-runtime/replicas.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createSimNetwork } from '../../simulations/sim-mesh.ts';
import { createSimRandom } from '../../simulations/sim-random.ts';
import { createSimStore } from '../../simulations/sim-store.ts';

/** A node that pulls `copy` from the mailbox of the other; `isSilent` says of each stream, by number, that nobody answers on it. */
async function follow(t: ExecutionContext, isSilent: (stream: number) => boolean = () => false) {
  const clock = createSimClock();
  const network = createSimNetwork({ clock, random: createSimRandom(t.title) });
  const [near, far] = ['near', 'far'].map((peerId) => network.createMesh({ peerId, name: peerId })) as [Mesh, Mesh];
  for (const mesh of [near, far]) await mesh.start();
  void near.connect({ peerId: far.peerId, addresses: far.addresses() });
  await clock.advance(1_000);
  near.admit(far.peerId);
  far.admit(near.peerId);

  const mailbox = await createSimStore().open('mailbox/near');
  const copy = await createSimStore().open('mailbox/near');
  const streams: FrameStream[] = [];
  const serve = createReplicationServer({
    resolve: async () => ({ database: mailbox, guard: () => undefined }),
    onRefused: ({ reason }) => t.fail(reason),
  });
  far.handle(replicateProtocol, 'admitted', async (stream, from) => {
    streams.push(stream);
    if (!isSilent(streams.length - 1)) return serve(stream, from);
    while ((await stream.receive()) !== undefined);
  });
  const replicas = createReplicas({
    ...{ mesh: near, clock, replicate, jitter: () => 0.5 },
    actors: createActorSystem({ clock, node: () => 'near' }),
    onRefused: (_, message) => t.fail(message),
  });
  const prefixes = { pushPrefix: undefined, pullPrefix: 'desired/' };
  replicas.follow(far.peerId, [{ database: copy, kind: 'mailbox', ...prefixes, guard: () => undefined }]);
  return { clock, mailbox, copy, streams, replicas };
}

test('a change arrives also after the stream has ended at rest and the link has not', async (t) => {
  const { clock, mailbox, copy, streams, replicas } = await follow(t);
  for (const name of ['first', 'second', 'third']) {
    await mailbox.put({ _id: `desired/${name}` });
    await clock.advance(5_000);
    t.truthy(await copy.get(`desired/${name}`), name);
    streams.at(-1)?.abort(new Error('nobody knows why'));
    await clock.advance(5_000);
  }
  t.is(streams.length, 4, 'a new stream each time, and one only');
  replicas.stop();
  await clock.advance(60_000);
  t.is(streams.length, 4);
});

test('a far end that does not answer is asked anew, and one that is quiet because nothing changes is not', async (t) => {
  const { clock, mailbox, copy, streams } = await follow(t, (stream) => stream === 0);
  await mailbox.put({ _id: 'desired/plan' });
  await clock.advance(replicaSilenceMs - 1_000);
  t.is(streams.length, 1);
  await clock.advance(5_000);
  t.truthy(await copy.get('desired/plan'));
  await clock.advance(10 * replicaSilenceMs);
  t.is(streams.length, 2);
});

// Hostile replication: what an admitted node asks of the controller's mailbox and bulletin, and what a controller answers to a node that
// pulls. Simulated stores, the product's own server, client, replicator and guards.

import * as errors from '../../control/errors.ts';
import { observedBytesMax, replicationFrameBytesMax } from '../../control/limits.ts';
import { createRemotePeer } from '../../control/remote-peer.ts';
import { replicate } from '../../control/replicate.ts';
import { replicationProtocol } from '../../control/replication-messages.ts';
import { createReplicationServer } from '../../control/replication-server.ts';
import { firstRevision } from '../../control/revision.ts';
import type { Database, StoredDocument } from '../../control/store.ts';
import { controllerWrites, guardedPeer, nodeWrites } from '../../control/write-guard.ts';
import { createSimStore } from '../../simulations/sim-store.ts';
import { createFramePair } from '../frame-pair.ts';
import { mutateBytes, mutateJson } from './mutate.ts';
import type { HostileKind, Verdict } from './run-kind.ts';
import { list, members, readJson, text } from './shapes.ts';

const jsonBytes = (value: unknown): Uint8Array => new Uint8Array(Buffer.from(JSON.stringify(value)));
const revised = (document: StoredDocument): StoredDocument => ({ ...document, _rev: firstRevision(document) });
const contents = async (database: Database): Promise<StoredDocument[]> =>
  (await Promise.all((await database.list('')).map(({ _id }) => database.leaves(_id)))).flat();
const isDeclared = (error: unknown): boolean =>
  Object.values(errors).some((known) => typeof known === 'function' && error instanceof known);

/** A message in frames that its sender chose. */
function framesOf(bytes: Uint8Array): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (let at = 0; at < bytes.length || at === 0; at += replicationFrameBytesMax - 1) {
    const part = bytes.subarray(at, at + replicationFrameBytesMax - 1);
    const last = at + replicationFrameBytesMax - 1 >= bytes.length;
    frames.push(new Uint8Array(Buffer.concat([Buffer.from(last ? '.' : '+'), part])));
  }
  return frames;
}

/** What a node may have written: observations of itself. */
function isObservation({ _id, _rev, _revisions, _deleted, ...fields }: StoredDocument): boolean {
  const [first, kind, instance, ...more] = _id.split('/');
  if (first !== 'observed' || more.length > 0 || Buffer.byteLength(JSON.stringify(fields)) > observedBytesMax)
    return false;
  if (_deleted === true) return kind === 'instance';
  if (fields['node'] !== 'edge-1') return false;
  return kind === 'node' ? instance === undefined : kind === 'instance' && fields['instance'] === instance;
}

const observed = (instance: string): StoredDocument =>
  revised({ _id: `observed/instance/${instance}`, instance, node: 'edge-1', state: 'running' });

const replicationRequests: HostileKind = {
  name: 'replication-requests',
  share: 60,
  async open() {
    async function controller() {
      const store = createSimStore();
      const [mailbox, bulletin] = [await store.open('mailbox/peer-1'), await store.open('bulletin')];
      await mailbox.put({ _id: 'desired/plan', jws: 'plan' });
      await bulletin.put({ _id: 'fact/one', jws: 'one' });
      const serve = createReplicationServer({
        async resolve(_from, database) {
          return database === 'mailbox'
            ? { database: mailbox, guard: nodeWrites('edge-1') }
            : { database: bulletin, guard: () => 'read only' };
        },
        onRefused: () => undefined,
      });
      return { mailbox, serve, bulletin, kept: JSON.stringify(await contents(bulletin)) };
    }
    let world = await controller();
    let uses = 0;
    const plan = (await world.mailbox.list('desired/'))[0]?._rev ?? '';
    const valid = [
      { id: 1, method: 'id', args: [] },
      { id: 2, method: 'info', args: [] },
      { id: 3, method: 'changes', args: [{ since: 0, limit: 100 }] },
      { id: 4, method: 'bulkGet', args: [{ docs: [{ id: 'desired/plan', rev: plan }] }] },
      { id: 5, method: 'revsDiff', args: [{ 'desired/plan': [plan], 'observed/node': [`2-${'a'.repeat(32)}`] }] },
      { id: 6, method: 'bulkDocs', args: [{ docs: [observed('a'), observed('b')] }] },
      { id: 7, method: 'bulkDocs', args: [{ docs: [revised({ _id: 'observed/node', node: 'edge-1', links: [] })] }] },
      { id: 8, method: 'put', args: [{ _id: '_local/abc', last_seq: 3, history: [{ last_seq: 3, session_id: 'x' }] }] },
    ].map(jsonBytes);
    return {
      valid,
      hostile(draw) {
        const request = draw.pick(valid);
        if (draw.oneIn(6)) return mutateBytes(request, valid, draw);
        return new Uint8Array(Buffer.from(mutateJson(Buffer.from(request).toString('utf8'), draw)));
      },
      async take(frame, draw): Promise<Verdict> {
        if (++uses % 40 === 0) world = await controller();
        const { serve, mailbox, bulletin, kept } = world;
        const { near, far, sentByFar } = createFramePair(replicationProtocol);
        let broken: unknown;
        const served = serve(
          {
            ...far,
            abort(reason) {
              broken = reason;
              far.abort(reason);
            },
          },
          'peer-1',
        );
        const honest = valid.includes(frame);
        const kind = !honest && draw.oneIn(8) ? 'bulletin' : 'mailbox';
        const first = !honest && draw.oneIn(10) ? frame : jsonBytes({ open: kind });
        for (const one of [first, frame].flatMap(framesOf)) await near.send(one).catch(() => undefined);
        await near.close().catch(() => undefined);
        await served;
        near.abort(new Error('the case is over'));
        const answers = sentByFar.map((one) => readJson(one.subarray(1)) as Record<string, unknown> | undefined);
        const result = answers.find((answer) => answer !== undefined && 'result' in answer)?.['result'];
        const accepted = result !== undefined && !(Array.isArray(result) && result.length > 0);
        if (broken !== undefined && !isDeclared(broken))
          return { accepted, wrong: `it threw ${broken instanceof Error ? broken.stack : String(broken)}` };
        const stored = await contents(mailbox);
        const strange = stored.find((document) => document._id !== 'desired/plan' && !isObservation(document));
        if (strange !== undefined) return { accepted, wrong: `it stored ${JSON.stringify(strange).slice(0, 300)}` };
        if (stored.filter(({ _id }) => _id === 'desired/plan').length !== 1)
          return { accepted, wrong: 'it changed the plan' };
        if (JSON.stringify(await contents(bulletin)) !== kept) return { accepted, wrong: 'it changed the bulletin' };
        return { accepted };
      },
    };
  },
};

const desired = members({ _id: text(512) });
/** What a node takes of a controller, by kind. */
function isDesired(document: StoredDocument): boolean {
  const { _id, _deleted } = document;
  if (!desired(document)) return false;
  if (_id === 'desired/plan') return _deleted !== true && typeof document['jws'] === 'string';
  if (_id === 'desired/authority') return _deleted !== true && list(text(16_384), 5, 1)(document['chain']);
  return /^desired\/file\/./.test(_id) && (_deleted === true || typeof document['contentBase64'] === 'string');
}

const replicationAnswers: HostileKind = {
  name: 'replication-answers',
  share: 30,
  async open() {
    // What an honest controller says to one pull, message by message.
    const source = await createSimStore().open('mailbox');
    await source.put({ _id: 'desired/plan', jws: 'plan' });
    await source.put({ _id: 'desired/authority', chain: ['MII'] });
    await source.put({ _id: 'desired/file/a', contentBase64: 'YQ==' });
    const serve = createReplicationServer({
      resolve: async () => ({ database: source, guard: () => 'read only' }),
      onRefused: () => undefined,
    });

    /** One pull, in which the answer to the given request is another one. */
    async function pull(changed: { at: number; frame: Uint8Array } | undefined) {
      const local = await createSimStore().open('mailbox');
      const toServer = createFramePair(replicationProtocol);
      const toClient = createFramePair(replicationProtocol);
      void serve(toServer.far, 'peer-1');
      const answers: Uint8Array[] = [];
      const forward = async (): Promise<void> => {
        for (;;) {
          const frame = await toClient.far.receive();
          if (frame === undefined) return;
          await toServer.near.send(frame);
        }
      };
      const back = async (): Promise<void> => {
        for (;;) {
          const frame = await toServer.near.receive();
          if (frame === undefined) return;
          answers.push(frame.slice(1));
          const hostile = changed?.at === answers.length - 1 ? framesOf(changed.frame) : [frame];
          for (const one of hostile) await toClient.far.send(one);
        }
      };
      for (const carried of [forward(), back()]) carried.catch(() => undefined);
      const remote = createRemotePeer(toClient.near, { database: 'mailbox', onChanged: () => undefined });
      const guarded = guardedPeer(local.peer, controllerWrites, () => undefined);
      let over = false;
      const run = replicate(remote, guarded)
        .then(
          () => undefined,
          (reason: unknown) => reason,
        )
        .finally(() => {
          over = true;
        });
      // A server that says nothing more is the replica actor's to end. Nothing here waits for anything but promises.
      for (let quiet = 0, seen = 0; !over && quiet < 50; quiet++) {
        if (seen !== answers.length) quiet = 0;
        seen = answers.length;
        await new Promise((resolve) => {
          setImmediate(resolve);
        });
      }
      remote.close();
      const error = await run;
      for (const pair of [toServer, toClient]) pair.near.abort(new Error('the case is over'));
      return { error, answers, stored: await contents(local) };
    }

    const honest = await pull(undefined);
    return {
      valid: [],
      hostile: (draw) => {
        const answer = draw.pick(honest.answers);
        if (draw.oneIn(6)) return mutateBytes(answer, honest.answers, draw);
        return new Uint8Array(Buffer.from(mutateJson(Buffer.from(answer).toString('utf8'), draw)));
      },
      async take(frame, draw): Promise<Verdict> {
        const { error, stored } = await pull({ at: draw.below(honest.answers.length), frame });
        const accepted = error === undefined;
        if (error !== undefined && !isDeclared(error)) throw error;
        const strange = stored.find((document) => !isDesired(document));
        return { accepted, wrong: strange && `it stored ${JSON.stringify(strange).slice(0, 300)}` };
      },
    };
  },
};

export const replicationKinds: readonly HostileKind[] = [replicationRequests, replicationAnswers];

// Taking nodes out of the fabric: revoked (out, and still listed) or removed (out, and forgotten). Part of a controller, called by
// controller.ts and through it by the API. A key that was revoked is never admitted again: by no token, approval or window.

import { getRecord, listRecords } from '../control/documents.ts';
import { NodeNotRevocableError, NotFoundError } from '../control/errors.ts';
import type { NodeRecord } from '../control/fabric.ts';
import type { Ledger } from '../control/ledger.ts';
import type { Database, Store, StoredDocument } from '../control/store.ts';
import type { RevokedView } from '../control/views.ts';
import type { PeerId } from '../mesh/mesh.ts';
import type { SignPayload } from '../pki/identity.ts';
import type { PendingRequests } from '../pki/pending-requests.ts';
import type { Bulletin } from './bulletin.ts';
import type { Clock } from './clock.ts';
import { controllerFactLifetimeMs } from './limits.ts';

export interface Revoking {
  /**
   * Takes the node's membership away for good. Resolves once the fact would survive a power cut, the node's work has other places
   * and its mailbox is gone. Again for a revoked node: what is left to do is done. Throws NotFoundError, NodeNotRevocableError.
   */
  revoke(node: string, reason: string): Promise<RevokedView>;
  /** The same, and its record is removed: the name is free again. */
  remove(node: string, reason: string): Promise<RevokedView>;
  /** Brings facts and records of nodes together again, of which a power cut may have lost one. */
  reconcile(): Promise<void>;
}

const notFoundAction = '`selvedge nodes list` lists those that there are.';

export function createRevoking(dependencies: {
  clock: Clock;
  fabric: Database;
  store: Store;
  bulletin: Bulletin;
  sign: SignPayload;
  ledger: Ledger;
  /** Peer id and name of this controller. */
  self: { peerId: PeerId; node: string };
  requests: PendingRequests;
  /** Resolves once the planner has done what there is to do. */
  planned(): Promise<void>;
  problem(message: string): void;
}): Revoking {
  const { clock, fabric, store, bulletin, sign, ledger, self, requests, planned, problem } = dependencies;

  async function find(name: string): Promise<NodeRecord> {
    const record = await getRecord(fabric, 'node', name);
    if (record === undefined) throw new NotFoundError('node', name, notFoundAction);
    if (record.peerId === self.peerId) throw new NodeNotRevocableError(name);
    return record;
  }

  async function publish({ peerId, name }: NodeRecord, reason: string): Promise<void> {
    if (bulletin.isRevoked(peerId)) return;
    const body = { kind: 'revocation', peerId, node: name, reason } as const;
    // Outlives every certificate that the node holds or issued.
    await bulletin.publish(sign, self.peerId, `revocation/${peerId}`, body, controllerFactLifetimeMs);
  }

  /** The record says it to the planner and to whoever looks; false when it had said so before. */
  async function mark({ _id, peerId }: NodeRecord, reason: string): Promise<boolean> {
    let marked = false;
    await fabric.update(_id, (current) => {
      marked = current !== undefined && current['peerId'] === peerId && current['revoked'] === undefined;
      return marked ? ({ ...current, revoked: { at: clock.now(), reason } } as StoredDocument) : undefined;
    });
    return marked;
  }

  const instancesOn = async (node: string): Promise<string[]> =>
    (await listRecords(fabric, 'placement')).flatMap(({ instances }) =>
      Object.entries(instances).flatMap(([name, place]) => (place.node === node ? [name] : [])),
    );

  async function placesOf(names: readonly string[]): Promise<RevokedView['instances']> {
    const placements = await listRecords(fabric, 'placement');
    return names.map((name) => {
      const node = placements.map(({ instances }) => instances[name]?.node).find((place) => place !== undefined);
      return node === undefined ? { name } : { name, node };
    });
  }

  async function takeOut(name: string, reason: string): Promise<RevokedView> {
    const record = await find(name);
    const had = await instancesOn(name);
    await publish(record, reason);
    const now = await mark(record, reason);
    const text = reason === '' ? '' : `: ${reason}`;
    const message = `${record.peerId} was revoked by an operator at ${self.node}; it had ${had.length} instance(s)${text}`;
    if (now) await ledger.append({ type: 'node-revoked', subject: name, message });
    await requests.deny(({ peerId }) => peerId === record.peerId);
    await planned();
    // After the planner let go of it. A mailbox that cannot be removed now goes with the next call.
    await store
      .destroy(`mailbox/${name}`)
      .catch((error: unknown) => problem(`the mailbox of ${name} was not removed: ${String(error)}`));
    const { revoked = { at: clock.now(), reason } } = (await getRecord(fabric, 'node', name)) ?? {};
    const instances = await placesOf(had);
    const { peerId } = record;
    return {
      node: name,
      peerId,
      revokedAt: revoked.at,
      reason: revoked.reason,
      already: !now,
      removed: false,
      instances,
    };
  }

  return {
    revoke: takeOut,

    async remove(name, reason) {
      const view = await takeOut(name, reason);
      await fabric.remove(`node/${name}`);
      await fabric.remove(`denied/${name}`);
      const message = `the record of ${view.peerId} was removed by an operator at ${self.node}; its key stays revoked`;
      await ledger.append({ type: 'node-removed', subject: name, message });
      return { ...view, removed: true };
    },

    async reconcile() {
      for (const record of await listRecords(fabric, 'node')) {
        const { peerId, name, revoked } = record;
        if (peerId === self.peerId) continue;
        if (bulletin.isRevoked(peerId)) await mark(record, revoked?.reason ?? 'revoked before this controller stopped');
        else if (revoked !== undefined && revoked.at + controllerFactLifetimeMs > clock.now()) {
          await publish(record, revoked.reason);
          problem(`the revocation of ${name} was lost, and is published again`);
        }
      }
    },
  };
}

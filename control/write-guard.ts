// Who may write what by replication. The server of replication guards what peers push, and a node guards what it pulls.
// Pure but for reporting. Contents are proved elsewhere by signatures; a guard bounds kind, shape and size.

import {
  authorityChainMax,
  certificateCharactersMax,
  documentBytesMax,
  factBytesMax,
  fileDocumentBytesMax,
  observedBytesMax,
  observedTombstoneBytesMax,
  revisionsAcceptedMax,
} from './limits.ts';
import { firstRevision, isDocumentId } from './revision.ts';
import type { ReplicationPeer, StoredDocument } from './store.ts';

/** Why the document is refused; undefined when it may be stored. The document has `_rev` and, beyond generation 1, `_revisions`. */
export type WriteGuard = (document: StoredDocument, id: string) => string | undefined | Promise<string | undefined>;

export interface RefusedWrite {
  id: string;
  reason: string;
}

/**
 * The peer with its writes filtered. A refused document becomes a `forbidden` row, which the replicator counts and goes on
 * after; every refused one is reported. `put` accepts checkpoints alone.
 */
export function guardedPeer(
  peer: ReplicationPeer,
  guard: WriteGuard,
  onRefused: (refused: RefusedWrite) => void,
): ReplicationPeer {
  return {
    ...peer,
    async bulkDocs(request, options) {
      const allowed: StoredDocument[] = [];
      const refused: unknown[] = [];
      for (const document of request['docs'] as StoredDocument[]) {
        const reason = shapeRefusal(document) ?? (await guardRefusal(document, guard));
        if (reason === undefined) {
          allowed.push(document);
          continue;
        }
        const id = String(document?._id).slice(0, 300);
        refused.push({ id: document?._id, error: true, status: 403, name: 'forbidden', message: reason });
        onRefused({ id, reason });
      }
      if (allowed.length === 0) return refused;
      const rows = (await peer.bulkDocs({ docs: allowed, new_edits: false }, options)) as unknown[];
      return [...rows, ...refused];
    },
    async put(document) {
      const id = document['_id'];
      if (typeof id === 'string' && id.startsWith('_local/')) return peer.put(document);
      const reason = 'only checkpoints are written one by one';
      onRefused({ id: String(id).slice(0, 300), reason });
      throw Object.assign(new Error(reason), { name: 'forbidden', status: 403 });
    },
  };
}

/** PouchDB fails a whole batch for one document that it cannot parse, so that is found out before. */
function shapeRefusal(document: unknown): string | undefined {
  if (typeof document !== 'object' || document === null || Array.isArray(document)) return 'it is no document';
  const { _id, _rev, _revisions, _deleted, ...fields } = document as StoredDocument;
  if (!isDocumentId(_id)) return 'its id is not acceptable';
  if (_deleted !== undefined && typeof _deleted !== 'boolean') return '_deleted is not true or false';
  const reserved = Object.keys(fields).find((field) => field.startsWith('_'));
  if (reserved !== undefined) return `the field ${reserved.slice(0, 50)} is not accepted`;
  const match = typeof _rev === 'string' ? /^([1-9][0-9]{0,9})-([0-9a-f]{32})$/.exec(_rev) : null;
  if (match === null) return '_rev is no revision';
  if (_revisions !== undefined && !isHistoryOf(_revisions, Number(match[1]), match[2] ?? ''))
    return '_revisions does not fit _rev';
  return undefined;
}

function isHistoryOf(revisions: unknown, generation: number, hash: string): boolean {
  if (typeof revisions !== 'object' || revisions === null) return false;
  const { start, ids } = revisions as { start?: unknown; ids?: unknown };
  if (!Array.isArray(ids) || ids.length > Math.min(revisionsAcceptedMax, generation)) return false;
  return (
    start === generation && ids[0] === hash && ids.every((id) => typeof id === 'string' && /^[0-9a-f]{32}$/.test(id))
  );
}

async function guardRefusal(document: StoredDocument, guard: WriteGuard): Promise<string | undefined> {
  try {
    return await guard(document, document._id);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const nameForm = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,252})$/;

/** What a node may write into its mailbox: observations of itself. Tombstones too: an instance that is gone has no state. */
export function nodeWrites(node: string): WriteGuard {
  return (document, id) => {
    const instance = id.startsWith('observed/instance/') ? id.slice('observed/instance/'.length) : undefined;
    if (id !== 'observed/node' && (instance === undefined || !nameForm.test(instance)))
      return 'a node writes observed documents alone';
    if (document._deleted === true) {
      if (id === 'observed/node') return 'a node does not delete what it says of itself';
      if (document['node'] !== undefined && document['node'] !== node) return 'it is about another node';
      return tooLarge(document, observedTombstoneBytesMax);
    }
    if (document['node'] !== node) return 'it is about another node';
    if (instance !== undefined && document['instance'] !== instance) return 'its id names another instance';
    return tooLarge(document, observedBytesMax);
  };
}

/** What a node accepts of a controller: desired documents. Who signed them is checked where they are used. */
export const controllerWrites: WriteGuard = (document, id) => {
  const deleted = document._deleted === true;
  if (id === 'desired/plan') {
    if (deleted) return 'a plan is never deleted: an empty plan is a plan';
    if (typeof document['jws'] !== 'string') return 'a plan is a signed text';
    return tooLarge(document, documentBytesMax);
  }
  if (id === 'desired/authority') {
    if (deleted) return 'an authority is never deleted';
    const chain = document['chain'];
    const fits = (certificate: unknown): boolean =>
      typeof certificate === 'string' && certificate.length <= certificateCharactersMax;
    if (!Array.isArray(chain) || chain.length === 0 || chain.length > authorityChainMax || !chain.every(fits))
      return 'an authority is a chain of certificates';
    return tooLarge(document, authorityChainMax * certificateCharactersMax + 1024);
  }
  if (id.startsWith('desired/file/') && id.length > 'desired/file/'.length) {
    if (!deleted && typeof document['contentBase64'] !== 'string') return 'a file has content';
    return tooLarge(document, fileDocumentBytesMax);
  }
  return 'a controller writes desired documents alone';
};

/**
 * What anybody accepts into the bulletin: immutable facts, each as it was first written. `accept` verifies the fact (its
 * signature, and that the id is the hash of what is signed) and returns why not.
 */
export function bulletinWrites(accept: (document: StoredDocument) => string | undefined): WriteGuard {
  return (document) => {
    if (document._deleted === true) return 'a fact is never deleted';
    if (!document._rev?.startsWith('1-')) return 'a fact is never edited';
    // Otherwise one fact could be stored a thousand times over under made-up revisions.
    if (document._rev !== firstRevision(document)) return 'its revision is not that of its content';
    return tooLarge(document, factBytesMax) ?? accept(document);
  };
}

function tooLarge(document: StoredDocument, bytesMax: number): string | undefined {
  const { _revisions, ...fields } = document;
  const bytes = Buffer.byteLength(JSON.stringify(fields));
  return bytes > bytesMax ? `it has ${bytes} bytes, more than ${bytesMax}` : undefined;
}

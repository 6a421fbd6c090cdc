// Revision ids as PouchDB makes them from a document's content, and the one order of fields that makes them equal in every
// adapter. Called by the stores and by the bulletin's guard. Pure.

import { createHash } from 'node:crypto';
import { DocumentRefusedError } from './errors.ts';
import { documentBytesMax, documentIdCharactersMax } from './limits.ts';
import type { StoredDocument } from './store.ts';

/** MD5 as in PouchDB: it names revisions and protects nothing. */
export function revisionHash(document: Readonly<Record<string, unknown>>): string {
  return createHash('md5').update(JSON.stringify(document)).digest('hex');
}

/** The revision that a document without history has when our stores write it: `1-<hash>`. */
export function firstRevision(document: StoredDocument): string {
  const { _id, _rev, _revisions, ...fields } = document;
  return `1-${revisionHash({ _id, ...fields })}`;
}

/** Printable ASCII, so that every store sorts ids alike, and no leading underscore, which CouchDB keeps for itself. */
export function isDocumentId(id: unknown): id is string {
  return typeof id === 'string' && id.length <= documentIdCharactersMax && /^[!-^`-~][!-~]*$/.test(id);
}

/**
 * A copy with `_id`, `_rev`, `_deleted` first and nothing that JSON cannot carry. Throws DocumentRefusedError for an id or a
 * field that CouchDB keeps for itself, for attachments, and for more than `documentBytesMax` bytes.
 */
export function normalizedDocument(document: StoredDocument): StoredDocument {
  const { _id, _rev, _deleted, ...fields } = document;
  if (!isDocumentId(_id))
    throw new DocumentRefusedError(
      String(_id).slice(0, 100),
      'the id is not printable ASCII without a leading underscore',
    );
  const reserved = Object.keys(fields).find((field) => field.startsWith('_'));
  if (reserved !== undefined) throw new DocumentRefusedError(_id, `the field ${reserved} is reserved`);
  const text = JSON.stringify({
    _id,
    ...(_rev === undefined ? {} : { _rev }),
    ...(_deleted === true ? { _deleted } : {}),
    ...fields,
  });
  if (Buffer.byteLength(text) > documentBytesMax)
    throw new DocumentRefusedError(_id, `it has more than ${documentBytesMax} bytes`);
  return JSON.parse(text) as StoredDocument;
}

/** Order in which PouchDB and CouchDB choose the winner among leaves: undeleted, then generation, then hash. */
export function compareLeaves(a: StoredDocument, b: StoredDocument): number {
  const deleted = Number(a._deleted === true) - Number(b._deleted === true);
  if (deleted !== 0) return deleted;
  const [revisionA, revisionB] = [a._rev ?? '', b._rev ?? ''];
  const generation = Number.parseInt(revisionB, 10) - Number.parseInt(revisionA, 10);
  if (generation !== 0) return generation;
  return revisionA < revisionB ? 1 : revisionA > revisionB ? -1 : 0;
}

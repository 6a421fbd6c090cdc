// The messages of protocol /selvedge/replicate/1 and their checks. Both ends call it; neither believes the other. A client
// opens with `{open: <database>}`, answered `{opened}` or `{refused: <reason>}`; then requests `{id, method, args}` are
// answered `{id, result}` or `{id, error}`, and the server says `{changed: <database>}`.

import { z } from 'zod';
import { checkpointBytesMax, leavesMax, replicationBatchMax, replicationChangesMax } from './limits.ts';
import { isDocumentId } from './revision.ts';

export const replicationProtocol = '/selvedge/replicate/1';

export type DatabaseKind = 'mailbox' | 'bulletin';
export const databaseKinds: readonly DatabaseKind[] = ['mailbox', 'bulletin'];

const documentId = z.string().refine(isDocumentId);
/** Generation of at most ten digits and an MD5. */
const revision = z.string().regex(/^[1-9][0-9]{0,9}-[0-9a-f]{32}$/);
const sequence = z.union([z.number().int().nonnegative(), z.string().max(1024)]);
const checkpointId = z.string().regex(/^_local\/[A-Za-z0-9._=-]{1,64}$/);
const localRevision = z.string().regex(/^0-[0-9]{1,12}$/);

const session = z.object({ last_seq: sequence, session_id: z.string().max(100) });

/** What PouchDB's checkpointer writes and reads. */
export const checkpointSchema = z
  .object({
    _id: checkpointId,
    _rev: localRevision.optional(),
    last_seq: sequence,
    session_id: z.string().max(100).optional(),
    history: z.array(session).max(10).optional(),
    replicator: z.string().max(100).optional(),
    version: z.number().int().optional(),
  })
  .refine((checkpoint) => JSON.stringify(checkpoint).length <= checkpointBytesMax);

export const openSchema = z.object({ open: z.string().max(200) });

export const requestSchema = z.object({
  id: z.number().int().nonnegative(),
  method: z.string().max(100),
  args: z.array(z.unknown()).max(2),
});

/** Revisions that one bulkGet may ask for: a batch in which every document has a conflict. */
export const bulkGetRequestsMax = 2 * replicationBatchMax;

/** The only methods that are served, with what each accepts. */
export const argumentSchemas = {
  id: z.tuple([]),
  info: z.tuple([]),
  changes: z.tuple([z.object({ since: sequence, limit: z.number().int().min(1).max(replicationChangesMax) })]),
  bulkGet: z.tuple([
    z.object({
      docs: z
        .array(z.object({ id: documentId, rev: revision }))
        .min(1)
        .max(bulkGetRequestsMax),
    }),
  ]),
  revsDiff: z.tuple([
    z
      .record(documentId, z.array(revision).max(leavesMax))
      .refine((diff) => Object.keys(diff).length <= replicationBatchMax, 'too many documents'),
  ]),
  bulkDocs: z.tuple([
    z.object({ docs: z.array(z.looseObject({ _id: z.string().max(1024) })).max(replicationBatchMax) }),
  ]),
  get: z.tuple([checkpointId]),
  put: z.tuple([checkpointSchema]),
};
export type ServedMethod = keyof typeof argumentSchemas;

export function isServedMethod(method: string): method is ServedMethod {
  return Object.hasOwn(argumentSchemas, method);
}

const errorFields = z.object({ name: z.string().max(200), status: z.number().int(), message: z.string().max(2000) });
export type WireError = z.infer<typeof errorFields>;

export const answerSchema = z.union([
  z.object({ id: z.number().int(), error: errorFields }),
  z.object({ id: z.number().int(), result: z.unknown() }),
  z.object({ opened: z.string().max(200) }),
  z.object({ refused: z.string().max(1000) }),
  z.object({ changed: z.string().max(200) }),
]);

/** Rows whose ids no store of ours would have (CouchDB's design documents) are left out. */
const changeRows = z
  .array(
    z.object({
      id: z.string(),
      seq: sequence,
      changes: z.array(z.object({ rev: revision })).max(leavesMax),
      deleted: z.boolean().optional(),
    }),
  )
  .max(replicationChangesMax);

/** What a server may answer. */
export const resultSchemas = {
  id: z.string().max(200),
  info: z.object({ update_seq: sequence }),
  changes: z.object({ results: changeRows, last_seq: sequence, pending: z.number().optional() }),
  bulkGet: z.object({
    results: z.array(z.object({ id: z.string(), docs: z.array(z.object({ ok: z.looseObject({ _id: z.string() }) })) })),
    /** Requests at the end of the list that were not looked at, for want of space. */
    remaining: z.number().int().nonnegative(),
  }),
  revsDiff: z.record(z.string(), z.object({ missing: z.array(revision).max(leavesMax) })),
  bulkDocs: z
    .array(
      z.object({
        id: z.string(),
        error: z.literal(true),
        status: z.number().int(),
        name: z.string().max(200),
        message: z.string().max(2000),
      }),
    )
    .max(replicationBatchMax),
  get: checkpointSchema,
  put: z.object({ ok: z.literal(true), id: z.string(), rev: localRevision }),
};

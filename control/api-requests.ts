// Bodies, paths and queries of the API, checked. Called by api.ts. It must never pass on a field that it does not know.

import { z } from 'zod';
import type { LogQuery } from '../node-runtime/engine.ts';
import { RequestRefusedError } from './errors.ts';
import type { RouterMode } from './fabric.ts';
import {
  eventPageMax,
  labelsMax,
  logGrepCharactersMax,
  logTailMax,
  manifestDocumentsMax,
  revocationReasonCharactersMax,
  secretKeysMax,
  tokenTtlMsMax,
  tokenTtlMsMin,
  tokenUsesMax,
  windowAdmissionsMax,
  windowMsMax,
  windowMsMin,
  windowRangesMax,
} from './limits.ts';
import { describeIssues, pathText } from './manifest-issues.ts';

export interface TokenRequest {
  uses: number;
  ttlMs: number;
  labels: Record<string, string>;
  router: RouterMode;
}

const whole = (minimum: number, maximum: number) =>
  z.int().min(minimum).max(maximum).describe(`a whole number from ${minimum} to ${maximum}`);

export const tokenSchema = z
  .strictObject({
    uses: whole(1, tokenUsesMax).default(1),
    ttlMs: whole(tokenTtlMsMin, tokenTtlMsMax).default(3_600_000),
    labels: z.record(z.string(), z.string()).default({}).describe('an object of strings'),
    router: z.enum(['edge', 'interior']).default('edge').describe("'edge' or 'interior'"),
  })
  .describe('{uses, ttlMs, labels, router}');

const router = z.enum(['edge', 'interior']).default('edge').describe("'edge' or 'interior'");
const labels = z.record(z.string(), z.string()).default({}).describe('an object of strings');

export const approveSchema = z
  .strictObject({
    code: z.string().max(64).describe('the code that the box shows'),
    name: z.string().max(63).describe('a name of at most 63 characters').optional(),
    labels,
    router,
  })
  .describe('{code, name, labels, router}');

export const denySchema = z
  .strictObject({ who: z.string().min(1).max(128).describe('a handle, a name or a peer id') })
  .describe('{who}');

export const revokeSchema = z
  .strictObject({
    reason: z.string().max(revocationReasonCharactersMax).describe('a text of at most 200 characters').default(''),
  })
  .describe('{reason}');

export const labelSchema = z
  .strictObject({
    set: z.record(z.string(), z.string()).default({}).describe('an object of strings'),
    remove: z.array(z.string()).max(labelsMax).default([]).describe('a list of keys'),
  })
  .describe('{set, remove}');

export const windowSchema = z
  .strictObject({
    forMs: whole(windowMsMin, windowMsMax).default(600_000),
    cidrs: z.array(z.string().max(64)).min(1).max(windowRangesMax).describe('a list of address ranges'),
    max: whole(1, windowAdmissionsMax).default(10),
    labels,
    router,
  })
  .describe('{forMs, cidrs, max, labels, router}');

/** What may be said of a key and a value is in manifest-schema.ts. */
export const secretChangeSchema = z
  .strictObject({
    set: z
      .record(z.string(), z.string().describe('base64 with padding (RFC 4648, section 4)'))
      .default({})
      .describe('an object: key to base64'),
    remove: z.array(z.string()).max(secretKeysMax).default([]).describe('a list of keys'),
  })
  .describe('{set: {…}, remove: […]}');

export type ApproveRequest = z.infer<typeof approveSchema>;
export type WindowRequest = z.infer<typeof windowSchema>;

export const applySchema = z
  .strictObject({
    documents: z
      .array(z.unknown())
      .max(manifestDocumentsMax)
      .describe(`a list of at most ${manifestDocumentsMax} manifests`),
    source: z.array(z.string().max(4096)).max(manifestDocumentsMax).describe('a list of strings').optional(),
  })
  .describe('{documents: […]}');

export const downSchema = z
  .strictObject({ workloads: z.boolean().default(false).describe('true or false') })
  .describe('{workloads: true} or {workloads: false}');

/** The parsed body; RequestRefusedError names the first field that is wrong. */
export function readBody<S extends z.ZodType>(schema: S, body: unknown): z.infer<S> {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const [issue] = describeIssues(schema, body, parsed.error.issues);
  const field = issue === undefined ? '' : pathText(issue.path);
  const guess = issue?.didYouMean === undefined ? '' : ` (did you mean ${JSON.stringify(issue.didYouMean)}?)`;
  throw new RequestRefusedError(`${field === '' ? 'the body ' : ''}${issue?.reason ?? 'is not accepted'}${guess}`, {
    field,
    ...(issue?.accepted && { accepted: issue.accepted }),
  });
}

/** A whole number in a query. */
export function readCount(name: string, text: string | undefined, standard: number, maximum: number): number {
  if (text === undefined) return standard;
  const value = /^\d{1,9}$/.test(text) ? Number(text) : -1;
  if (value < 0 || value > maximum) {
    throw new RequestRefusedError('is not accepted', { field: name, accepted: `a whole number from 0 to ${maximum}` });
  }
  return value;
}

/** `true`, `false`, or left out (false); a flag without a value is true. */
export function readFlag(name: string, text: string | undefined): boolean {
  if (text === undefined || text === 'false') return false;
  if (text === 'true' || text === '') return true;
  throw new RequestRefusedError('is not accepted', { field: name, accepted: 'true or false' });
}

/** Queries with a name that the route does not know are refused: a misspelt `dryRun` must not apply. */
export function refuseUnknownQueries(given: Record<string, string>, known: readonly string[]): void {
  for (const name of Object.keys(given)) {
    if (known.includes(name)) continue;
    const accepted = known.length === 0 ? 'no query' : known.join(', ');
    throw new RequestRefusedError('is not a known query', { field: name.slice(0, 80), accepted });
  }
}

/** Which lines of a log are asked for. */
export function readLogQuery(given: Record<string, string>): LogQuery {
  refuseUnknownQueries(given, ['tail', 'follow', 'since', 'grep', 'ignoreCase']);
  const { grep, since } = given;
  if (grep !== undefined && (grep.length === 0 || grep.length > logGrepCharactersMax)) {
    throw new RequestRefusedError('is not accepted', {
      field: 'grep',
      accepted: `a text of 1 to ${logGrepCharactersMax} characters`,
    });
  }
  if (since !== undefined && !/^\d{1,15}$/.test(since)) {
    throw new RequestRefusedError('is not accepted', { field: 'since', accepted: 'milliseconds since 1970' });
  }
  return {
    tail: readCount('tail', given['tail'], 100, logTailMax),
    follow: readFlag('follow', given['follow']),
    ignoreCase: readFlag('ignoreCase', given['ignoreCase']),
    ...(grep !== undefined && { grep }),
    ...(since !== undefined && { since: Number(since) }),
  };
}
export const readLimit = (text: string | undefined): number => readCount('limit', text, 100, eventPageMax);

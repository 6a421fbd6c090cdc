// Errors as RFC 9457 problem documents. Called by the API. It must never tell a client what an unexpected error said: that goes to the
// daemon's log.

import { ManifestError, RequestRefusedError } from './errors.ts';
import { issueText } from './manifest-issues.ts';
import type { Problem } from './views.ts';

/** Status codes by error id; others are 409 when they say what to do, 503 when a retry can help. */
const statusById: Readonly<Record<string, number>> = {
  'manifest-refused': 422,
  'request-refused': 400,
  'node-refused': 400,
  'approval-code-format': 400,
  'window-refused': 400,
  'not-found': 404,
  'no-such-request': 404,
  'no-such-route': 404,
  'not-a-controller': 403,
  'too-many-followers': 503,
  'too-many-sessions': 503,
  'ledger-busy': 503,
  'request-too-large': 413,
};

export const problemType = 'application/problem+json';

function title(id: string): string {
  const words = id.replaceAll('-', ' ');
  return words.slice(0, 1).toUpperCase() + words.slice(1);
}

export function makeProblem(id: string, detail: string, action: string, extra: Partial<Problem> = {}): Problem {
  const status = statusById[id] ?? 409;
  return { type: `urn:selvedge:error:${id}`, title: title(id), status, detail, action, ...extra };
}

interface DescribedError extends Error {
  id: string;
  action: string;
  retryable?: boolean;
}

function isDescribed(error: unknown): error is DescribedError {
  if (!(error instanceof Error)) return false;
  const { id, action } = error as Partial<DescribedError>;
  return typeof id === 'string' && typeof action === 'string';
}

/** The problem for any error; `undefined` for one that nobody described (a fault of the daemon's own). */
export function problemOf(error: unknown): Problem | undefined {
  if (!isDescribed(error)) return undefined;
  const known = statusById[error.id] !== undefined;
  const problem = makeProblem(error.id, error.message, error.action, known || !error.retryable ? {} : { status: 503 });
  if (error instanceof ManifestError) {
    const issues = error.issues.map((issue) => ({ ...issue }));
    const [first, ...others] = error.issues;
    // One issue fits the members of a problem; several are listed in its detail.
    if (first === undefined || others.length > 0) return { ...problem, issues };
    const { path, accepted, ...rest } = first;
    const detail = issueText({ ...rest, path: '', accepted: '' });
    return { ...problem, detail, ...(path !== '' && { field: path }), ...(accepted !== '' && { accepted }), issues };
  }
  if (error instanceof RequestRefusedError) {
    return {
      ...problem,
      ...(error.field !== undefined && { field: error.field }),
      ...(error.accepted !== undefined && { accepted: error.accepted }),
    };
  }
  return problem;
}

export const internalProblem: Problem = {
  type: 'urn:selvedge:error:internal',
  title: 'Internal',
  status: 500,
  detail: 'The daemon failed to answer; its log says why.',
  action: 'Look into the daemon log, and report it if it happens again.',
};

// Signed statements on a link, with certificates named by their hashes instead of said: a link state is 4 kB, of which 3 kB are its signer's chain, and
// each ticket of an announcement has a chain of its own. Pure; called by referenced-links.ts. What is put together again is the text that was signed, byte for byte, or
// nothing: it is verified like one that came whole.

import { hash } from 'node:crypto';
import { announcementType, ticketType } from './announcement-format.ts';
import {
  announcementBytesMax,
  announcementInstancesMax,
  certificateNameCharacters,
  certificateTextMax,
  referencedCertificatesMax,
  referencedChainMax,
} from './limits.ts';
import { linkStateType } from './link-state-format.ts';
import type { Statement, StatementKind } from './statements.ts';

/** A compact JWS (RFC 7515) in parts. */
export interface ReferencedJws {
  alg: string;
  /** Which of the statement's certificates, leaf first. */
  chain: number[];
  /** What was signed; tickets in it are in parts, too. */
  payload: unknown;
  signature: string;
}

export interface ReferencedStatement extends Omit<Statement, 'jws'> {
  /** Names of all that its chains have. */
  certificates: string[];
  referenced: ReferencedJws;
}

/** Of a certificate, as chains have it: base64 of its DER. */
export const certificateName = (text: string): string =>
  hash('sha256', text, 'base64url').slice(0, certificateNameCharacters);

const types: Record<StatementKind, string> = { 'link-state': linkStateType, announcement: announcementType };

const decode = (part: string): unknown => JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

/** The tickets of an announcement, each by what `change` makes of it. */
function withTickets(payload: unknown, change: (ticket: unknown) => unknown): unknown {
  if (!isRecord(payload) || !Array.isArray(payload['instances'])) return payload;
  if (payload['instances'].length > announcementInstancesMax) throw new Error('too many instances');
  const instances = payload['instances'].map((each: unknown) =>
    isRecord(each) && 'ticket' in each ? { ...each, ticket: change(each['ticket']) } : each,
  );
  return { ...payload, instances };
}

/** The payload as it is: tickets have none in them. */
function takeApart(jws: string, type: string, indexOf: (text: string) => number): ReferencedJws {
  const [header = '', body = '', signature = ''] = jws.split('.');
  const { alg, typ, x5c } = decode(header) as { alg: string; typ: unknown; x5c: string[] };
  if (typ !== type) throw new Error('of another type');
  return { alg, chain: x5c.map(indexOf), payload: decode(body), signature };
}

function putTogether(
  { alg, chain, payload, signature }: ReferencedJws,
  type: string,
  textOf: (index: number) => string,
): string {
  // Whoever names a few certificates a thousand times must not make a long text of it here.
  if (chain.length > referencedChainMax) throw new Error('the chain is too long');
  return `${encode({ alg, typ: type, x5c: chain.map(textOf) })}.${encode(payload)}.${signature}`;
}

function statementOf(referenced: ReferencedJws, type: string, textOf: (index: number) => string): string {
  const payload = withTickets(referenced.payload, (ticket) =>
    isRecord(ticket) ? putTogether(ticket as unknown as ReferencedJws, ticketType, textOf) : ticket,
  );
  return putTogether({ ...referenced, payload }, type, textOf);
}

/** Undefined for what would not be the same again. Its certificates come beside it, in the order of their names. */
export function toReferenced(
  kind: StatementKind,
  { jws, ...position }: Statement,
): { statement: ReferencedStatement; texts: string[] } | undefined {
  const indexes = new Map<string, number>();
  const indexOf = (text: string): number => {
    const index = indexes.get(text) ?? indexes.size;
    indexes.set(text, index);
    return index;
  };
  try {
    const whole = takeApart(jws, types[kind], indexOf);
    const takeTicket = (ticket: unknown): unknown => takeApart(String(ticket), ticketType, indexOf);
    const referenced = { ...whole, payload: withTickets(whole.payload, takeTicket) };
    const texts = [...indexes.keys()];
    if (texts.length > referencedCertificatesMax || texts.some(({ length }) => length > certificateTextMax))
      return undefined;
    const same = statementOf(referenced, types[kind], (index) => texts[index] as string) === jws;
    return same
      ? { statement: { ...position, certificates: texts.map(certificateName), referenced }, texts }
      : undefined;
  } catch {
    return undefined;
  }
}

/** Undefined for what cannot be put together; never throws. */
export function fromReferenced(
  kind: StatementKind,
  { certificates, referenced, ...position }: ReferencedStatement,
  textOf: (name: string) => string | undefined,
): Statement | undefined {
  let characters = 0;
  const text = (index: number): string => {
    const found = textOf(certificates[index] ?? '');
    if (found === undefined) throw new Error('there is no such certificate');
    // A long one, named by each of many tickets: no statement is as long as that would be.
    characters += found.length;
    if (characters > announcementBytesMax) throw new Error('it is too long');
    return found;
  };
  try {
    return { ...position, jws: statementOf(referenced, types[kind], text) };
  } catch {
    return undefined;
  }
}

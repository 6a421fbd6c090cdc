// Certificates by reference on all links of a node: what is sent names them, and what arrives is put together from those that are held or asked for. Lies
// between spreading.ts and the links, called by node-runtime/routing.ts. It keeps no certificate that was not verified, and remembers nothing of what a
// neighbour has: that asks for what it lacks. A neighbour that does not say that it takes references is sent whole statements.

import type { Clock, TimerId } from '../node-runtime/clock.ts';
import { createBoundedMap } from './bounded-map.ts';
import {
  certificatesAskAgainMs,
  certificatesHeldCharactersMax,
  certificatesHeldMax,
  certificatesPatienceMs,
  certificatesPerMessageMax,
  certificatesWaitMs,
  referencedHeldMax,
  statementsBytesMax,
} from './limits.ts';
import type { PeerId } from './mesh.ts';
import type { SpreadingMessage } from './spreading.ts';
import { certificateName, fromReferenced, type ReferencedStatement, toReferenced } from './statement-references.ts';
import { compareVersions, type Statement, type StatementKind, type StatementTable } from './statements.ts';
import {
  createWaitingStatements,
  isComplete,
  keyOf,
  type Waiting,
  type WaitingStatements,
} from './waiting-statements.ts';

type Summary = Extract<SpreadingMessage, { type: 'summary' }>;

export type ReferencingMessage =
  | { type: 'referenced'; of: StatementKind; list: ReferencedStatement[] }
  | { type: 'certificates-wanted'; list: string[] }
  | { type: 'certificates'; list: string[] };

/** What crosses links of all that. */
export type CarriedMessage =
  | (Summary & { references?: boolean | undefined })
  | Exclude<SpreadingMessage, Summary>
  | ReferencingMessage;

export interface ReferencedLinks {
  /** What spreading sends with, instead of `send`. */
  begin(peerId: PeerId, send: (message: CarriedMessage) => Promise<void>): (message: SpreadingMessage) => Promise<void>;
  /** What was under way may be lost. */
  renew(peerId: PeerId): void;
  end(peerId: PeerId): void;
  receive(from: PeerId, message: CarriedMessage): void;
  stop(): void;
}

interface ReferencedLink {
  send(message: CarriedMessage): Promise<void>;
  /** The far end takes references. */
  isTaken: boolean;
  /** It has named what it did not say: whole statements, please. */
  isWhole: boolean;
  waiting: WaitingStatements;
  /** By what the far end was asked for. */
  asked: Set<string>;
  /** What it asked for and is still to be sent. */
  wanted: Set<string>;
  answering: boolean;
}

export function createReferencedLinks({
  clock,
  tables,
  receive: take,
  renew,
  shared = (text) => text,
}: {
  clock: Clock;
  tables: Record<StatementKind, StatementTable>;
  /** As if it had come whole. */
  receive(from: PeerId, message: SpreadingMessage): void;
  /** The same text as one object, where one process is hundreds of nodes. */
  shared?: ((text: string) => string) | undefined;
  /** Something that was named on the link was not taken in: both sides compare anew. */
  renew(peerId: PeerId): void;
}): ReferencedLinks {
  const links = new Map<PeerId, ReferencedLink>();
  /** Verified: those of statements that are held here, or were. */
  const held = createBoundedMap<string, string>(certificatesHeldMax, {
    ...{ max: certificatesHeldCharactersMax, of: (text) => text.length },
  });
  const apart = createBoundedMap<string, NonNullable<ReturnType<typeof toReferenced>>>(referencedHeldMax);
  /** When each certificate that is waited for was asked for last, of whomever. */
  const askedAtMs = new Map<string, number>();
  let sweeping: TimerId | undefined;

  function takeApart(kind: StatementKind, statement: Statement): ReferencedStatement | undefined {
    const known = apart.get(statement.jws) ?? toReferenced(kind, statement);
    if (known === undefined) return undefined;
    apart.set(statement.jws, known);
    for (const [index, name] of known.statement.certificates.entries()) held.set(name, known.texts[index] as string);
    return known.statement;
  }

  async function sendStatements(link: ReferencedLink, message: Extract<SpreadingMessage, { type: 'statements' }>) {
    if (!link.isTaken) return link.send(message);
    const list: ReferencedStatement[] = [];
    const whole: Statement[] = [];
    for (const statement of message.list) {
      const referenced = takeApart(message.of, statement);
      if (referenced === undefined) whole.push(statement);
      else list.push(referenced);
    }
    if (list.length > 0) await link.send({ type: 'referenced', of: message.of, list });
    if (whole.length > 0) await link.send({ ...message, list: whole });
  }

  // --- receiving

  function isNews(kind: StatementKind, statement: ReferencedStatement): boolean {
    const before = tables[kind].held(statement.peerId, statement.part);
    return before === undefined || compareVersions(statement, before) > 0;
  }

  function deliver(
    from: PeerId,
    kind: StatementKind,
    referenced: ReferencedStatement,
    texts: Waiting['lacking'],
  ): void {
    const textOf = (name: string): string | undefined => texts.get(name) ?? held.get(name);
    const made = fromReferenced(kind, referenced, textOf);
    if (made === undefined) return;
    const statement = { ...made, jws: shared(made.jws) };
    take(from, { type: 'statements', of: kind, list: [statement] });
    // Those that are in it, and no others: whatever else was named beside them nobody has signed.
    if (texts.size > 0 && tables[kind].held(statement.peerId, statement.part)?.jws === statement.jws)
      takeApart(kind, statement);
  }

  function receiveReferenced(
    from: PeerId,
    link: ReferencedLink,
    kind: StatementKind,
    list: ReferencedStatement[],
  ): void {
    for (const statement of list) {
      if (!isNews(kind, statement)) {
        const ours = tables[kind].held(statement.peerId, statement.part);
        // It has the same, and need not be sent it.
        if (ours !== undefined && compareVersions(statement, ours) === 0)
          take(from, { type: 'statements', of: kind, list: [ours] });
        continue;
      }
      const lacking = new Map<string, string | undefined>();
      for (const name of statement.certificates) if (held.get(name) === undefined) lacking.set(name, undefined);
      const key = keyOf(kind, statement);
      link.waiting.drop(key);
      if (lacking.size === 0) {
        deliver(from, kind, statement, lacking);
        continue;
      }
      link.waiting.put(key, { kind, statement, sinceMs: clock.elapsed(), lacking });
      if (link.waiting.isTooMuch) {
        giveUp(from, link);
        return;
      }
    }
    ask(link);
  }

  /** What nobody was asked for lately; each neighbour once. */
  function ask(link: ReferencedLink): void {
    const list: string[] = [];
    const nowMs = clock.elapsed();
    for (const { lacking, sinceMs } of link.waiting.values()) {
      // Whoever has others asked again and again holds nobody up.
      const isPatient = nowMs - sinceMs < certificatesPatienceMs;
      for (const [name, text] of lacking) {
        const agoMs = nowMs - (askedAtMs.get(name) ?? Number.NEGATIVE_INFINITY);
        if (text !== undefined || link.asked.has(name) || (isPatient && agoMs < certificatesAskAgainMs)) continue;
        askedAtMs.set(name, nowMs);
        link.asked.add(name);
        list.push(name);
      }
    }
    for (let at = 0; at < list.length; at += certificatesPerMessageMax)
      void link.send({ type: 'certificates-wanted', list: list.slice(at, at + certificatesPerMessageMax) });
    if (link.waiting.size > 0) sweeping ??= clock.setTimeout(sweep, certificatesAskAgainMs);
  }

  /** Where it waits for one of these, on whichever link. */
  function receiveCertificates(texts: readonly string[]): void {
    const arrived = new Map<string, string>();
    for (const text of texts) {
      const name = certificateName(text);
      if (askedAtMs.has(name)) arrived.set(name, text);
    }
    if (arrived.size === 0) return;
    for (const [peerId, link] of links) {
      // All first: one long text that a thousand statements name is too much before it is in one of them.
      link.waiting.fill((name) => arrived.get(name) ?? held.get(name));
      if (link.waiting.isTooMuch) giveUp(peerId, link);
      for (const [key, waiting] of link.waiting.entries()) {
        if (!isComplete(waiting)) continue;
        link.waiting.drop(key);
        deliver(peerId, waiting.kind, waiting.statement, waiting.lacking);
      }
      if (link.waiting.size === 0) link.asked.clear();
    }
    for (const name of arrived.keys()) askedAtMs.delete(name);
  }

  function giveUp(peerId: PeerId, link: ReferencedLink): void {
    link.isWhole = true;
    link.waiting.clear();
    link.asked.clear();
    renew(peerId);
  }

  function sweep(): void {
    sweeping = undefined;
    const nowMs = clock.elapsed();
    const lacking = new Set<string>();
    for (const link of links.values()) {
      for (const [key, waiting] of link.waiting.entries()) {
        if (isNews(waiting.kind, waiting.statement)) for (const name of waiting.lacking.keys()) lacking.add(name);
        else link.waiting.drop(key);
      }
    }
    for (const name of askedAtMs.keys()) if (!lacking.has(name)) askedAtMs.delete(name);
    for (const [peerId, link] of links) {
      for (const name of link.asked) if (!lacking.has(name)) link.asked.delete(name);
      const isLate = ({ sinceMs }: Waiting): boolean => nowMs - sinceMs >= certificatesWaitMs;
      if ([...link.waiting.values()].some(isLate)) giveUp(peerId, link);
      else ask(link);
    }
  }

  /** One answer at a time: who asks for much and reads slowly holds up himself. */
  async function answer(link: ReferencedLink): Promise<void> {
    if (link.answering) return;
    link.answering = true;
    while (link.wanted.size > 0) {
      const list: string[] = [];
      let bytes = 0;
      for (const name of link.wanted) {
        const text = held.get(name);
        if (list.length >= certificatesPerMessageMax || (list.length > 0 && bytes > statementsBytesMax)) break;
        link.wanted.delete(name);
        if (text === undefined) continue;
        list.push(text);
        bytes += text.length;
      }
      if (list.length > 0) await link.send({ type: 'certificates', list });
    }
    link.answering = false;
  }

  return {
    begin(peerId, send) {
      const link: ReferencedLink = {
        ...{ send, isTaken: false, isWhole: false, answering: false },
        ...{ waiting: createWaitingStatements(), asked: new Set(), wanted: new Set() },
      };
      links.set(peerId, link);
      return (message) => {
        if (message.type === 'statements') return sendStatements(link, message);
        return link.send({ ...message, ...(!link.isWhole && { references: true }) });
      };
    },
    renew(peerId) {
      const link = links.get(peerId);
      if (link === undefined) return;
      link.asked.clear();
      for (const { lacking } of link.waiting.values()) for (const name of lacking.keys()) askedAtMs.delete(name);
      ask(link);
    },
    end(peerId) {
      links.delete(peerId);
      // What it was asked for others may have.
      for (const link of links.values()) ask(link);
    },
    receive(from, message) {
      const link = links.get(from);
      if (link === undefined) return;
      if (message.type === 'summary') {
        const { references, ...summary } = message;
        link.isTaken = references === true;
        take(from, summary);
      } else if (message.type === 'statements') take(from, message);
      else if (message.type === 'referenced') receiveReferenced(from, link, message.of, message.list);
      else if (message.type === 'certificates') receiveCertificates(message.list);
      else {
        for (const name of message.list) if (link.wanted.size < certificatesHeldMax) link.wanted.add(name);
        void answer(link);
      }
    },
    stop() {
      clock.clearTimeout(sweeping);
      sweeping = undefined;
      links.clear();
    },
  };
}

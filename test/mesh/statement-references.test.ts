// Certificates by reference on links: what is put together again is what was signed; what is not held is asked for, of another neighbour when one does
// not answer; and a neighbour that names what it does not say, or says what nobody signed, gains and spoils nothing.

import test from 'ava';
import type { Announcement } from '../../mesh/announcement-format.ts';
import { createAnnouncementTable } from '../../mesh/announcements.ts';
import { createBoundedMap } from '../../mesh/bounded-map.ts';
import {
  announcementBytesMax,
  certificatesAskAgainMs,
  certificatesPatienceMs,
  certificatesWaitMs,
  certificateTextMax,
  referencedCertificatesMax,
  waitingCertificatesMax,
  waitingStatementsBytesMax,
  waitingStatementsMax,
} from '../../mesh/limits.ts';
import { type CarriedMessage, createReferencedLinks } from '../../mesh/referenced-links.ts';
import type { SpreadingMessage } from '../../mesh/spreading.ts';
import {
  certificateName,
  fromReferenced,
  type ReferencedStatement,
  toReferenced,
} from '../../mesh/statement-references.ts';
import type { Statement } from '../../mesh/statements.ts';
import { createSimClock, type SimClock } from '../../simulations/sim-clock.ts';
import { createTestFabric, type TestNode } from './credentials.ts';

const fabric = createTestFabric();
const one = fabric.node('one', []);
const two = fabric.node('two', []);

function announcementOf(node: TestNode, sequence = 1, instances = 3): Statement {
  const named = (index: number) => `default.cold-chain.monitor.${index}`;
  const said: Announcement = {
    ...{ fabricId: fabric.fabricId, peerId: node.peerId, node: node.name, bootCounter: 1, sequence },
    instances: Array.from({ length: instances }, (_, index) => ({
      ...{ instance: named(index), ready: true },
      ticket: fabric.ticket({ instance: named(index), peerId: node.peerId }),
    })),
  };
  const jws = node.sign('selvedge-announcement+jws', said);
  return { peerId: node.peerId, part: 0, bootCounter: 1, sequence, jws };
}

const summary = (references?: true): CarriedMessage => ({
  ...{ type: 'summary', of: 'announcement', list: [], last: true, answer: false },
  ...(references && { references }),
});

/** A node with a table of announcements, and what it sends over each of its links. */
function createNode(clock: SimClock) {
  const table = createAnnouncementTable({ fabricId: fabric.fabricId, verifySigned: fabric.verifySigned });
  const sent: Record<string, CarriedMessage[]> = {};
  const sends: Record<string, (message: SpreadingMessage) => Promise<void>> = {};
  const renewed: string[] = [];
  const links = createReferencedLinks({
    clock,
    tables: { announcement: table, 'link-state': { held: () => undefined, all: () => [] } },
    receive(_, message) {
      if (message.type === 'statements') for (const { jws } of message.list) table.accept(jws);
    },
    renew: (peerId) => void renewed.push(peerId),
  });
  return {
    ...{ table, sent, renewed, receive: links.receive, stop: links.stop },
    link(peerId: string): void {
      const list: CarriedMessage[] = [];
      sent[peerId] = list;
      sends[peerId] = links.begin(peerId, async (message) => void list.push(message));
    },
    /** As spreading does. */
    send: (peerId: string, list: Statement[]) => sends[peerId]?.({ type: 'statements', of: 'announcement', list }),
    renew: (peerId: string) => sends[peerId]?.(summary() as SpreadingMessage),
    held: () => [...table.all()].map(({ jws }) => jws),
  };
}

const referencedOf = (statement: Statement): ReferencedStatement => {
  const made = toReferenced('announcement', statement);
  if (made === undefined) throw new Error('it cannot be taken apart');
  return made.statement;
};
const message = (...list: ReferencedStatement[]): CarriedMessage => ({ type: 'referenced', of: 'announcement', list });
const textsOf = (statement: Statement): string[] => toReferenced('announcement', statement)?.texts ?? [];

test('an announcement with its tickets is put together as it was signed, and is a fifth of it on the link', (t) => {
  const whole = announcementOf(one, 1, 64);
  const { statement, texts } = toReferenced('announcement', whole) as NonNullable<ReturnType<typeof toReferenced>>;
  t.is(texts.length, 3, 'node, controller and root, each once');
  const crossed = JSON.parse(JSON.stringify(statement)) as ReferencedStatement;
  const byName = new Map(statement.certificates.map((name, index) => [name, texts[index]]));
  t.deepEqual(
    fromReferenced('announcement', crossed, (name) => byName.get(name)),
    whole,
  );
  t.true(JSON.stringify(statement).length < whole.jws.length / 5, `${JSON.stringify(statement).length}`);
  t.is(
    fromReferenced('announcement', crossed, () => undefined),
    undefined,
  );
});

test('what would not be the same again is sent whole', (t) => {
  const { jws, ...position } = announcementOf(one);
  const [header = '', body = '', signature] = jws.split('.');
  const spaced = Buffer.from(Buffer.from(body, 'base64url').toString().replace('{', '{ ')).toString('base64url');
  for (const other of ['', 'a.b.c', [header, spaced, signature].join('.'), [spaced, body, signature].join('.')])
    t.is(toReferenced('announcement', { ...position, jws: other }), undefined);
  t.is(toReferenced('link-state', { ...position, jws }), undefined, 'of another type');
});

test('attack: malformed, endless or nested references give nothing or a refused text, and never throw', (t) => {
  const { referenced, ...statement } = referencedOf(announcementOf(one));
  const text = () => 'x'.repeat(1_000);
  const long = Array.from({ length: 10_000 }, () => 0);
  const ticket = { alg: '', chain: long, payload: {}, signature: '' };
  for (const payload of [
    undefined,
    { instances: [{ ticket: { chain: 'no list' } }] },
    { instances: [{ ticket }] },
    { instances: Array.from({ length: 65 }, () => ({ ticket: referenced })) },
  ]) {
    const made = fromReferenced('announcement', { ...statement, referenced: { ...referenced, payload } }, text);
    t.true((made?.jws.length ?? 0) < 10_000);
  }
  t.is(fromReferenced('announcement', { ...statement, referenced: { ...referenced, chain: long } }, text), undefined);
  // A ticket in a ticket is not looked into.
  const nested = { instances: [{ ticket: { ...referenced, payload: { instances: [{ ticket }] } } }] };
  const made = fromReferenced('announcement', { ...statement, referenced: { ...referenced, payload: nested } }, text);
  t.true((made?.jws.length ?? 0) < 50_000);
});

test('what is not held is asked for once, and then everything that names it is taken in', async (t) => {
  const clock = createSimClock();
  const [near, far] = [createNode(clock), createNode(clock)];
  near.link('far');
  far.link('near');
  far.receive('near', summary(true));
  const [first, second] = [announcementOf(one, 1), announcementOf(one, 2)];
  await far.send('near', [first]);
  const [crossing] = far.sent['near'] ?? [];
  t.is(crossing?.type, 'referenced');
  near.receive('far', crossing as CarriedMessage);
  t.deepEqual(near.held(), []);
  near.receive('far', message(referencedOf(second)));
  const asked = near.sent['far'] ?? [];
  t.is(asked.length, 1, 'the same certificates are asked for once');
  far.receive('near', asked[0] as CarriedMessage);
  await clock.advance(0);
  near.receive('far', far.sent['near']?.at(-1) as CarriedMessage);
  t.deepEqual(near.held(), [second.jws], 'the newer one alone waited');
  const third = announcementOf(one, 3);
  near.receive('far', message(referencedOf(third)));
  t.deepEqual(near.held(), [third.jws], 'nothing is asked any more');
  t.is(asked.length, 1);
  await clock.advance(certificatesWaitMs);
  t.is(clock.pending(), 0);
  t.deepEqual(near.renewed, []);
});

test('attack: a neighbour that names and does not say holds nothing up that another one says, and goes on with whole ones', async (t) => {
  const clock = createSimClock();
  const node = createNode(clock);
  node.link('silent');
  node.link('honest');
  const said = announcementOf(two);
  node.receive('silent', message(referencedOf(said)));
  node.receive('honest', message(referencedOf(said)));
  t.is(node.sent['silent']?.length, 1);
  t.deepEqual(node.sent['honest'], []);
  await clock.advance(certificatesAskAgainMs);
  t.is(node.sent['honest']?.length, 1);
  node.receive('honest', { type: 'certificates', list: textsOf(said) });
  t.deepEqual(node.held(), [said.jws]);
  node.receive('silent', message(referencedOf(announcementOf(one))));
  await clock.advance(certificatesWaitMs + certificatesAskAgainMs);
  t.deepEqual(node.renewed, ['silent']);
  await node.renew('silent');
  t.like(node.sent['silent']?.at(-1), { type: 'summary', references: undefined });
  t.is(clock.pending(), 0, 'nothing waits any more');
});

test('attack: a neighbour that has itself asked again and again holds nothing up for long', async (t) => {
  const clock = createSimClock();
  const node = createNode(clock);
  node.link('silent');
  node.link('honest');
  const named = referencedOf(announcementOf(two));
  const rounds = certificatesPatienceMs / (certificatesAskAgainMs / 2);
  for (let round = 0; round < rounds; round += 1) {
    node.receive('silent', message(named));
    if (round === 0) node.receive('honest', message(named));
    t.deepEqual(node.sent['honest'], []);
    await clock.advance(certificatesAskAgainMs / 2);
    // A new link: what it was asked for is forgotten.
    node.link('silent');
  }
  t.is(node.sent['honest']?.length, 1);
  node.stop();
});

test('a link that is lost while it was asked is not waited for', (t) => {
  const clock = createSimClock();
  const node = createNode(clock);
  node.link('lost');
  node.link('other');
  const said = announcementOf(two);
  node.receive('lost', message(referencedOf(said)));
  node.receive('other', message(referencedOf(said)));
  node.stop();
  t.is(clock.pending(), 0);
});

test('attack: certificates that nobody signed are not kept, and a flood of names ends with whole statements', async (t) => {
  const clock = createSimClock();
  const node = createNode(clock);
  node.link('liar');
  const stranger = createTestFabric().node('one', []);
  const forged = announcementOf(stranger);
  node.receive('liar', message(referencedOf(forged)));
  node.receive('liar', { type: 'certificates', list: textsOf(forged) });
  t.deepEqual(node.held(), []);
  const before = node.sent['liar']?.length ?? 0;
  node.receive('liar', message(referencedOf({ ...announcementOf(stranger, 2) })));
  t.is((node.sent['liar']?.length ?? 0) - before, 1, 'they have to be asked for again');
  node.receive('liar', { type: 'certificates-wanted', list: referencedOf(forged).certificates });
  await clock.advance(0);
  t.false(
    node.sent['liar']?.some(({ type }) => type === 'certificates'),
    'nor are they told to others',
  );
  const base = referencedOf(announcementOf(one));
  for (let part = 0; part <= waitingStatementsMax; part++)
    node.receive('liar', message({ ...base, peerId: `peer-${part}`, certificates: [`n${part}`.padEnd(22, 'n')] }));
  t.deepEqual(node.renewed, ['liar']);
  node.stop();
});

test('attack: texts named beside a statement that is verified are not kept', async (t) => {
  const node = createNode(createSimClock());
  node.link('liar');
  const said = announcementOf(one);
  const junk = 'x'.repeat(certificateTextMax);
  const own = referencedOf(said);
  node.receive('liar', message({ ...own, certificates: [...own.certificates, certificateName(junk)] }));
  node.receive('liar', { type: 'certificates', list: [...textsOf(said), junk] });
  t.deepEqual(node.held(), [said.jws]);
  const before = node.sent['liar']?.length;
  node.receive('liar', { type: 'certificates-wanted', list: [certificateName(junk)] });
  t.is(node.sent['liar']?.length, before);
  node.receive('liar', { type: 'certificates-wanted', list: own.certificates });
  t.like(node.sent['liar']?.at(-1), { type: 'certificates', list: textsOf(said) });
  node.stop();
});

test('attack: what came for statements that still wait has a bound, and so have the names that they lack', (t) => {
  const node = createNode(createSimClock());
  const base = referencedOf(announcementOf(one));
  const text = 'x'.repeat(certificateTextMax);
  const flood = (peerId: string, statements: number, names: (index: number) => string[]): void => {
    node.link(peerId);
    for (let index = 0; index < statements; index++)
      node.receive(peerId, message({ ...base, peerId: `peer-${index}`, certificates: names(index) }));
  };
  const few = Math.floor(waitingStatementsBytesMax / text.length);
  const nameOf = (index: number): string => `${index}`.padEnd(22, 'n');
  flood('few', few - 10, (index) => [certificateName(text), nameOf(index)]);
  flood('many', few + 10, (index) => [certificateName(text), nameOf(index)]);
  node.receive('many', { type: 'certificates', list: [text] });
  t.deepEqual(node.renewed, ['many']);
  const ofOne = referencedCertificatesMax;
  flood('names', waitingCertificatesMax / ofOne + 1, (index) =>
    Array.from({ length: ofOne }, (_, each) => nameOf(index * ofOne + each)),
  );
  t.deepEqual(node.renewed, ['many', 'names']);
  node.stop();
});

test('attack: a long text that each of many tickets names does not make a long statement', (t) => {
  const { referenced, ...statement } = referencedOf(announcementOf(one));
  const ticket = { alg: '', chain: [0, 0, 0, 0], payload: {}, signature: '' };
  const payload = { instances: Array.from({ length: 64 }, () => ({ ticket })) };
  const of = (length: number) =>
    fromReferenced('announcement', { ...statement, referenced: { ...referenced, payload } }, () => 'x'.repeat(length));
  t.is(of(certificateTextMax), undefined);
  t.is(of(announcementBytesMax / (4 * 64) + 1), undefined);
  t.not(of(1_000), undefined);
});

test('a statement with a longer certificate than may be said goes whole', (t) => {
  const { jws, ...position } = announcementOf(one);
  const [, body = '', signature] = jws.split('.');
  const header = (length: number) =>
    Buffer.from(JSON.stringify({ alg: 'ES256', typ: 'selvedge-announcement+jws', x5c: ['x'.repeat(length)] })).toString(
      'base64url',
    );
  const of = (length: number) =>
    toReferenced('announcement', { ...position, jws: [header(length), body, signature].join('.') });
  t.not(of(certificateTextMax), undefined);
  t.is(of(certificateTextMax + 1), undefined);
});

test('a bounded map forgets by weight as well, whatever was used longest ago first', (t) => {
  const map = createBoundedMap<string, string>(3, { max: 10, of: (text) => text.length });
  map.set('a', '12345');
  map.set('b', '1234');
  map.set('b', '12345');
  map.get('a');
  map.set('c', '1');
  t.deepEqual([...map.keys()], ['a', 'c']);
  map.delete('a');
  map.set('d', '123456789');
  t.deepEqual([...map.keys()], ['c', 'd']);
  map.set('e', 'longer than all of it');
  t.is(map.size, 0);
});

test('a neighbour of an older version is sent whole statements', async (t) => {
  const node = createNode(createSimClock());
  node.link('old');
  node.receive('old', summary());
  const said = announcementOf(one);
  await node.send('old', [said]);
  t.deepEqual(node.sent['old'], [{ type: 'statements', of: 'announcement', list: [said] }]);
});

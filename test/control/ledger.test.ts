// The ledger: the chain breaks at every kind of edit, floods are counted, and texts cannot do harm.

import test from 'ava';
import { createLedger } from '../../control/ledger.ts';
import { eventCausesMax, eventCollapseKeysMax, eventQueueMax } from '../../control/limits.ts';
import type { StoredDocument } from '../../control/store.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createSimStore } from '../../simulations/sim-store.ts';

async function fixture() {
  const fabric = await createSimStore().open('fabric');
  const clock = createSimClock();
  return { fabric, clock, ledger: createLedger({ fabric, controller: 'box1', clock }) };
}

const event = (subject: string, message = 'something') => ({ type: 'node-admitted', subject, message });

test('events are chained, numbered and found again after a restart', async (t) => {
  const { fabric, clock, ledger } = await fixture();
  await Promise.all(['a', 'b', 'c'].map((subject) => ledger.append(event(subject))));
  await ledger.stop();
  const again = createLedger({ fabric, controller: 'box1', clock });
  await again.append(event('d'));
  const events = await again.list();
  t.deepEqual(
    events.map(({ subject }) => subject),
    ['a', 'b', 'c', 'd'],
  );
  t.is(events[3]?.id, 'event/box1/000000000004');
  t.is(events[3]?.previous, events[2]?.hash);
  t.like(await again.verify(), { ok: true, events: 4, head: events[3]?.hash });
  await again.stop();
});

test('list pages forward from an id, and gives the newest without one', async (t) => {
  const { ledger } = await fixture();
  for (let number = 1; number <= 10; number += 1) await ledger.append(event(`s${number}`));
  t.deepEqual(
    (await ledger.list({ limit: 2 })).map(({ subject }) => subject),
    ['s9', 's10'],
  );
  const page = await ledger.list({ after: 'event/box1/000000000003', limit: 2 });
  t.deepEqual(
    page.map(({ subject }) => subject),
    ['s4', 's5'],
  );
  t.deepEqual(await ledger.list({ after: 'event/box1/000000000010' }), []);
  await t.throwsAsync(ledger.list({ after: 'nonsense' }), { name: 'RequestRefusedError' });
  await ledger.stop();
});

const edits: [string, (document: StoredDocument) => StoredDocument | undefined][] = [
  ['a message', (document) => ({ ...document, message: 'else' })],
  ['a time', (document) => ({ ...document, at: 1 })],
  ['a link', (document) => ({ ...document, previous: 'f'.repeat(64) })],
  ['a hash', (document) => ({ ...document, hash: 'f'.repeat(64) })],
  ['a whole event', () => undefined],
];

for (const [what, edit] of edits) {
  test(`verify finds that ${what} was changed`, async (t) => {
    const { fabric, ledger } = await fixture();
    for (const subject of ['a', 'b', 'c']) await ledger.append(event(subject));
    t.true((await ledger.verify()).ok);
    const id = 'event/box1/000000000002';
    const changed = edit((await fabric.get(id)) as StoredDocument);
    if (changed === undefined) await fabric.remove(id);
    else await fabric.update(id, () => changed);
    t.like(await ledger.verify(), { ok: false, sequence: 2 });
    await ledger.stop();
  });
}

test('verify finds that the newest event is gone', async (t) => {
  const { fabric, ledger } = await fixture();
  for (const subject of ['a', 'b']) await ledger.append(event(subject));
  await fabric.remove('event/box1/000000000002');
  t.like(await ledger.verify(), { ok: false, sequence: 2 });
  await ledger.stop();
});

test('identical events within a second are counted into one', async (t) => {
  const { clock, ledger } = await fixture();
  for (let number = 0; number < 50; number += 1) await ledger.append(event('attacker', `try ${number}`));
  t.is((await ledger.list()).length, 1);
  await clock.advance(1_100);
  const events = await ledger.list();
  t.is(events.length, 2);
  t.is(events[1]?.message, 'try 49 (49 more within 1000 ms)');
  await ledger.append(event('attacker'));
  t.is((await ledger.list()).length, 3);
  await ledger.stop();
  t.is(clock.pending(), 0);
});

test('a flood of different subjects is counted by type', async (t) => {
  const { ledger } = await fixture();
  for (let number = 0; number < eventCollapseKeysMax + 500; number += 1) {
    await ledger.append({ type: 'enrollment-refused', subject: `s${number}`, message: 'no' });
  }
  await ledger.stop();
  const events = await ledger.list({ limit: 1000 });
  t.is(events.length, eventCollapseKeysMax + 2);
  t.is(events.at(-1)?.subject, 'many');
});

test('whatever a flood of strangers brings, a cause is a few events a day, with a count, and the chain holds', async (t) => {
  const { clock, ledger } = await fixture();
  const causes = ['token unknown', 'presented chain:'];
  const dayMs = 86_400_000;
  let sent = 0;
  for (let at = 0; at < dayMs; at += 500) {
    const subject = `stranger-${at}`;
    await Promise.all(
      causes.map((cause) => ledger.append({ type: 'enrollment-refused', subject, message: `${cause} ${at}`, cause })),
    );
    sent += causes.length;
    await clock.advance(500);
  }
  await ledger.stop();
  const events = await ledger.list({ limit: 1000 });
  t.true(events.length <= 2 * (24 + 15), `${events.length} events for ${sent} refusals`);
  t.is(
    events.reduce((sum, { message }) => sum + Number(/\((\d+) more within/.exec(message)?.[1] ?? 1), 0),
    sent,
  );
  t.like(events[0], { subject: 'stranger-0', message: 'token unknown 0' });
  t.regex(events[4]?.message ?? '', /\(\d more within 2 s\)$/);
  t.like(await ledger.verify(), { ok: true, events: events.length });
  t.is(clock.pending(), 0);
});

test('whoever pauses between two refusals gets one event in two minutes; other events come at once', async (t) => {
  const { clock, ledger } = await fixture();
  for (let minute = 0; minute < 60; minute += 1) {
    await ledger.append({ type: 'request-refused', subject: 'a', message: 'no', cause: 'a' });
    await clock.advance(60_000);
  }
  const events = await ledger.list({ limit: 1000 });
  t.true(events.length <= 12, `${events.length} events`);
  await ledger.append(event('b'));
  t.is((await ledger.list({ limit: 1000 })).at(-1)?.subject, 'b');
  await ledger.stop();
});

test('causes that nobody foresaw are counted by type', async (t) => {
  const { ledger } = await fixture();
  for (let number = 0; number < 500; number += 1) {
    await ledger.append({
      type: 'enrollment-refused',
      subject: `s${number}`,
      message: 'no',
      cause: `made up ${number}`,
    });
  }
  await ledger.append(event('an honest one'));
  await ledger.stop();
  const events = await ledger.list({ limit: 1000 });
  t.is(events.length, eventCausesMax + 3);
  t.regex(events.at(-1)?.message ?? '', /467 more within/);
});

test('more than may wait is refused, and said so once there is room', async (t) => {
  const { ledger } = await fixture();
  // Types differ, so that nothing is counted together.
  const appended = Array.from({ length: eventQueueMax + 10 }, (_, number) =>
    ledger.append({ type: `type-${number}`, subject: 's', message: 'm' }),
  );
  const results = await Promise.allSettled(appended);
  t.is(results.filter(({ status }) => status === 'rejected').length, 10);
  const events = await ledger.list();
  t.regex(events.at(-1)?.message ?? '', /10 events were dropped/);
  await ledger.stop();
});

test('long texts are cut and control characters become spaces', async (t) => {
  const { ledger } = await fixture();
  await ledger.append({ type: 't', subject: 'a\u001b[2Jb', message: 'x'.repeat(100_000) });
  const [first] = await ledger.list();
  t.is(first?.subject, 'a [2Jb');
  t.is(first?.message.length, 1000);
  await ledger.stop();
});

test('a write that fails is tried again on top of what is there', async (t) => {
  const { fabric, ledger } = await fixture();
  await ledger.append(event('a'));
  // Somebody else wrote the next number (a second process on one store).
  const other = createLedger({ fabric, controller: 'box1', clock: createSimClock() });
  await other.append(event('b'));
  await ledger.append(event('c'));
  t.deepEqual(
    (await ledger.list()).map(({ subject }) => subject),
    ['a', 'b', 'c'],
  );
  t.true((await ledger.verify()).ok);
  await Promise.all([ledger.stop(), other.stop()]);
});

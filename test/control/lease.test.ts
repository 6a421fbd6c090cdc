// The lease: a term is never handed out twice, whatever a crash leaves of the journal.

import test from 'ava';
import { LeaseJournalError } from '../../control/errors.ts';
import { createLease, grantAtStart, readJournal } from '../../control/lease.ts';
import { leaseJournalLinesMax, leaseMsMax } from '../../control/limits.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { memoryDisk } from './planner-fixture.ts';

const line = (term: number, controllers = ['me'], epoch = 1): string =>
  `${JSON.stringify({ epoch, term, holder: 'me', controllers, at: 0 })}\n`;

test('a single controller holds the lease at once, with a new term at each start', async (t) => {
  const disk = memoryDisk();
  for (const term of [1, 2, 3]) {
    const lease = createLease({ disk, clock: createSimClock(), self: 'me' });
    let heard = 0;
    lease.subscribe(() => {
      heard += 1;
    });
    await Promise.all([lease.start(), lease.start()]);
    t.deepEqual(lease.current(), { epoch: 1, term });
    t.is(heard, 1);
    await lease.stop();
    t.is(lease.current(), undefined);
    t.is(heard, 2);
  }
  t.is(disk.files.get('lease.jsonl')?.trimEnd().split('\n').length, 3);
});

test('a grant that cannot be stored does not count', async (t) => {
  const disk = memoryDisk();
  const append = disk.append;
  disk.append = () => Promise.reject(new Error('disk full'));
  const lease = createLease({ disk, clock: createSimClock(), self: 'me' });
  await t.throwsAsync(lease.start(), { message: 'disk full' });
  t.is(lease.current(), undefined);
  disk.append = append;
  await lease.start();
  t.deepEqual(lease.current(), { epoch: 1, term: 1 });
});

test('a torn last line is dropped, and the next grant is a line of its own', async (t) => {
  const disk = memoryDisk(new Map([['lease.jsonl', `${line(4)}{"epoch":1,"te`]]));
  const lease = createLease({ disk, clock: createSimClock(), self: 'me' });
  await lease.start();
  t.deepEqual(lease.current(), { epoch: 1, term: 5 });
  t.is(readJournal(disk.files.get('lease.jsonl') ?? '').newest?.term, 5);
});

test('damage anywhere else refuses the start', async (t) => {
  for (const damaged of [
    `{"epoch":1}\n${line(2)}`,
    `garbage\n`,
    `${line(1)}${line(2).replace('"term":2', '"term":-2')}${line(3)}`,
  ]) {
    const lease = createLease({
      disk: memoryDisk(new Map([['lease.jsonl', damaged]])),
      clock: createSimClock(),
      self: 'me',
    });
    await t.throwsAsync(lease.start(), { instanceOf: LeaseJournalError });
    t.is(lease.current(), undefined);
  }
});

test('a long journal is rewritten with its newest line', async (t) => {
  const long = Array.from({ length: leaseJournalLinesMax + 1 }, (_, index) => line(index + 1)).join('');
  const disk = memoryDisk(new Map([['lease.jsonl', long]]));
  const lease = createLease({ disk, clock: createSimClock(), self: 'me' });
  await lease.start();
  t.deepEqual(lease.current(), { epoch: 1, term: leaseJournalLinesMax + 2 });
  t.is(disk.files.get('lease.jsonl')?.trimEnd().split('\n').length, 2);
});

test('with more controllers than one nothing is granted before one lease duration is over', async (t) => {
  const clock = createSimClock();
  const lease = createLease({
    disk: memoryDisk(new Map([['lease.jsonl', line(3, ['me', 'other'])]])),
    clock,
    self: 'me',
  });
  const began = clock.now();
  await lease.start();
  t.is(lease.current(), undefined);
  t.is(lease.mayGrantFrom(), began + leaseMsMax);
  await lease.stop();
  t.is(clock.pending(), 0);
});

test('an epoch counts before a term, and a foreign set grants nothing', (t) => {
  t.is(readJournal(`${line(9)}${line(1, ['me'], 2)}`).newest?.epoch, 2);
  const newest = { epoch: 1, term: 3, holder: 'other', controllers: ['other'], at: 0 };
  t.is(grantAtStart(newest, 'me', 0), undefined);
  t.is(grantAtStart({ ...newest, controllers: ['me'] }, 'me', 0)?.term, 4);
});

test('a journal that lost its end goes on after the terms that plans were written with', async (t) => {
  for (const [journal, used, term] of [
    ['', 7, 8],
    [`${line(3)}{"epoch":1,"te`, 7, 8],
    [`${line(9)}{"epoch":1,"te`, 7, 10],
    [undefined, 7, 8],
    ['', undefined, 1],
  ] as const) {
    const disk = memoryDisk(journal === undefined ? undefined : new Map([['lease.jsonl', journal]]));
    const usedTerm = async () => (used === undefined ? undefined : { epoch: 1, term: used });
    const lease = createLease({ disk, clock: createSimClock(), self: 'me', usedTerm });
    await lease.start();
    t.deepEqual(lease.current(), { epoch: 1, term }, JSON.stringify(journal));
  }
});

test('a whole journal is believed without asking', async (t) => {
  const disk = memoryDisk(new Map([['lease.jsonl', line(4)]]));
  const usedTerm = () => Promise.reject(new Error('asked'));
  const lease = createLease({ disk, clock: createSimClock(), self: 'me', usedTerm });
  await lease.start();
  t.deepEqual(lease.current(), { epoch: 1, term: 5 });
});

test('the journal of another controller is refused', async (t) => {
  const disk = memoryDisk(new Map([['lease.jsonl', line(4, ['somebody else'])]]));
  const lease = createLease({ disk, clock: createSimClock(), self: 'me' });
  await t.throwsAsync(lease.start(), { name: 'LeaseJournalError', message: /another controller, somebody else/ });
});

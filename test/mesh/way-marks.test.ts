// In which order neighbours are tried after some of them led to a bad end.

import test from 'ava';
import { lossNoticedMs, wayMarkMs } from '../../mesh/limits.ts';
import { createWayMarks } from '../../mesh/way-marks.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';

test('who failed comes after the others, who failed last at the end, for that far end and for a while', async (t) => {
  const clock = createSimClock();
  const marks = createWayMarks(clock);
  const ways = ['near', 'far', 'farther'];
  t.deepEqual(marks.order('press', ways), ways);
  marks.mark('press', 'near');
  t.deepEqual(marks.order('press', ways), ['far', 'farther', 'near']);
  t.deepEqual(marks.order('oven', ways), ways);
  await clock.advance(1_000);
  marks.mark('press', 'far');
  t.deepEqual(marks.order('press', ways), ['farther', 'near', 'far']);
  t.deepEqual(marks.failed('press', ways), ['near', 'far']);
  t.deepEqual(marks.failed('oven', ways), []);
  t.deepEqual(marks.order('press', ['far']), ['far'], 'nobody is given up');
  await clock.advance(wayMarkMs - 1_000);
  t.deepEqual(marks.order('press', ways), ['near', 'farther', 'far']);
  await clock.advance(1_000);
  t.deepEqual(marks.order('press', ways), ways);
});

test('what ended in the moment in which a neighbour was lost is not held against it; what it did before is', async (t) => {
  const clock = createSimClock();
  const marks = createWayMarks(clock);
  const ways = ['near', 'far'];
  marks.mark('press', 'near');
  marks.lost('far');
  t.deepEqual(marks.order('press', ways), ['far', 'near']);
  marks.lost('near');
  t.deepEqual(marks.order('press', ways), ways);
  marks.mark('oven', 'near');
  await clock.advance(lossNoticedMs + 1);
  marks.mark('press', 'near');
  marks.lost('near');
  t.deepEqual(marks.order('press', ways), ways);
  t.deepEqual(marks.order('oven', ways), ['far', 'near']);
});

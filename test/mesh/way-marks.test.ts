// In which order neighbours are tried after some of them led to a bad end.

import test from 'ava';
import { wayMarkMs } from '../../mesh/limits.ts';
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
  t.deepEqual(marks.order('press', ['far']), ['far'], 'nobody is given up');
  await clock.advance(wayMarkMs - 1_000);
  t.deepEqual(marks.order('press', ways), ['near', 'farther', 'far']);
  await clock.advance(1_000);
  t.deepEqual(marks.order('press', ways), ways);
});

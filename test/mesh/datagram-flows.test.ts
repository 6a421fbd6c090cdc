// Which flow makes room, and when silence ends one: as tables.

import test from 'ava';
import { createDatagramDrops, type DroppedDatagrams } from '../../mesh/datagram-drops.ts';
import { createDatagramFlows } from '../../mesh/datagram-flows.ts';
import { datagramDropsToldSweeps } from '../../mesh/limits.ts';

function table(limits = { flowsMax: 6, flowsPerOwnerMax: 3, silentSweepsMax: 2 }) {
  const closed: string[] = [];
  const flows = createDatagramFlows(limits);
  const add = (owner: string, name: string) => flows.add(owner, () => closed.push(name));
  return { flows, closed, add };
}

test('beyond what one owner may have, its own flow that was silent for longest makes room', (t) => {
  const { flows, closed, add } = table();
  const first = add('a', 'a1');
  add('a', 'a2');
  add('b', 'b1');
  add('a', 'a3');
  first.used();
  add('a', 'a4');
  t.deepEqual(closed, ['a2']);
  add('a', 'a5');
  t.deepEqual(closed, ['a2', 'a3']);
  t.is(flows.count('a'), 3);
  t.is(flows.count('b'), 1);
});

test('on a full node whoever has most gives one away', (t) => {
  const { flows, closed, add } = table();
  for (const name of ['a1', 'a2', 'a3']) add('a', name);
  for (const name of ['b1', 'b2']) add('b', name);
  add('c', 'c1');
  add('d', 'd1');
  t.deepEqual(closed, ['a1']);
  t.is(flows.size, 6);
});

test('silence ends a flow after so many sweeps, and what was removed is never closed', (t) => {
  const { flows, closed, add } = table();
  const speaking = add('a', 'speaking');
  add('a', 'silent');
  const removed = add('b', 'removed');
  removed.remove();
  removed.remove();
  t.is(flows.size, 2);
  for (let count = 0; count < 2; count += 1) flows.sweep();
  speaking.used();
  removed.used();
  t.deepEqual(closed, []);
  flows.sweep();
  t.deepEqual(closed, ['silent']);
  t.is(flows.size, 1);
  for (let count = 0; count < 3; count += 1) flows.sweep();
  t.deepEqual(closed, ['silent', 'speaking']);
  t.is(flows.size, 0);
});

test('dropped datagrams are told at once, then once a minute with how many it were, and forgotten when there are no more', (t) => {
  const told: DroppedDatagrams[] = [];
  const drops = createDatagramDrops({ onDropped: (one) => told.push(one) });
  const drop = () => drops.count('a', 'b', 'full');
  drop();
  drop();
  drops.count('a', 'c', 'full');
  drops.sweep();
  t.deepEqual(told.splice(0), [
    { from: 'a', to: 'b', reason: 'full', dropped: 2 },
    { from: 'a', to: 'c', reason: 'full', dropped: 1 },
  ]);
  for (let count = 0; count < 5; count += 1) drop();
  for (let sweep = 1; sweep < datagramDropsToldSweeps; sweep += 1) drops.sweep();
  t.deepEqual(told, []);
  drops.sweep();
  t.deepEqual(told.splice(0), [{ from: 'a', to: 'b', reason: 'full', dropped: 5 }]);
  for (let sweep = 0; sweep < 2 * datagramDropsToldSweeps; sweep += 1) drops.sweep();
  t.deepEqual(told, []);
});

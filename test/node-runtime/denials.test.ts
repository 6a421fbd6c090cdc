// What a node tells of the calls that it denied.

import test from 'ava';
import type { DeniedCall } from '../../mesh/denied-calls.ts';
import { createDenials } from '../../node-runtime/denials.ts';
import { observedDenialsMax } from '../../node-runtime/limits.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';

const till = { project: 'default', application: 'shop', microservice: 'till' };
const stock = { project: 'default', application: 'store', microservice: 'stock' };
const denied: DeniedCall = {
  ...{
    kind: 'call-denied',
    caller: till,
    callerPeerId: 'peer2',
    called: stock,
    port: 80,
    reason: 'no policy',
    leftOut: 0,
  },
};

test('a denied call says who, what and why, and how many more there were', (t) => {
  const clock = createSimClock(1_000);
  const { add, lately } = createDenials({ clock, self: 'peer1' });
  t.is(add(denied), 'a call of default.shop.till on peer2 to default.store.stock:80 was denied: no policy');
  t.is(
    add({ ...denied, callerPeerId: 'peer1', leftOut: 3 }),
    'a call of default.shop.till to default.store.stock:80 was denied: no policy (and 3 calls before it)',
  );
  const [second, first] = lately();
  t.like(first, { at: 1_000, caller: 'default.shop.till', from: 'peer2', called: 'default.store.stock:80' });
  t.like(second, { from: 'peer1', reason: 'no policy (and 3 calls before it)' });
  t.not(first?.id, second?.id);
});

test('of a stranger nothing is kept, and of others no more than so many', (t) => {
  const { add, lately } = createDenials({ clock: createSimClock(1_000), self: 'peer1' });
  const stranger = { caller: undefined, callerPeerId: undefined, called: undefined };
  t.is(
    add({ ...stranger, kind: 'handshake-refused', reason: 'no certificate', leftOut: 0 }),
    'a call of a stranger to nothing here was denied: no certificate',
  );
  t.deepEqual(lately(), []);
  for (let port = 1; port <= 40; port += 1) add({ ...denied, port });
  t.is(lately().length, observedDenialsMax);
  t.is(lately()[0]?.called, 'default.store.stock:40');
});

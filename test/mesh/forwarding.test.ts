// How much a router carries, for whom: a neighbour that asks for itself, and one that carries for others.

import test from 'ava';
import { createForwarding } from '../../mesh/forwarding.ts';
import { forwardedStreamsPerPeerMax, forwardedStreamsPerRouterMax } from '../../mesh/limits.ts';
import type { PeerId } from '../../mesh/mesh.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';

function router() {
  const forwarding = createForwarding({
    ...{ clock: createSimClock(), self: 'R2' },
    step: () => () => ({ type: 'forward', nextHops: ['far'], hopsLeft: 8 }),
  });
  const wishOf = (from: PeerId, sender: PeerId) => ({ to: 'far', from, via: from === sender ? [] : [sender] });
  const isCarried = (from: PeerId, sender: PeerId): boolean =>
    'nextHops' in forwarding.decide(wishOf(from, sender), sender);
  const carry = (from: PeerId, sender: PeerId, count: number): (() => void)[] =>
    Array.from({ length: count }, () => forwarding.begin(wishOf(from, sender), sender));
  return { isCarried, carry };
}

test('attack: who fills what it may have through a router leaves that router room for others', (t) => {
  const { isCarried, carry } = router();
  const ended = carry('greedy', 'R1', forwardedStreamsPerPeerMax);
  t.false(isCarried('greedy', 'R1'));
  t.true(isCarried('modest', 'R1'));
  t.true(isCarried('R1', 'R1'), 'what the router asks for itself is its own');
  t.true(isCarried('greedy', 'R3'), 'another router answers for its own');
  ended.pop()?.();
  t.true(isCarried('greedy', 'R1'));
});

test('attack: a router that makes up who asked gets half of the places', (t) => {
  const { isCarried, carry } = router();
  const ended = Array.from({ length: forwardedStreamsPerRouterMax }, (_, index) =>
    carry(`made-up-${index}`, 'R1', 1),
  ).flat();
  t.false(isCarried('another', 'R1'));
  t.true(isCarried('honest', 'R3'));
  t.true(isCarried('honest', 'honest'));
  for (const end of ended) end();
  t.true(isCarried('another', 'R1'));
});

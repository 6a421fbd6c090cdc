// How much a router carries, for whom: a neighbour that asks for itself, and one that carries for others.

import test from 'ava';
import { createForwarding, wishFrom, wishShape } from '../../mesh/forwarding.ts';
import { avoidedMax, forwardedStreamsPerPeerMax, forwardedStreamsPerRouterMax } from '../../mesh/limits.ts';
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

test('a neighbour is told which others led there to a bad end, and routers on the way pass them by', (t) => {
  t.deepEqual(wishFrom('box', 'far', 'R1', []), { to: 'far', from: 'box', via: [] });
  t.deepEqual(wishFrom('box', 'far', 'R1', ['R1']), { to: 'far', from: 'box', via: [] }, 'not that it avoid itself');
  const wish = wishFrom('box', 'far', 'R1', ['evil', 'R1']);
  t.deepEqual(wish, { to: 'far', from: 'box', via: [], avoid: ['evil'] });
  const many = Array.from({ length: 20 }, (_, index) => `router-${index}`);
  t.true(wishShape.safeParse(wishFrom('box', 'far', 'R1', many)).success);
  t.false(wishShape.safeParse({ ...wish, avoid: many.slice(0, avoidedMax + 1) }).success);

  const forwarding = createForwarding({
    ...{ clock: createSimClock(), self: 'R1' },
    step: () => (stream) => ({
      ...{ type: 'forward', hopsLeft: 8 },
      nextHops: stream.avoid?.includes('evil') ? ['far', 'evil'] : ['evil'],
    }),
  });
  t.deepEqual(forwarding.decide(wish, 'box'), { nextHops: ['far', 'evil'] });
  t.deepEqual(forwarding.decide(wishFrom('box', 'far', 'R1', []), 'box'), { nextHops: ['evil'] });
});

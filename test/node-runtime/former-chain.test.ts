// A node whose newest certificate is of a clock that was ahead goes back to the one before.

import test from 'ava';
import { withNewChain, withUsableChain } from '../../node-runtime/former-chain.ts';
import type { Membership } from '../../node-runtime/membership.ts';
import { createFabric, dayMs } from '../pki/fabric-fixture.ts';

test('the oldest chain that is valid is kept beside the newest, and counts again when the newest is of the future', async (t) => {
  const fabric = createFabric();
  const startMs = fabric.clock.now();
  const issue = (): string[] => fabric.addNode('box').chain.map((bytes) => Buffer.from(bytes).toString('base64'));
  const first = issue();
  const names = { fabricId: fabric.id, fabricName: fabric.name, node: 'box', router: 'edge' } as const;
  let membership: Membership = { ...names, labels: {}, chain: first, controllers: [] };
  t.is(withUsableChain(membership, startMs + 40 * dayMs), membership, 'it has no other');

  await fabric.clock.advance(10 * dayMs);
  const second = issue();
  membership = withNewChain(membership, second, fabric.clock.now());
  t.deepEqual(membership.formerChain, first);
  await fabric.clock.advance(10 * dayMs);
  const third = issue();
  membership = withNewChain(membership, third, fabric.clock.now());
  t.deepEqual([membership.chain, membership.formerChain], [third, first]);

  t.is(withUsableChain(membership, fabric.clock.now()), membership, 'the newest is valid');
  t.deepEqual(withUsableChain(membership, startMs + dayMs), { ...names, labels: {}, chain: first, controllers: [] });
  t.is(withUsableChain(membership, startMs - 400 * dayMs), membership, 'neither is valid');

  await fabric.clock.advance(11 * dayMs);
  membership = withNewChain(membership, issue(), fabric.clock.now());
  t.deepEqual(membership.formerChain, third, 'what has expired is of no use');
});

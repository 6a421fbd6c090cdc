// Which instance a call goes to.

import test from 'ava';
import { chooseEndpoint } from '../../mesh/endpoint-choice.ts';
import type { Endpoint } from '../../mesh/service-network.ts';

const wanted = { project: 'default', application: 'cold-chain', microservice: 'monitor', port: 8080 };
const endpointOf = (instance: string, changes: Partial<Endpoint> = {}): Endpoint => ({
  ...wanted,
  instance,
  peerId: 'peer',
  ready: true,
  ...changes,
});
const none = new Set<string>();

test('round-robin is exactly even, in whatever order the table is', (t) => {
  const endpoints = ['c', 'a', 'b'].map((name) => endpointOf(name));
  const counts = new Map<string, number>();
  let after: string | undefined;
  for (let call = 0; call < 300; call += 1) {
    after = chooseEndpoint({ endpoints, wanted, excluded: none, avoided: none, after })?.instance;
    counts.set(after ?? '', (counts.get(after ?? '') ?? 0) + 1);
  }
  t.deepEqual(Object.fromEntries(counts), { a: 100, b: 100, c: 100 });
});

for (const [title, endpoints, options, expected] of [
  ['none is announced', [], {}, undefined],
  ['the only one is not ready', [endpointOf('a', { ready: false })], {}, undefined],
  ['one is not ready', [endpointOf('a', { ready: false }), endpointOf('b')], {}, 'b'],
  ['another port', [endpointOf('a', { port: 9090 })], {}, undefined],
  ['another application', [endpointOf('a', { application: 'other' })], {}, undefined],
  ['another project', [endpointOf('a', { project: 'other' })], {}, undefined],
  ['one was tried', [endpointOf('a'), endpointOf('b')], { excluded: new Set(['a']) }, 'b'],
  ['all were tried', [endpointOf('a')], { excluded: new Set(['a']) }, undefined],
  ['one failed others just now', [endpointOf('a'), endpointOf('b')], { avoided: new Set(['a']) }, 'b'],
  ['all failed others just now', [endpointOf('a'), endpointOf('b')], { avoided: new Set(['a', 'b']), after: 'a' }, 'b'],
  ['the last one is gone', [endpointOf('a'), endpointOf('c')], { after: 'b' }, 'c'],
  ['the last one was the last in order', [endpointOf('a'), endpointOf('b')], { after: 'b' }, 'a'],
] as const) {
  test(`choice when ${title}`, (t) => {
    const choice = chooseEndpoint({ wanted, excluded: none, avoided: none, after: undefined, ...options, endpoints });
    t.is(choice?.instance, expected);
  });
}

// Ranges that the box takes for its own: real routes, in a range that this test alone uses.

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import test from 'ava';
import { LocalRangeError } from '../../mesh/errors.ts';
import { createLocalRanges, listeningAddresses } from '../../mesh/local-ranges.ts';
import { skip } from '../skip.ts';
import { namespacesMissing } from './namespaces.ts';

/** RFC 5737, documentation. */
const range = '203.0.113.0/24';
const routes = (): string =>
  execFileSync('ip', ['-4', 'route', 'show', 'table', 'local', range], { encoding: 'utf8' }).trim();

test('a claimed range is this box’s own until it is released, and while somebody listens in it', async (t) => {
  const missing = namespacesMissing();
  if (missing !== undefined) return skip(t, missing);
  const ranges = createLocalRanges();
  t.teardown(() => ranges.release(range));
  await ranges.claim(range);
  await ranges.claim(range);
  t.regex(routes(), /proto 201/);
  const server = createServer().listen(0, '203.0.113.7');
  await once(server, 'listening');
  await ranges.release(range);
  t.not(routes(), '', 'somebody listens');
  await createLocalRanges().sweep(range);
  t.not(routes(), '', 'somebody still listens');
  server.close();
  await once(server, 'close');
  // What a killed daemon left.
  await createLocalRanges().sweep(range);
  t.is(routes(), '');
  await ranges.claim(range);
  await createLocalRanges().sweep(range);
  t.not(routes(), '', 'another node of the box does not take it for left');
  await ranges.release(range);
  t.is(routes(), '');
});

test('a range that is none is refused with the reason', async (t) => {
  await t.throwsAsync(createLocalRanges().claim('nonsense'), { instanceOf: LocalRangeError });
});

test('listening addresses are read from the kernel’s table', (t) => {
  const table = [
    '  sl  local_address rem_address   st tx_queue',
    '   0: 077100CB:1F90 00000000:0000 0A 00000000',
    '   1: 0100007F:1F91 0100007F:1F92 01 00000000',
  ].join('\n');
  t.deepEqual([...listeningAddresses(table)], ['203.0.113.7']);
});

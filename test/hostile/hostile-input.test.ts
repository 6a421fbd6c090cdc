// Hostile input: seeded frames of every kind that arrives from the network, valid ones changed and made up ones, against an independent
// check of each. A slice with a seed that the commit chooses in `npm test`, a million in `npm run soak`. A failure names its case.

import test from 'ava';
import { isSoak } from '../slice.ts';
import { kinds } from './kinds.ts';
import { chooseSeed, runKind } from './run-kind.ts';

/** Of all kinds together; fewer or more of them may be asked for while something is looked into. */
const casesInAll = Number(process.env['SELVEDGE_CASES'] ?? (isSoak ? 1_000_000 : 6_000));
const shares = kinds.reduce((sum, { share }) => sum + share, 0);

for (const kind of kinds) {
  test.serial(`hostile input is refused and changes nothing: ${kind.name}`, async (t) => {
    t.timeout(isSoak ? 3 * 3_600_000 : 20 * 60_000);
    const { seed, only } = chooseSeed();
    if (only !== undefined && only.kind !== kind.name) {
      t.pass();
      return;
    }
    const end = only === undefined ? Math.ceil((casesInAll * kind.share) / shares) : only.index + 1;
    await runKind(t, kind, { seed, first: only?.index ?? 0, end });
  });
}

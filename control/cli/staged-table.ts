// What is fetched ahead, as a table. Called by `stage` and `describe app`.

import type { StagedView } from '../views.ts';
import type { Host } from './host.ts';
import { coloured } from './render.ts';
import { printable, table } from './table.ts';

export function stagedTable(host: Host, things: readonly StagedView[]): string {
  const rows = things.map(({ microservice, node, thing, state, reason }) => [
    printable(microservice),
    node === undefined ? 'none' : printable(node),
    printable(thing),
    coloured(host, state),
    printable(reason),
  ]);
  return table(host, ['MICROSERVICE', 'NODE', 'IMAGE', 'STATE', 'REASON'], rows);
}

// `selvedge topology`: nodes and links as a table, as JSON, or as a graph for Graphviz.

import type { Command } from 'commander';
import { contextOf, print } from './context.ts';
import type { Host } from './host.ts';
import { subcommand } from './subcommand.ts';
import { topologyDot } from './topology-dot.ts';
import { topologyText } from './topology-text.ts';

export function addTopology(program: Command, host: Host): void {
  subcommand(
    program,
    'topology',
    'Show the nodes, the links between them with cost, state and traffic, and the ways over them. On a node that is no controller: what that node knows.',
    '$ selvedge topology\n$ selvedge topology -o dot | dot -Tsvg > fabric.svg',
  )
    .option('--all', 'show every node and link, however many')
    .action(async (options: { all?: boolean }, command: Command) => {
      const context = contextOf(host, command);
      const topology = await context.client.topology();
      if (context.form === 'dot') host.out(topologyDot(topology));
      else print(context, topology, () => topologyText(host, topology, { all: options.all === true }));
    });
}

// `selvedge apps`: lists the applications.

import type { Command } from 'commander';
import { contextOf, print } from './context.ts';
import type { Host } from './host.ts';
import { applicationsTable } from './render.ts';
import { subcommand } from './subcommand.ts';

export function addApplications(program: Command, host: Host): void {
  subcommand(program, 'apps', 'List the applications.', '$ selvedge apps -o json').action(
    async (_options: unknown, command: Command) => {
      const context = contextOf(host, command);
      const list = await context.client.applications();
      print(context, list, () => {
        if (list.length > 0) return applicationsTable(host, list);
        return 'No application yet. `selvedge apply FILE` makes one.';
      });
    },
  );
}

// `selvedge gateways`: what is published, where, for whom. `selvedge publish` and `apply` make and change gateways.

import type { Command } from 'commander';
import { contextOf, print } from './context.ts';
import { gatewaysTable, gatewayText } from './gateway-text.ts';
import type { Host } from './host.ts';
import { projectOption } from './options.ts';
import { subcommand } from './subcommand.ts';

export function addGateways(program: Command, host: Host): void {
  const group = subcommand(
    program,
    'gateways',
    'What is published to the outside; `selvedge publish` and `apply` make and change gateways.',
    '$ selvedge gateways list',
  );
  subcommand(group, 'list', 'List the gateways.', '$ selvedge gateways list -o json').action(
    async (_options: unknown, command: Command) => {
      const context = contextOf(host, command);
      const list = await context.client.gateways();
      print(context, list, () => gatewaysTable(host, list));
    },
  );
  subcommand(
    group,
    'root',
    "Print the fabric's root certificate: who trusts it trusts what gateways show under `tls.names`.",
    '$ selvedge gateways root > fabric-root.pem',
  ).action(async (_options: unknown, command: Command) => {
    const context = contextOf(host, command);
    const root = await context.client.rootCertificate();
    print(context, root, () => root.pem.trimEnd());
  });
  subcommand(
    group,
    'describe',
    'Show one gateway: routes, grants, and what each of its nodes says.',
    '$ selvedge gateways describe web',
  )
    .argument('<name>', 'its name')
    .addOption(projectOption())
    .action(async (name: string, { project }: { project: string }, command: Command) => {
      const context = contextOf(host, command);
      const view = await context.client.gateway(project, name);
      print(context, view, () => gatewayText(host, view));
    });
}

// `selvedge policies`: which calls between applications are allowed. `selvedge apply` makes and changes policies.

import type { Command } from 'commander';
import type { CallRule } from '../call-policy.ts';
import type { PolicyView } from '../views.ts';
import { contextOf, print } from './context.ts';
import type { Host } from './host.ts';
import { projectOption } from './options.ts';
import { facts } from './render.ts';
import { subcommand } from './subcommand.ts';
import { printable, table } from './table.ts';

function sideText(
  project: string,
  { application, microservice }: { application: string; microservice?: string },
): string {
  return printable([project, application, ...(microservice === undefined ? [] : [microservice])].join('/'));
}

const portsText = ({ to: { ports } }: CallRule): string => (ports === undefined ? 'all' : ports.join(' '));

function listText(host: Host, policies: PolicyView[]): string {
  if (policies.length === 0) {
    return 'No Policy yet: no application may call another one. `selvedge apply FILE` makes one.';
  }
  const rows = policies.flatMap(({ project, name, generation, allow }) =>
    allow.map((rule, index) => [
      ...(index === 0 ? [`${printable(project)}/${printable(name)}`, String(generation)] : ['', '']),
      sideText(rule.from.project, rule.from),
      sideText(project, rule.to),
      portsText(rule),
    ]),
  );
  return table(host, ['POLICY', { title: 'GENERATION', drop: 1 }, 'FROM', 'TO', 'PORTS'], rows);
}

function policyText(host: Host, { project, name, generation, allow, missing }: PolicyView): string {
  const head = facts(host, [
    ['policy', `${printable(project)}/${printable(name)}`],
    ['generation', String(generation)],
    ['not there', missing.map(printable).join(', ')],
  ]);
  const rows = allow.map((rule) => [
    sideText(rule.from.project, rule.from),
    sideText(project, rule.to),
    portsText(rule),
  ]);
  return `${head}\n\n${table(host, ['FROM', 'TO', 'PORTS'], rows)}`;
}

export function addPolicies(program: Command, host: Host): void {
  const group = subcommand(
    program,
    'policies',
    'Which applications may call which others; `selvedge apply` makes and changes policies.',
    '$ selvedge policies list',
  );
  subcommand(group, 'list', 'List the policies.', '$ selvedge policies list -o json').action(
    async (_options: unknown, command: Command) => {
      const context = contextOf(host, command);
      const list = await context.client.policies();
      print(context, list, () => listText(host, list));
    },
  );
  subcommand(
    group,
    'describe',
    'Show one policy, and what it names that is not there.',
    '$ selvedge policies describe till-reads-stock',
  )
    .argument('<name>', 'its name')
    .addOption(projectOption())
    .action(async (name: string, { project }: { project: string }, command: Command) => {
      const context = contextOf(host, command);
      const view = await context.client.policy(project, name);
      print(context, view, () => policyText(host, view));
    });
  subcommand(
    group,
    'delete',
    'Delete a policy: what it alone allowed is denied, and open connections are closed.',
    '$ selvedge policies delete till-reads-stock',
  )
    .argument('<name>', 'its name')
    .addOption(projectOption())
    .action(async (name: string, { project }: { project: string }, command: Command) => {
      const context = contextOf(host, command);
      await context.client.deletePolicy(project, name);
      print(context, { deleted: { project, name } }, () => `Policy ${project}/${name} deleted`);
    });
}

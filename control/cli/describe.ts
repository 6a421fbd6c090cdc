// `selvedge describe`: all about one application or instance.

import type { Command } from 'commander';
import { portText } from '../ports.ts';
import type { ApplicationView, InstanceView } from '../views.ts';
import { contextOf, print } from './context.ts';
import { formatDate } from './durations.ts';
import { UsageError } from './errors.ts';
import { findInstance } from './find-instance.ts';
import type { Host } from './host.ts';
import { nodeText } from './nodes.ts';
import { projectOption } from './options.ts';
import { age, coloured, facts, instancesTable } from './render.ts';
import { stagedTable } from './staged-table.ts';
import { subcommand } from './subcommand.ts';
import { printable, table } from './table.ts';

export function applicationText(host: Host, application: ApplicationView): string {
  const rows = application.microservices.map((microservice) => [
    printable(microservice.name),
    microservice.engine,
    `${microservice.ready}/${microservice.replicas}`,
    microservice.ports.map((port) => `${port.name}:${portText(port)}`).join(' '),
  ]);
  return [
    facts(host, [
      ['application', printable(application.name)],
      ['project', printable(application.project)],
      ['state', coloured(host, application.ready ? 'ready' : 'not ready')],
      ['reason', printable(application.reason)],
      ['generation', String(application.generation)],
      ['applied', formatDate(application.appliedAt)],
    ]),
    table(host, ['MICROSERVICE', 'ENGINE', 'READY', 'PORTS'], rows),
    instancesTable(host, application.instances),
    ...(application.staged === undefined ? [] : [`fetched ahead:\n${stagedTable(host, application.staged)}`]),
  ].join('\n\n');
}

function probeFacts(host: Host, { probes = {} }: InstanceView): [string, string][] {
  return Object.entries(probes).map(([kind, { judgement, reason, since }]) => {
    const why = reason === '' ? '' : `: ${printable(reason)}`;
    return [`${kind} probe`, `${judgement} for ${age(host, since)}${why}`];
  });
}

function callFacts({ failingCalls = [], passedOver = [] }: InstanceView): [string, string][] {
  return [
    ...failingCalls.map(({ called, reason, since }): [string, string] => [
      'calls fail',
      `${printable(called)} since ${formatDate(since)}: ${printable(reason)}`,
    ]),
    ...passedOver.map(({ by, port, reason, failures, until }): [string, string] => [
      'passed over',
      `by ${printable(by)} until ${formatDate(until)}, port ${port}, after ${failures === 1 ? 'a failed call' : `${failures} failures in a row`}: ${printable(reason)}`,
    ]),
  ];
}

function historyTable(host: Host, { history = [] }: InstanceView): string[] {
  if (history.length === 0) return [];
  const rows = history.map(({ at, state, ready, reason }) => [
    formatDate(at),
    state === 'running' ? (ready ? 'ready' : 'not ready') : printable(state),
    printable(reason),
  ]);
  return [table(host, ['SINCE', 'STATE', 'REASON'], rows)];
}

export function instanceText(host: Host, instance: InstanceView): string {
  return [instanceFacts(host, instance), ...historyTable(host, instance)].join('\n\n');
}

function instanceFacts(host: Host, instance: InstanceView): string {
  return facts(host, [
    ['instance', printable(instance.name)],
    ['application', `${printable(instance.project)}/${printable(instance.application)}`],
    ['microservice', printable(instance.microservice)],
    ['node', instance.node === undefined ? 'none' : printable(instance.node)],
    ['engine', printable(instance.engine)],
    ['state', coloured(host, instance.state)],
    ['ready', instance.ready ? 'yes' : 'no'],
    ['reason', printable(instance.reason)],
    [
      'since',
      instance.since === undefined ? undefined : `${formatDate(instance.since)} (${age(host, instance.since)})`,
    ],
    ...probeFacts(host, instance),
    ['pid', instance.pid === undefined ? undefined : String(instance.pid)],
    ['limits', instance.limits === undefined ? undefined : printable(instance.limits)],
    ['restarts', String(instance.restarts)],
    ['failures in a row', instance.failures ? String(instance.failures) : undefined],
    ['next try', instance.nextTryAt === undefined ? undefined : formatDate(instance.nextTryAt)],
    ...callFacts(instance),
    [
      'listens',
      instance.addresses
        ?.map(({ port, host: on, hostPort, protocol }) =>
          printable(`${port} on ${on}:${portText({ port: hostPort, protocol })}`),
        )
        .join(', '),
    ],
  ]);
}

export function addDescribe(program: Command, host: Host): void {
  subcommand(
    program,
    'describe',
    'Show all about one application, instance or node.',
    '$ selvedge describe app cold-chain\n$ selvedge describe instance default.cold-chain.sensor.0\n$ selvedge describe node edge-1',
  )
    .argument('<kind>', 'app, instance or node')
    .argument('<name>', 'its name; of an instance, as much of it as is unique')
    .addOption(projectOption())
    .action(async (kind: string, name: string, options: { project: string }, command: Command) => {
      const context = contextOf(host, command);
      if (kind === 'app' || kind === 'application') {
        const application = await context.client.application(options.project, name);
        return print(context, application, () => applicationText(host, application));
      }
      if (kind === 'instance') {
        const instance = await findInstance(context.client, name);
        return print(context, instance, () => instanceText(host, instance));
      }
      if (kind === 'node') {
        const node = await context.client.node(name);
        return print(context, node, () => nodeText(host, node));
      }
      const [content] = /^(config|secret)s?$/i.exec(kind)?.slice(1) ?? [];
      if (content !== undefined) {
        const shown =
          content.toLowerCase() === 'secret' ? 'keys and sizes (values are never shown)' : 'files and sizes';
        throw new UsageError(`${kind} has a command of its own`, {
          action: `\`selvedge ${content.toLowerCase()}s describe NAME\` shows its ${shown}, and who uses it.`,
        });
      }
      throw new UsageError(`cannot describe a ${JSON.stringify(kind)}`, {
        action: 'Write `selvedge describe app NAME`, `describe instance NAME` or `describe node NAME`.',
      });
    });
}

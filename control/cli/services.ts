// `selvedge services`: what can be called, and who answers.

import type { Command } from 'commander';
import { portText } from '../ports.ts';
import type { EndpointView, ServiceView } from '../services.ts';
import { contextOf, print } from './context.ts';
import { formatTime } from './durations.ts';
import type { Host } from './host.ts';
import { coloured } from './render.ts';
import { subcommand } from './subcommand.ts';
import { printable, table } from './table.ts';
import { shownRows } from './topology-text.ts';

export function balancingText(balancing: ServiceView['balancing']): string {
  if (balancing === undefined) return '';
  if ('instance' in balancing) return `instance ${balancing.instance}`;
  return `${printable(String(balancing.policy))}${balancing.localFirst === true ? ', local first' : ''}`;
}

/** Why nobody, or not everybody, calls it. */
export function endpointRemark({ ready, reason, passedOver = [] }: EndpointView): string {
  const others = passedOver.map(
    ({ by, port, reason: why, until }) =>
      `passed over by ${printable(by)} until ${formatTime(until).slice(0, 8)} (port ${port}): ${printable(why)}`,
  );
  return [...(ready ? [] : [printable(reason)]), ...others].filter((text) => text !== '').join('; ');
}

const isWell = ({ endpoint }: { endpoint: EndpointView | undefined }): boolean =>
  endpoint?.ready === true && endpoint.passedOver === undefined;

export function servicesText(host: Host, services: readonly ServiceView[], { all }: { all: boolean }): string {
  if (services.length === 0) return 'No service yet: a microservice with `ports` is one.';
  const summary = shownRows(services, { all, isWell: ({ ready, failing }) => ready > 0 && failing === undefined });
  const rows = summary.shown.map((one) => [
    printable(one.service),
    `${printable(one.project)}/${printable(one.application)}`,
    one.ports.map((port) => `${printable(port.name)}:${portText(port)}`).join(' '),
    `${one.ready}/${one.endpoints.length}`,
    balancingText(one.balancing),
  ]);
  const columns = [...['SERVICE', 'APPLICATION', 'PORTS', 'READY'], { title: 'BALANCING', drop: 1 }];
  const parts = [[table(host, columns, rows), ...summary.more].join('\n')];
  const endpoints = services.flatMap(({ endpoints: some }) => some.map((endpoint) => ({ endpoint })));
  const chosen = shownRows(endpoints, { all, isWell });
  if (endpoints.length > 0) {
    const lines = chosen.shown.map(({ endpoint }) => [
      printable(endpoint.instance),
      printable(endpoint.node ?? '-'),
      coloured(host, endpoint.state),
      endpoint.ready ? host.style('green', 'yes') : 'no',
      endpointRemark(endpoint),
    ]);
    const titles = [...['ENDPOINT', 'NODE', 'STATE', 'READY'], { title: 'REMARK', drop: 9 }];
    parts.push([table(host, titles, lines), ...chosen.more].join('\n'));
  }
  const failing = services.flatMap(({ service, failing: calls = [] }) =>
    calls.map(({ caller, port, reason }) => [printable(caller), printable(`${service}:${port}`), printable(reason)]),
  );
  const failed = shownRows(failing, { all, isWell: () => true });
  if (failing.length > 0)
    parts.push([table(host, ['CALLS OF', 'FAIL TO', 'REASON'], failed.shown), ...failed.more].join('\n'));
  return parts.join('\n\n');
}

export function addServices(program: Command, host: Host): void {
  subcommand(
    program,
    'services',
    'Show what can be called: ports, balancing, and the instances that answer, with why one does not.',
    '$ selvedge services',
  )
    .option('--all', 'show every service and endpoint, however many')
    .action(async (options: { all?: boolean }, command: Command) => {
      const context = contextOf(host, command);
      const services = await context.client.services();
      print(context, services, () => servicesText(host, services, { all: options.all === true }));
    });
}

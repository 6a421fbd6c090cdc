// `selvedge trace`: the way of a call, and where it stops.

import type { Command } from 'commander';
import type { TraceCaller, TraceEndpoint, TraceView } from '../trace.ts';
import { contextOf, print } from './context.ts';
import { CallStopsError } from './errors.ts';
import type { Host } from './host.ts';
import { balancingText } from './services.ts';
import { subcommand } from './subcommand.ts';
import { indented, printable, table } from './table.ts';
import { shownRows } from './topology-text.ts';
import { costText } from './units.ts';

function wayText(caller: TraceCaller, { node, route }: TraceEndpoint): string {
  if (node !== undefined && node === caller.node) return 'on the same node';
  if (route === undefined) return '';
  const nodes = [caller.node ?? '', ...route.through, node ?? ''].map(printable).join(' > ');
  return route.costMicroseconds === undefined ? nodes : `${nodes} (${costText(route.costMicroseconds)})`;
}

function callerText(host: Host, caller: TraceCaller, all: boolean): string {
  const place = caller.node === undefined ? 'without a node' : `on ${printable(caller.node)}`;
  const name = caller.instance === undefined ? printable(caller.node ?? '') : `${printable(caller.instance)} ${place}`;
  const verdict = caller.arrives ? host.style('green', 'arrives') : host.style('red', 'stops');
  const head = indented(host, `${name}: ${verdict}${caller.reason === '' ? '' : `: ${printable(caller.reason)}`}`, 0);
  if (caller.endpoints.length === 0) return head;
  const { shown, more } = shownRows(caller.endpoints, { all, isWell: ({ called }) => !called });
  const rows = shown.map((endpoint) => [
    printable(endpoint.instance),
    printable(endpoint.node ?? '-'),
    endpoint.called ? host.style('green', 'yes') : 'no',
    wayText(caller, endpoint),
    printable(endpoint.reason),
  ]);
  const columns = [...['ENDPOINT', 'NODE', 'CALLED'], { title: 'WAY', drop: 2 }, { title: 'REASON', drop: 9 }];
  return [head, table(host, columns, rows), ...more].join('\n');
}

export function traceText(host: Host, { service, balancing, callers }: TraceView, { all }: { all: boolean }): string {
  const policy = balancingText(balancing);
  const head = `calls to ${printable(service)}${policy === '' ? '' : ` (${policy})`}`;
  const { shown, more } = shownRows(callers, { all, isWell: ({ arrives }) => arrives, rows: 10 });
  return [head, ...shown.map((caller) => callerText(host, caller, all)), ...more].join('\n\n');
}

export function addTrace(program: Command, host: Host): void {
  subcommand(
    program,
    'trace',
    'Show the way of a call, from what nodes have said: whom it would reach, over which nodes, why nobody else, and where it stops. Exit code 1 when it would not arrive.',
    '$ selvedge trace visitor greeter\n$ selvedge trace default.hello.visitor.0 greeter:8080\n$ selvedge trace edge-1 hello.greeter',
  )
    .argument('<from>', 'an instance, a microservice or a node; of an instance as much of its name as is unique')
    .argument('<service>', 'the called microservice, with its application where several have one, and :port if wanted')
    .option('--all', 'show every caller and endpoint, however many')
    .action(async (from: string, service: string, options: { all?: boolean }, command: Command) => {
      const context = contextOf(host, command);
      const trace = await context.client.trace(from, service);
      print(context, trace, () => traceText(host, trace, { all: options.all === true }));
      if (!trace.arrives) throw new CallStopsError(from, service);
    });
}

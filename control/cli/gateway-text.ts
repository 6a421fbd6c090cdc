// Gateways and grants as text. Pure; used by gateways.ts, grants.ts and publish.ts.

import type { GatewayMatch, GatewayTarget } from '../gateway.ts';
import type { GatewayView, GrantView } from '../views.ts';
import { formatDate } from './durations.ts';
import type { Host } from './host.ts';
import { facts, labelsText } from './render.ts';
import { printable, table } from './table.ts';

export const targetText = ({ application, microservice, port }: GatewayTarget): string =>
  printable(`${application}/${microservice}:${port}`);

const matchText = ({ host = '*', path = '' }: GatewayMatch): string => printable(`${host}${path === '' ? '/' : path}`);

export function whereText({ on, address, port, protocol, tls }: GatewayView): string {
  const nodes = 'nodes' in on ? on.nodes.join(' ') : labelsText(on.labels);
  const scheme = `${protocol}${tls === undefined ? '' : '+tls'}`;
  return printable(`${nodes} ${address === undefined ? '' : `${address} `}${port}/${scheme}`);
}

/** Who it is, in words. */
export function whoText({ cidrs, token, certificate }: GrantView): string {
  const parts = [
    ...(cidrs === undefined ? [] : [`from ${cidrs.join(' ')}`]),
    ...(token === true ? ['with its token'] : []),
    ...(certificate === undefined
      ? []
      : [
          'sha256' in certificate
            ? `certificate ${certificate.sha256.slice(0, 16)}…`
            : `certificate of ${certificate.issuedBy}`,
        ]),
  ];
  return printable(parts.join(', '));
}

export const untilText = ({ until, expired }: Pick<GrantView, 'until' | 'expired'>): string =>
  until === undefined ? 'revoked' : `${formatDate(until)}${expired ? ' (over)' : ''}`;

export function grantsTable(host: Host, grants: readonly GrantView[]): string {
  if (grants.length === 0) return 'No grant: nobody is let in. `selvedge grants create` adds one.';
  const rows = grants.map((grant) => [
    printable(grant.name),
    whoText(grant),
    untilText(grant),
    grant.declared ? 'manifest' : 'added',
  ]);
  return table(host, ['GRANT', 'WHO', 'UNTIL', { title: 'BY', drop: 1 }], rows);
}

/** What of its nodes is not as it should be. */
function remarkOf({ nodes, missing, grants }: GatewayView): string {
  const live = grants.some(({ expired }) => !expired);
  const parts = [
    ...nodes.flatMap(({ node, reason }) => (reason === '' ? [] : [`${node}: ${reason}`])),
    ...missing.map((one) => `there is no ${one}`),
    ...(live ? [] : ['nobody is let in']),
    ...(nodes.length === 0 ? ['no node is it for'] : []),
  ];
  return printable(parts.join('; '));
}

const listening = ({ nodes }: GatewayView): string =>
  `${nodes.filter(({ state }) => state === 'listening').length}/${nodes.length}`;

export function gatewaysTable(host: Host, gateways: readonly GatewayView[]): string {
  if (gateways.length === 0)
    return 'Nothing is published. `selvedge publish SERVICE --on NODE --port PORT` publishes a service.';
  const rows = gateways.map((view) => [
    printable(`${view.project}/${view.name}`),
    whereText(view),
    view.routes.map(({ to }) => targetText(to)).join(' '),
    listening(view),
    String(view.grants.filter(({ expired }) => !expired).length),
    remarkOf(view),
  ]);
  const columns = ['GATEWAY', 'ON', 'SERVICES', 'LISTENING', 'GRANTS', { title: 'REMARK', drop: 9 }];
  return table(host, columns, rows);
}

export function gatewayText(host: Host, view: GatewayView): string {
  const { project, name, generation, tls, missing } = view;
  const head = facts(host, [
    ['gateway', printable(`${project}/${name}`)],
    ['generation', String(generation)],
    ['on', whereText(view)],
    [
      'certificate',
      tls && printable('names' in tls ? `of the fabric, for ${tls.names.join(' ')}` : `Secret ${tls.secret}`),
    ],
    ['not there', missing.map(printable).join(', ')],
  ]);
  const routes = table(
    host,
    ['ROUTE', 'SERVICE'],
    view.routes.map((route) => [view.protocol === 'tcp' ? 'all' : matchText(route), targetText(route.to)]),
  );
  const nodes = view.nodes.map((one) => [
    printable(one.node),
    one.state,
    String(one.connections ?? '-'),
    String(one.refused ?? '-'),
    printable(
      [
        one.reason,
        ...(one.current || one.state === 'unreachable' ? [] : ['has not heard of the last change']),
        ...one.failing.map(({ called, reason }) => `${called} does not answer: ${reason}`),
      ]
        .filter((text) => text !== '')
        .join('; '),
    ),
  ]);
  const places =
    nodes.length === 0
      ? 'No node is it for.'
      : table(host, ['NODE', 'STATE', 'CONNECTIONS', 'TURNED AWAY', { title: 'REMARK', drop: 9 }], nodes);
  return [head, routes, grantsTable(host, view.grants), places].join('\n\n');
}

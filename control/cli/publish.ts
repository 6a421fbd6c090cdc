// `selvedge publish` and `unpublish`: a Gateway without a manifest of its own. What `publish` says is applied as a manifest would be.

import type { Command } from 'commander';
import { InvalidArgumentError, Option } from 'commander';
import { apiVersion } from '../manifest-schema.ts';
import { contextOf, print } from './context.ts';
import { UsageError } from './errors.ts';
import { placesText, settled } from './gateway-settled.ts';
import { forOption, type GrantOptions, readClientCertificate } from './grants.ts';
import type { Host } from './host.ts';
import { collectLabel, listOption, projectOption, wholeNumber } from './options.ts';
import { subcommand } from './subcommand.ts';
import { printable } from './table.ts';

interface Target {
  application: string;
  microservice: string;
  port: number;
}

interface Route {
  host?: string;
  path?: string;
}

interface Options extends GrantOptions {
  project: string;
  name?: string;
  on: string[];
  label?: Record<string, string>;
  address?: string;
  port: number;
  http: Route[];
  tls: string[];
  tlsSecret?: string;
}

/** `shop/web:8080` */
function serviceOf(text: string): Target {
  const [, application, microservice, port] = /^([^/:]+)\/([^/:]+):(\d{1,5})$/.exec(text) ?? [];
  if (application === undefined || microservice === undefined)
    throw new InvalidArgumentError('Write application/microservice:port, such as shop/web:8080.');
  return { application, microservice, port: Number(port) };
}

/** `shop.example/api`, `shop.example`, `/api` or `/` */
function routeOf(text: string, before: Route[]): Route[] {
  const at = text.indexOf('/');
  const [host, path] = at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at)];
  return [...before, { ...(host !== '' && { host }), ...(path !== '' && path !== '/' && { path }) }];
}

export function addPublish(program: Command, host: Host): void {
  subcommand(
    program,
    'publish',
    'Publish a service on nodes, to whom a grant lets in; publishing the name again changes it. Without a grant nobody is let in.',
    '$ selvedge publish shop/db:5432 --on box1 --port 5432 --grant-cidr 10.0.0.0/8 --for 8h\n$ selvedge publish shop/web:8080 --on box1 --port 8443 --http shop.example --tls shop.example --grant-token',
  )
    .argument('<service>', 'application/microservice:port', serviceOf)
    .addOption(projectOption())
    .option('--name <name>', "the gateway's name; without it the microservice's")
    .addOption(listOption('--on <node>', 'publish it on this node'))
    .addOption(
      new Option(
        '--label <key=value>',
        'publish it on every node with this label; may be given several times',
      ).argParser((text: string, before?: Record<string, string>) => collectLabel(text, before ?? {})),
    )
    .option('--address <ip>', 'listen on this address of the nodes alone')
    .requiredOption('--port <port>', 'listen on this port', wholeNumber(1, 65_535))
    .addOption(
      new Option(
        '--http <host/path>',
        'publish HTTP, and of it this host and path (`/` is all); may be given several times',
      )
        .argParser(routeOf)
        .default([], 'TCP'),
    )
    .addOption(listOption('--tls <name>', 'with a certificate of the fabric for this DNS name'))
    .option('--tls-secret <secret>', 'with the certificate in this Secret (tls.crt, tls.key)')
    .addOption(listOption('--grant-cidr <range>', 'let in who comes from there'))
    .option('--grant-token', 'let in who has a token, which is made and printed once (HTTP with TLS alone)')
    .option(
      '--grant-certificate <file>',
      'let in who has a certificate of this authority (PEM), or the one with this SHA-256',
    )
    .addOption(forOption())
    .action(async (to: Target, options: Options, command: Command) => {
      const context = contextOf(host, command);
      const { project, name = to.microservice, on, label, address, port, http, tls, tlsSecret } = options;
      if (on.length > 0 === (label !== undefined)) {
        throw new UsageError('it is not said on which nodes', { action: 'Write --on NODE, or --label key=value.' });
      }
      const { grantCidr, grantToken = false, grantCertificate, for: forMs } = options;
      const clientCertificate = await readClientCertificate(host, grantCertificate);
      const until = forMs === undefined ? {} : { until: new Date(host.clock.now() + forMs).toISOString() };
      const isTls = tls.length > 0 || tlsSecret !== undefined;
      if (grantToken && (http.length === 0 || !isTls)) {
        throw new UsageError('--grant-token is for HTTP with TLS', { action: 'Add --http / and --tls NAME.' });
      }
      const document = {
        apiVersion,
        kind: 'Gateway',
        metadata: { name, project },
        spec: {
          on: label === undefined ? { nodes: on } : { labels: label },
          ...(address !== undefined && { address }),
          port,
          protocol: http.length === 0 ? 'tcp' : 'http',
          ...(isTls && { tls: { ...(tls.length > 0 && { names: tls }), ...(tlsSecret && { secret: tlsSecret }) } }),
          ...(http.length === 0 ? { to } : { routes: http.map((route) => ({ ...route, to })) }),
          grants: [
            ...(grantCidr.length > 0 ? [{ name: 'range', cidrs: grantCidr, ...until }] : []),
            ...(clientCertificate ? [{ name: 'certificate', clientCertificate, ...until }] : []),
          ],
        },
      };
      const { applied } = await context.client.apply([document], ['publish']);
      const granted = grantToken
        ? await context.client.createGrant(project, name, { token: true, ...(forMs !== undefined && { forMs }) })
        : undefined;
      const gateway = await settled(context, project, name);
      const { change } = applied[0] ?? {};
      print(context, { change, gateway, ...(granted && { granted }) }, () => {
        const line = `Gateway ${printable(`${project}/${name}`)} ${change}: ${placesText(gateway)}.`;
        if (granted?.secret === undefined) return line;
        host.error(host.style('dim', `${line} Requests carry this token as: Authorization: Bearer TOKEN`));
        return granted.secret;
      });
    });

  subcommand(
    program,
    'unpublish',
    'Take a gateway away: it listens no longer, and what is open is closed.',
    '$ selvedge unpublish web',
  )
    .argument('<gateway>', 'its name')
    .addOption(projectOption())
    .action(async (name: string, { project }: { project: string }, command: Command) => {
      const context = contextOf(host, command);
      await context.client.deleteGateway(project, name);
      print(context, { deleted: { project, name } }, () => `Gateway ${project}/${name} deleted`);
    });
}

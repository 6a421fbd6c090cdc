// `selvedge grants`: whom a gateway lets in, beside what its manifest says.

import { readFile, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { Option } from 'commander';
import type { GrantRequest } from '../gateways.ts';
import { contextOf, print } from './context.ts';
import { parseDuration } from './durations.ts';
import { UsageError } from './errors.ts';
import { plainReason } from './file-reasons.ts';
import { placesText, settled } from './gateway-settled.ts';
import { grantsTable, untilText, whoText } from './gateway-text.ts';
import type { Host } from './host.ts';
import { listOption, projectOption } from './options.ts';
import { withOutFile } from './out-file.ts';
import { subcommand } from './subcommand.ts';
import { printable } from './table.ts';

export interface GrantOptions {
  grantCidr: string[];
  grantToken?: true;
  grantCertificate?: string;
  for?: number;
}

export const forOption = (): Option =>
  new Option('--for <duration>', 'until when: 8h, 7d; without it until it is revoked').argParser(parseDuration);

/** A SHA-256, or a file with the certificate of an authority. */
export async function readClientCertificate(
  host: Host,
  text: string | undefined,
): Promise<GrantRequest['clientCertificate']> {
  if (text === undefined) return undefined;
  if (/^[0-9a-fA-F:]{64,95}$/.test(text)) return { sha256: text };
  try {
    return { authority: await readFile(resolve(host.workingFolder, text), 'utf8') };
  } catch (error) {
    throw new UsageError(`the certificate cannot be read: ${text}: ${plainReason(error)}`, {
      action: "Give a PEM file with the authority's certificate, or the SHA-256 of a client's certificate.",
    });
  }
}

interface CreateOptions {
  project: string;
  name?: string;
  cidr: string[];
  token?: true;
  certificate?: string;
  for?: number;
  out?: string;
}

export function addGrants(program: Command, host: Host): void {
  const group = subcommand(
    program,
    'grants',
    'Whom gateways let in: by where they come from, a token, or a certificate.',
    '$ selvedge grants list web',
  );
  subcommand(group, 'list', 'List the grants of a gateway.', '$ selvedge grants list web -o json')
    .argument('<gateway>', 'its name')
    .addOption(projectOption())
    .action(async (name: string, { project }: { project: string }, command: Command) => {
      const context = contextOf(host, command);
      const { grants } = await context.client.gateway(project, name);
      print(context, grants, () => grantsTable(host, grants));
    });

  subcommand(
    group,
    'create',
    'Let somebody in who meets all that is said. A token is printed once, and kept nowhere.',
    '$ selvedge grants create web --token --for 8h\n$ selvedge grants create web --name office --cidr 10.0.0.0/8\n$ selvedge grants create web --certificate partner-ca.pem --cidr 198.51.100.0/24',
  )
    .argument('<gateway>', 'its name')
    .addOption(projectOption())
    .option('--name <name>', 'its name; without it one is made')
    .addOption(listOption('--cidr <range>', 'who comes from there, 0.0.0.0/0 and ::/0 from everywhere'))
    .option('--token', 'who has a token, which is made now (HTTP with TLS alone)')
    .option(
      '--certificate <file>',
      'who has a certificate of this authority (PEM), or the one with this SHA-256 (TLS alone)',
    )
    .addOption(forOption())
    .option('--out <file>', 'write the token to this new file, which its owner alone can read, instead of printing it')
    .action(async (gateway: string, options: CreateOptions, command: Command) => {
      const context = contextOf(host, command);
      const { project, name, cidr, token = false, certificate, for: forMs, out } = options;
      if (out !== undefined && !token) throw new UsageError('--out is for --token', { action: 'Leave one away.' });
      const clientCertificate = await readClientCertificate(host, certificate);
      const create = () =>
        context.client.createGrant(project, gateway, {
          ...(name !== undefined && { name }),
          ...(cidr.length > 0 && { cidrs: cidr }),
          token,
          ...(clientCertificate && { clientCertificate }),
          ...(forMs !== undefined && { forMs }),
        });
      if (out !== undefined) {
        const path = resolve(host.workingFolder, out);
        const view = await withOutFile(path, async () => {
          const { secret = '', ...made } = await create();
          await writeFile(path, `${secret}\n`);
          return made;
        });
        return print(context, { ...view, path }, () => `The token is in ${path}.`);
      }
      const made = await create();
      const places = placesText(await settled(context, project, gateway));
      print(context, made, () => {
        const line = `Grant ${made.name} of ${gateway}: ${whoText(made)}, until ${untilText(made)}; ${places}.`;
        if (made.secret === undefined) return line;
        host.error(host.style('dim', `${line} Requests carry the token as: Authorization: Bearer TOKEN`));
        return made.secret;
      });
    });

  subcommand(
    group,
    'revoke',
    'Let somebody in no longer: what is open by that grant alone is closed within a second.',
    '$ selvedge grants revoke web token-1',
  )
    .argument('<gateway>', 'its name')
    .argument('<grant>', "the grant's name")
    .addOption(projectOption())
    .action(async (gateway: string, grant: string, { project }: { project: string }, command: Command) => {
      const context = contextOf(host, command);
      const revoked = await context.client.revokeGrant(project, gateway, grant);
      const view = await settled(context, project, gateway);
      print(context, { revoked, nodes: view.nodes }, () => {
        const again = revoked.declared ? ' Its manifest still has it: applying that again grants it again.' : '';
        const late = view.nodes.every(({ current }) => current) ? '' : ` ${placesText(view)}.`;
        return `Grant ${printable(revoked.name)} of ${printable(gateway)} revoked.${late}${again}`;
      });
    });
}

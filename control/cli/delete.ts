// `selvedge delete`: takes applications away, and with a manifest its policies and gateways.

import type { Command } from 'commander';
import { contextOf, print } from './context.ts';
import { UsageError } from './errors.ts';
import type { Host } from './host.ts';
import { listOption, projectOption } from './options.ts';
import { subcommand } from './subcommand.ts';

const kinds = ['Application', 'Policy', 'Gateway'] as const;

interface Named {
  kind: (typeof kinds)[number];
  project: string;
  name: string;
}

/** What of this manifest files declare. */
async function declared(paths: string[], host: Host): Promise<Named[]> {
  const { loadManifests } = await import('./manifest-files.ts');
  const documents = await loadManifests(paths, host);
  return documents.flatMap(({ value }) => {
    const { kind, metadata } = value as { kind?: unknown; metadata?: { name?: unknown; project?: unknown } };
    const known = kinds.find((one) => one === kind);
    if (known === undefined || typeof metadata?.name !== 'string') return [];
    const project = typeof metadata.project === 'string' ? metadata.project : 'default';
    return [{ kind: known, project, name: metadata.name }];
  });
}

export function addDelete(program: Command, host: Host): void {
  subcommand(
    program,
    'delete',
    'Take an application away: its instances end and are removed. Its Configs stay. With --file: also its policies and gateways.',
    '$ selvedge delete cold-chain\n$ selvedge delete -f examples/cold-chain/app.yaml',
  )
    .argument('[application]', 'its name')
    .addOption(projectOption())
    .addOption(listOption('-f, --file <file>', 'delete the applications, policies and gateways of this manifest'))
    .action(async (name: string | undefined, options: { project: string; file: string[] }, command: Command) => {
      const context = contextOf(host, command);
      const fromFiles = options.file.length === 0 ? [] : await declared(options.file, host);
      const named = [
        ...(name === undefined ? [] : [{ kind: 'Application' as const, project: options.project, name }]),
        ...fromFiles,
      ];
      if (named.length === 0) {
        throw new UsageError('there is no application to delete', {
          action: 'Write `selvedge delete NAME` or `delete -f FILE`.',
        });
      }
      for (const { kind, project, name: one } of named) {
        await {
          Policy: () => context.client.deletePolicy(project, one),
          Gateway: () => context.client.deleteGateway(project, one),
          Application: () => context.client.deleteApplication(project, one),
        }[kind]();
      }
      print(context, { deleted: named }, () =>
        named.map((one) => `${one.kind} ${one.project}/${one.name} deleted`).join('\n'),
      );
    });
}

// `selvedge delete`: takes applications away, and with a manifest its policies.

import type { Command } from 'commander';
import { contextOf, print } from './context.ts';
import { UsageError } from './errors.ts';
import type { Host } from './host.ts';
import { listOption, projectOption } from './options.ts';
import { subcommand } from './subcommand.ts';

interface Named {
  kind: 'Application' | 'Policy';
  project: string;
  name: string;
}

/** The applications and policies that manifest files declare. */
async function declared(paths: string[], host: Host): Promise<Named[]> {
  const { loadManifests } = await import('./manifest-files.ts');
  const documents = await loadManifests(paths, host);
  return documents.flatMap(({ value }) => {
    const { kind, metadata } = value as { kind?: unknown; metadata?: { name?: unknown; project?: unknown } };
    if ((kind !== 'Application' && kind !== 'Policy') || typeof metadata?.name !== 'string') return [];
    const project = typeof metadata.project === 'string' ? metadata.project : 'default';
    return [{ kind, project, name: metadata.name }];
  });
}

export function addDelete(program: Command, host: Host): void {
  subcommand(
    program,
    'delete',
    'Take an application away: its instances end and are removed. Its Configs stay. With --file: also its policies.',
    '$ selvedge delete cold-chain\n$ selvedge delete -f examples/cold-chain/app.yaml',
  )
    .argument('[application]', 'its name')
    .addOption(projectOption())
    .addOption(listOption('-f, --file <file>', 'delete the applications and policies of this manifest'))
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
        await (kind === 'Policy'
          ? context.client.deletePolicy(project, one)
          : context.client.deleteApplication(project, one));
      }
      print(context, { deleted: named }, () =>
        named.map((one) => `${one.kind} ${one.project}/${one.name} deleted`).join('\n'),
      );
    });
}

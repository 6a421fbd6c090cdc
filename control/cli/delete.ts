// `selvedge delete`: takes applications away.

import type { Command } from 'commander';
import { contextOf, print } from './context.ts';
import { UsageError } from './errors.ts';
import type { Host } from './host.ts';
import { listOption, projectOption } from './options.ts';
import { subcommand } from './subcommand.ts';

interface Named {
  project: string;
  name: string;
}

/** The applications that manifest files declare. */
async function declared(paths: string[], host: Host): Promise<Named[]> {
  const { loadManifests } = await import('./manifest-files.ts');
  const documents = await loadManifests(paths, host);
  return documents.flatMap(({ value }) => {
    const { kind, metadata } = value as { kind?: unknown; metadata?: { name?: unknown; project?: unknown } };
    if (kind !== 'Application' || typeof metadata?.name !== 'string') return [];
    return [{ project: typeof metadata.project === 'string' ? metadata.project : 'default', name: metadata.name }];
  });
}

export function addDelete(program: Command, host: Host): void {
  subcommand(
    program,
    'delete',
    'Take an application away: its instances end and are removed. Its Configs stay.',
    '$ selvedge delete cold-chain\n$ selvedge delete -f examples/cold-chain/app.yaml',
  )
    .argument('[application]', 'its name')
    .addOption(projectOption())
    .addOption(listOption('-f, --file <file>', 'delete the applications of this manifest'))
    .action(async (name: string | undefined, options: { project: string; file: string[] }, command: Command) => {
      const context = contextOf(host, command);
      const fromFiles = options.file.length === 0 ? [] : await declared(options.file, host);
      const named = [...(name === undefined ? [] : [{ project: options.project, name }]), ...fromFiles];
      if (named.length === 0) {
        throw new UsageError('there is no application to delete', {
          action: 'Write `selvedge delete NAME` or `delete -f FILE`.',
        });
      }
      for (const one of named) await context.client.deleteApplication(one.project, one.name);
      print(context, { deleted: named }, () =>
        named.map((one) => `Application ${one.project}/${one.name} deleted`).join('\n'),
      );
    });
}

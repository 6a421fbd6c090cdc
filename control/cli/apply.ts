// `selvedge apply`: declares what is to run. Also called by the demo.

import type { Command } from 'commander';
import { issueText } from '../manifest-issues.ts';
import type { ApplyView } from '../views.ts';
import type { Client } from './client.ts';
import { contextOf, print } from './context.ts';
import { RefusedError, UsageError } from './errors.ts';
import type { Host } from './host.ts';
import type { LoadedDocument } from './manifest-files.ts';
import { listOption } from './options.ts';
import { withProgress } from './progress.ts';
import { subcommand } from './subcommand.ts';
import { printable } from './table.ts';

/** Reads the manifests and sends them; the daemon checks them all before it changes anything. Throws ManifestFileError or the client's errors. */
export function applyFiles(paths: string[], { client, host }: { client: Client; host: Host }): Promise<ApplyView> {
  return sendManifests(paths, host, client.apply);
}

/** Reads manifests and sends them somewhere; a refusal says the line and column of each field. */
export async function sendManifests<T>(
  paths: string[],
  host: Host,
  send: (documents: unknown[], source: string[]) => Promise<T>,
): Promise<T> {
  // The YAML parser is loaded when it is needed: every other command starts sooner.
  const { loadManifests } = await import('./manifest-files.ts');
  const documents = await loadManifests(paths, host);
  try {
    return await send(
      documents.map(({ value }) => value),
      documents.map(({ source }) => source),
    );
  } catch (error) {
    throw error instanceof RefusedError ? located(error, documents) : error;
  }
}

/** The same refusal with the line and column of each field: the daemon knows the document, not its text. */
function located(error: RefusedError, documents: readonly LoadedDocument[]): RefusedError {
  const { issues, type, status, action } = error;
  const lines = issues.map((issue) => {
    const source = documents[issue.document]?.placeOf(issue.path);
    return issueText({ ...issue, ...(source !== undefined && { source }) });
  });
  return lines.length === 0 ? error : new RefusedError(lines.join('\n'), { type, status, action, issues });
}

function appliedText(view: ApplyView): string {
  const lines = view.applied.map(
    ({ kind, project, name, generation, change }) =>
      `${kind} ${printable(project)}/${printable(name)} ${change} (generation ${generation})`,
  );
  const application = view.applied.find(({ kind }) => kind === 'Application');
  if (view.durability === 'local') lines.push('Acknowledged by this controller alone: no second one has it yet.');
  if (application !== undefined) lines.push(`Next: selvedge wait ${application.name}`);
  return lines.join('\n');
}

export function addApply(program: Command, host: Host): void {
  subcommand(
    program,
    'apply',
    'Declare what is to run: manifests in YAML or JSON. Nothing changes when any of it is refused.',
    '$ selvedge apply examples/cold-chain/app.yaml\n$ cat app.yaml | selvedge apply -f -',
  )
    .argument('[files...]', 'manifests; - is stdin')
    .addOption(listOption('-f, --file <file>', 'a manifest'))
    .action(async (files: string[], options: { file: string[] }, command: Command) => {
      const paths = [...files, ...options.file];
      if (paths.length === 0)
        throw new UsageError('there is no file to apply', { action: 'Write `selvedge apply FILE`.' });
      const context = contextOf(host, command);
      const view = await withProgress(host, 'applying', () => applyFiles(paths, context));
      print(context, view, () => appliedText(view));
    });
}

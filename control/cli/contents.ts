// `selvedge configs` and `selvedge secrets`: what there is, how large, and who uses it. A Secret's values are read from files or stdin and never
// from the command line, which every user of the box can see and shells remember; none is ever printed.

import { open } from 'node:fs/promises';
import { type Command, InvalidArgumentError } from 'commander';
import type { ContentKind } from '../contents.ts';
import type { ContentView } from '../views.ts';
import { contextOf, print } from './context.ts';
import { InputFileError, UsageError } from './errors.ts';
import { plainReason } from './file-reasons.ts';
import type { Host } from './host.ts';
import { secretFileBytesMax } from './limits.ts';
import { listOption, projectOption } from './options.ts';
import { facts } from './render.ts';
import { subcommand } from './subcommand.ts';
import { printable, table } from './table.ts';

const words = {
  config: { group: 'configs', one: 'Config', key: 'FILE', make: '`selvedge apply FILE` makes one.' },
  secret: {
    group: 'secrets',
    one: 'Secret',
    key: 'KEY',
    make: '`selvedge secrets set NAME --from-file KEY=PATH` makes one.',
  },
} as const;

const bytesOf = ({ keys }: ContentView): number => keys.reduce((sum, { bytes }) => sum + bytes, 0);

function listText(host: Host, kind: ContentKind, list: ContentView[]): string {
  const { one, make } = words[kind];
  if (list.length === 0) return `No ${one} yet. ${make}`;
  const rows = list.map((view) => [
    `${printable(view.project)}/${printable(view.name)}`,
    String(view.generation),
    `${bytesOf(view)} B`,
    view.keys.map(({ key }) => printable(key)).join(' '),
    view.usedBy.map(printable).join(' '),
  ]);
  return table(host, [one.toUpperCase(), 'GENERATION', 'SIZE', `${words[kind].key}S`, 'USED BY'], rows);
}

function contentText(host: Host, kind: ContentKind, view: ContentView): string {
  const { one, key } = words[kind];
  const head = facts(host, [
    [one.toLowerCase(), `${printable(view.project)}/${printable(view.name)}`],
    ['generation', String(view.generation)],
    ['used by', view.usedBy.length === 0 ? 'nobody' : view.usedBy.map(printable).join(' ')],
    ['values', kind === 'secret' ? `never shown; who uses it reads secrets/${printable(view.name)}/KEY` : undefined],
  ]);
  const rows = view.keys.map((item) => [printable(item.key), `${item.bytes} B`]);
  return `${head}\n\n${table(host, [key, 'SIZE'], rows)}`;
}

function addReading(group: Command, host: Host, kind: ContentKind): void {
  const { group: name, one } = words[kind];
  const values = kind === 'secret' ? ' Values are never shown.' : '';
  subcommand(
    group,
    'list',
    `List the ${one}s: names, sizes, who uses them.${values}`,
    `$ selvedge ${name} list -o json`,
  ).action(async (_options: unknown, command: Command) => {
    const context = contextOf(host, command);
    const list = await context.client.contents(kind);
    print(context, list, () => listText(host, kind, list));
  });
  subcommand(group, 'describe', `Show one ${one}.${values}`, `$ selvedge ${name} describe shop`)
    .argument('<name>', 'its name')
    .addOption(projectOption())
    .action(async (which: string, { project }: { project: string }, command: Command) => {
      const context = contextOf(host, command);
      const view = await context.client.content(kind, project, which);
      print(context, view, () => contentText(host, kind, view));
    });
  subcommand(group, 'delete', `Delete a ${one} that nobody uses.`, `$ selvedge ${name} delete shop`)
    .argument('<name>', 'its name')
    .addOption(projectOption())
    .action(async (which: string, { project }: { project: string }, command: Command) => {
      const context = contextOf(host, command);
      await context.client.deleteContent(kind, project, which);
      print(context, { deleted: { project, name: which } }, () => `${one} ${project}/${which} deleted`);
    });
}

interface KeyFile {
  key: string;
  path: string;
}

function collectFile(text: string, before: KeyFile[]): KeyFile[] {
  const at = text.indexOf('=');
  if (at < 1 || at === text.length - 1) throw new InvalidArgumentError('Write KEY=PATH; PATH - is stdin.');
  const [key, path] = [text.slice(0, at), text.slice(at + 1)];
  if (before.some((one) => one.key === key)) throw new InvalidArgumentError(`${key} is there twice.`);
  return [...before, { key, path }];
}

async function readBounded(pieces: AsyncIterable<Uint8Array>, what: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of pieces) {
    bytes += piece.length;
    if (bytes > secretFileBytesMax) {
      const action = `A value of a Secret has at most ${secretFileBytesMax} bytes.`;
      throw new InputFileError(`${what} has more than ${secretFileBytesMax} bytes`, { action });
    }
    chunks.push(piece);
  }
  return Buffer.concat(chunks);
}

async function readValue(path: string, host: Host): Promise<Buffer> {
  if (path === '-') return readBounded(host.input(), 'stdin');
  try {
    await using file = await open(path, 'r');
    return await readBounded(file.createReadStream({ autoClose: false }), path);
  } catch (error) {
    if (error instanceof InputFileError) throw error;
    throw new InputFileError(`${path}: ${plainReason(error)}`, {
      action: 'Name a file that you may read.',
      cause: error,
    });
  }
}

function addSet(group: Command, host: Host): void {
  subcommand(
    group,
    'set',
    'Set keys of a Secret from files or stdin; the other keys stay. Without the Secret it is made.',
    [
      '$ selvedge secrets set db --from-file password=./password.txt --from-file tls.key=./tls.key',
      '$ openssl rand -hex 32 | selvedge secrets set db --from-file token=-',
      '$ selvedge secrets set db --remove token',
    ].join('\n'),
  )
    .argument('<name>', 'its name')
    .addOption(projectOption())
    .addOption(listOption('--from-file <key=file>', 'the value, byte for byte; - is stdin').argParser(collectFile))
    .addOption(listOption('--remove <key>', 'take a key away'))
    .addHelpText(
      'after',
      '\nA value is never an argument: other users of the box see command lines, and shells keep them.\nA final newline belongs to the value: use printf, not echo.',
    )
    .action(
      async (
        name: string,
        options: { project: string; fromFile: KeyFile[]; remove: string[] },
        command: Command,
      ): Promise<void> => {
        const { project, fromFile, remove } = options;
        if (fromFile.length === 0 && remove.length === 0) {
          const action = 'Write --from-file KEY=PATH (- is stdin), or --remove KEY.';
          throw new UsageError('there is nothing to set', { action });
        }
        if (fromFile.filter(({ path }) => path === '-').length > 1) {
          throw new UsageError('stdin is one value', { action: 'Give the others as files.' });
        }
        const context = contextOf(host, command);
        const set: Record<string, string> = {};
        for (const { key, path } of fromFile) set[key] = (await readValue(path, host)).toString('base64');
        const view = await context.client.setSecret(project, name, { set, remove });
        print(
          context,
          view,
          () => `Secret ${printable(project)}/${printable(name)} ${view.change} (generation ${view.generation})`,
        );
      },
    );
}

export function addConfigs(program: Command, host: Host): void {
  const group = subcommand(
    program,
    'configs',
    'Files for microservices; `selvedge apply` makes and changes them.',
    '$ selvedge configs list',
  );
  addReading(group, host, 'config');
}

export function addSecrets(program: Command, host: Host): void {
  const group = subcommand(
    program,
    'secrets',
    'Passwords, keys and the like for microservices.',
    '$ printf %s "$PASSWORD" | selvedge secrets set db --from-file password=-',
  );
  addReading(group, host, 'secret');
  addSet(group, host);
}

// `selvedge support-bundle`: what somebody who helps needs to know of this box, in one file, with the secrets taken out; also while no
// daemon runs. It changes nothing but that file, which only its owner can read.

import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { Command } from 'commander';
import { secretsOfBox } from './box-secrets.ts';
import { bundleParts } from './bundle-parts.ts';
import { type Context, contextOf, print } from './context.ts';
import type { Host } from './host.ts';
import { bundleBytesMax, bundlePartBytesMax } from './limits.ts';
import { withOutFile } from './out-file.ts';
import { withProgress } from './progress.ts';
import { createRedaction } from './redaction.ts';
import { subcommand } from './subcommand.ts';

const run = promisify(execFile);

const readme = `A support bundle of Selvedge. Taken out: private keys, tokens, approval codes, values of environment variables, contents of
Configs and Secrets, and everywhere each of these values that runs on this box, where it has 6 characters or more (lines and words of Configs, and
words of Secrets: 12). Of a Secret that was changed the former value is taken out as long as an instance of this box has it in a variable; after
that no box knows it any more, and where it was printed it stays. What workloads of this box print is in it only with --logs, and may hold secrets that the box does not know to be any: read it before you give it away.
`;

interface Bundled {
  path: string;
  bytes: number;
  /** Names and sizes of what is in it. */
  contents: { name: string; bytes: number }[];
}

const asText = (content: unknown): string =>
  typeof content === 'string' ? content : `${JSON.stringify(content, undefined, 2)}\n`;

/** The end of what is too long: the newest is there. */
function bounded(text: string, bytesMax: number): string {
  const bytes = Buffer.from(text);
  return bytes.length <= bytesMax ? text : `[cut]\n${bytes.subarray(bytes.length - bytesMax).toString('utf8')}`;
}

async function bundle(context: Context, options: { out: string; logs: boolean; version: string }): Promise<Bundled> {
  const { dataFolder } = context;
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-support-'));
  try {
    await chmod(folder, 0o700);
    const redaction = createRedaction(await secretsOfBox(dataFolder));
    const parts = [{ name: 'README.txt', content: readme as unknown }, ...(await bundleParts(context, options))];
    const contents: Bundled['contents'] = [];
    let left = bundleBytesMax;
    for (const { name, content } of parts) {
      const clean = typeof content === 'string' ? content : redaction.value(content);
      const text = bounded(redaction.text(asText(clean)), Math.min(bundlePartBytesMax, left));
      const path = join(folder, 'selvedge-support', name);
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await writeFile(path, text, { mode: 0o600 });
      const bytes = Buffer.byteLength(text);
      left = Math.max(0, left - bytes);
      contents.push({ name, bytes });
    }
    await run('tar', ['-czf', options.out, '-C', folder, 'selvedge-support']);
    const made = await open(options.out, 'r');
    const { size } = await made.stat();
    await made.close();
    return { path: options.out, bytes: size, contents };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export function addSupportBundle(program: Command, host: Host): void {
  subcommand(
    program,
    'support-bundle',
    'Collect what helps to find out what is wrong with this box in one file, without its secrets; also while no daemon runs.',
    '$ selvedge support-bundle\n$ selvedge support-bundle --out press-4.tgz --logs',
  )
    .option('--out <file>', 'the file to make (selvedge-support.tgz)')
    .option(
      '--logs',
      'also what workloads printed last: secrets that the box knows are taken out of it, others are not',
    )
    .action(async (options: { out?: string; logs?: boolean }, command: Command) => {
      const context = contextOf(host, command);
      const out = resolve(host.workingFolder, options.out ?? 'selvedge-support.tgz');
      const version = program.version() ?? '';
      const made = await withProgress(host, 'collecting', () =>
        withOutFile(out, () => bundle(context, { out, logs: options.logs === true, version })),
      );
      print(context, made, () => {
        const names = made.contents.map(({ name }) => name).join(', ');
        return `${made.path} (${Math.ceil(made.bytes / 1024)} kB): ${names}.\nRead it before you give it away: secrets are taken out as its README.txt says.`;
      });
    });
}

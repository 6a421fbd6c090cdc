// Completion in real shells: the script that is printed is loaded, and asked what it offers.

import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { skip } from '../skip.ts';
import { cli, temporaryFolder } from './cli-harness.ts';

interface Ran {
  status: number | string;
  stdout: string;
  stderr: string;
}

function run(file: string, args: string[], cwd?: string): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(file, args, { timeout: 20_000, ...(cwd !== undefined && { cwd }) }, (error, stdout, stderr) =>
      resolve({ status: error === null ? 0 : (error.code ?? error.message), stdout, stderr }),
    );
  });
}

async function script(t: ExecutionContext, shell: string): Promise<string> {
  const { status, out } = await cli(['completion', shell]);
  t.is(status, 0);
  const path = join(await temporaryFolder(t), `selvedge.${shell}`);
  await writeFile(path, `${out}\n`);
  return path;
}

/** What is offered for each line, the cursor at its end. */
const lines: [line: string, has: string[], hasNot: string[]][] = [
  ['selvedge ', ['up', 'status', 'doctor', 'completion', 'nodes', 'token'], ['list', 'json']],
  ['selvedge st', ['status'], ['up', 'doctor']],
  ['selvedge nodes ', ['list', 'describe'], ['status', 'create']],
  ['selvedge -o json nodes l', ['list'], ['describe', 'logs']],
  ['selvedge token ', ['create'], ['list']],
  ['selvedge -o ', ['table', 'json'], ['up']],
  ['selvedge status --o', ['--output'], ['--watch']],
  ['selvedge status --w', ['--watch'], ['--output']],
  ['selvedge up --router ', ['interior', 'edge'], ['up']],
  ['selvedge up --ex', [], ['--exit-with-parent']],
  ['selvedge completion ', ['bash', 'zsh', 'fish'], ['up']],
  ['selvedge apply a', ['app.yaml'], ['apply', 'apps']],
  ['selvedge apply -f a', ['app.yaml'], ['apply']],
];

async function offers(t: ExecutionContext, ask: (line: string, folder: string) => Promise<Ran>): Promise<void> {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'app.yaml'), '');
  for (const [line, has, hasNot] of lines) {
    const { status, stdout, stderr } = await ask(line, folder);
    t.is(stderr, '', line);
    t.is(status, 0, line);
    const words = stdout.split('\n').map((word) => word.split('\t')[0]?.trim() ?? '');
    for (const word of has) t.true(words.includes(word), `${line}: ${word} in ${words.join(' ')}`);
    for (const word of hasNot) t.false(words.includes(word), `${line}: ${word} in ${words.join(' ')}`);
  }
}

test('bash completes commands, options, values and files', async (t) => {
  const path = await script(t, 'bash');
  await offers(t, (line, folder) => {
    const words = line.split(' ').map((word) => `'${word}'`);
    const set = `COMP_WORDS=(${words.join(' ')}); COMP_CWORD=${words.length - 1}; COMP_LINE='${line}'; COMP_POINT=${line.length}`;
    const call = `source ${path} && ${set} && _selvedge && printf '%s\\n' "\${COMPREPLY[@]}"`;
    return run('bash', ['--norc', '-c', call], folder);
  });
  const equals = 'COMP_WORDS=(selvedge --output = j); COMP_CWORD=3; _selvedge; declare -p COMPREPLY';
  t.is(
    (await run('bash', ['--norc', '-c', `source ${path}; ${equals}`])).stdout,
    'declare -a COMPREPLY=([0]="json")\n',
  );
});

test('bash completes at an interactive prompt', async (t) => {
  const path = await script(t, 'bash');
  // Readline itself, on a terminal of script(1): Tab after `selvedge doc` makes it `selvedge doctor`.
  const typed = `source ${path}\\nselvedge() { echo "ran:$*"; }\\nselvedge doc\\t\\nexit\\n`;
  const { status, stdout, stderr } = await run('bash', [
    '-c',
    `command -v script >/dev/null || exit 77; (sleep 1; printf '${typed}'; sleep 1) | script -qec 'bash --norc -i' /dev/null`,
  ]);
  if (status === 77) return skip(t, 'script (bsdutils) is not installed');
  t.regex(stdout, /ran:doctor/, stderr);
});

test('fish completes the same', async (t) => {
  const path = await script(t, 'fish');
  if ((await run('fish', ['--version'])).status !== 0) return skip(t, 'fish is not installed');
  await offers(t, (line, folder) =>
    run('fish', ['--no-config', '-c', `source ${path}; complete -C '${line}'`], folder),
  );
});

test('zsh takes its script, and finds the command that is typed', async (t) => {
  const path = await script(t, 'zsh');
  if ((await run('zsh', ['--version'])).status !== 0) return skip(t, 'zsh is not installed');
  t.deepEqual(await run('zsh', ['-n', path]), { status: 0, stdout: '', stderr: '' });
  // zsh's own completion runs inside its line editor alone: here its functions only say what they were given.
  const stand =
    // biome-ignore lint/suspicious/noTemplateCurlyInString: zsh's, not JavaScript's.
    'compdef() { :; }; _describe() { local name=${@[-1]}; print -l -- "${(@P)name}"; }; _files() { print -l -- *; }; compadd() { shift; print -l -- "$@"; }';
  await offers(t, async (line, folder) => {
    const words = line.split(' ').map((word) => `'${word}'`);
    const call = `${stand}; source ${path}; words=(${words.join(' ')}); CURRENT=${words.length}; _selvedge`;
    const ran = await run('zsh', ['-f', '-c', call], folder);
    const typed = line.split(' ').at(-1) ?? '';
    const names = ran.stdout.split('\n').map((text) => text.split(':')[0] ?? '');
    return { ...ran, stdout: names.filter((name) => name.startsWith(typed)).join('\n') };
  });
});

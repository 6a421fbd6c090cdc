// Commands at a terminal beside a process workload, and what is left of them: nothing. With a real engine and real terminals.

import test from 'ava';
import { NoTerminalError } from '../../node-runtime/errors.ts';
import { findTerminalTools } from '../../node-runtime/process-terminal.ts';
import { launchOf } from '../conformance/engine.ts';
import { skip } from '../skip.ts';
import { assertNothingLeft, assertTerminals, type Exec, sit } from './exec-terminals.ts';
import { createProcessWorld, isInstalled } from './process-world.ts';

async function createBeside() {
  const world = await createProcessWorld();
  const launch = launchOf(['/bin/sh', '-c', 'exec sleep 1000'], { env: { SHELL: '/no/such/shell' } });
  const { instance } = await world.engine.launch(launch);
  const exec: Exec = (command, options) => world.engine.exec(instance, command, options);
  return { world, exec };
}

test('a command has a terminal of its own: size, keys, status', async (t) => {
  if (!(await isInstalled('/usr/bin/script'))) return skip(t, 'script (util-linux) is not installed');
  const { world, exec } = await createBeside();
  t.teardown(world.close);
  await assertTerminals(t, exec, 'sh');

  const quotes = ["it's", '"$HOME"', '', 'two\nlines', '`date`'];
  const echoed = sit(exec, ['sh', '-c', 'printf "<%s>" "$@"; printf "%s" "$SHELL"', 'sh', ...quotes]);
  await echoed.ended;
  t.is(echoed.printed(), `${quotes.map((word) => `<${word.replace('\n', '\r\n')}>`).join('')}/no/such/shell`);
});

test('nothing of a session is left, whoever ends it', async (t) => {
  if (!(await isInstalled('/usr/bin/script'))) return skip(t, 'script (util-linux) is not installed');
  const { world, exec } = await createBeside();
  t.teardown(world.close);
  await assertNothingLeft(t, exec, 'sh');
});

test('a program that is not there says so', async (t) => {
  const { world, exec } = await createBeside();
  t.teardown(world.close);
  for (const name of ['no-such-program', '/no/such/program']) {
    const plain = sit(exec, [name], 'none');
    t.is((await plain.ended).status, 127);
    t.is(plain.warned(), `selvedge: ${name}: not found\n`);
  }
  const { output } = await exec(['no-such-program'], { signal: AbortSignal.timeout(10_000), outputBytesMax: 100 });
  t.is(output, 'selvedge: no-such-program: not found\n');
});

test('a box that can give no terminal says what it lacks', async (t) => {
  const lacking = (lacks: string, instead?: string) =>
    findTerminalTools(async (name) => (name === lacks ? instead : `/usr/bin/${name}`));
  await t.throwsAsync(lacking('script'), { instanceOf: NoTerminalError, message: /script \(util-linux\) is not/ });
  await t.throwsAsync(lacking('stty'), { instanceOf: NoTerminalError, message: /stty and tty/ });
  await t.throwsAsync(lacking('script', '/bin/true'), { instanceOf: NoTerminalError, message: /must be that of util/ });
});

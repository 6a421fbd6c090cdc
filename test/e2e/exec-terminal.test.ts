// `selvedge exec -it` with the real program at a real terminal: on the node itself and from a controller across the mesh, beside a
// program and in a container.

import { execFile, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import type { EventView } from '../../control/views.ts';
import { busyboxImage, dockerMissing, startDockerd } from '../node-runtime/dockerd.ts';
import { gone, isInstalled, pidsWith } from '../node-runtime/process-world.ts';
import { skip } from '../skip.ts';
import { selvedge, selvedgeJson } from './command.ts';
import { program } from './daemon.ts';
import { createFabric, type FabricNode, waitFor } from './fabric.ts';
import { tell } from './story.ts';

const run = promisify(execFile);
const missing = await dockerMissing();

const manifest = (docker: boolean): string => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: talk }
spec:
  microservices:
    - { name: quiet, engine: process, command: [sleep, '1000'], placement: { node: edge-1 } }${
      docker
        ? `
    - { name: boxed, engine: docker, image: ${busyboxImage}, command: [sleep, '1000'], placement: { node: edge-1 } }`
        : ''
    }`;

let terminals = 0;

/** A terminal of 100 columns and 30 rows with `selvedge exec` at it; `after` is what the same terminal is like then. */
function sitDown(node: FabricNode, words: string) {
  const tty = join(node.dataFolder, `terminal-${terminals++}`);
  const exec = `'${process.execPath}' '${program}' --data '${node.dataFolder}' exec ${words}`;
  const line = `stty rows 30 columns 100; tty > '${tty}'; ${exec}; echo "<<$?>>"; stty -a; echo over`;
  const env = { ...process.env, SHELL: '/bin/sh', TERM: 'xterm-256color' };
  const child = spawn('script', ['-qfc', line, '/dev/null'], { env });
  child.stdin.on('error', () => undefined);
  let printed = '';
  child.stdout.on('data', (chunk: Buffer) => {
    printed += chunk.toString();
  });
  const says = (what: RegExp) =>
    waitFor(`${what}`, () => {
      if (!what.test(printed)) throw new Error(JSON.stringify(printed));
      return what.exec(printed);
    });
  return {
    says,
    printed: () => printed,
    type: (text: string) => void child.stdin.write(text),
    hangUp: () => void child.kill('SIGKILL'),
    async resize(columns: number, rows: number) {
      const device = (await readFile(tty, 'utf8')).trim();
      await run('stty', ['-F', device, 'rows', `${rows}`, 'columns', `${columns}`]);
    },
    /** Its exit status, once its terminal is as it was. */
    async status() {
      const [, status] = await says(/<<(\d+)>>[\s\S]*over\r\n/);
      const after = printed.slice(printed.indexOf('<<'));
      if (!/ icanon\b/.test(after) || !/ echo\b/.test(after) || !/\bopost\b/.test(after) || / -opost/.test(after))
        throw new Error(`the terminal is left raw: ${after}`);
      child.stdin.end();
      return Number(status);
    },
  };
}

test('a terminal reaches a command on any node, and is as it was afterwards', async (t) => {
  if (!(await isInstalled('/usr/bin/script'))) return skip(t, 'script (util-linux) is not installed');
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const dockerd = await step('a Docker Engine', () => startDockerd());
  t.teardown(() => dockerd.close());
  const envOf = (node: string): Record<string, string> => (node === 'control' ? {} : { DOCKER_HOST: dockerd.host });
  const fabric = await step('a controller and an edge node', () => createFabric(t, { edges: 1, envOf }));
  const edge = fabric.edges[0] as FabricNode;
  await fabric.apply(manifest(true));
  await fabric.ready('talk');
  await waitFor('the instances to be known on the node', async () =>
    ['quiet', 'boxed'].every((name) => edge.daemon.events.some(({ instance }) => String(instance).includes(name))),
  );

  for (const node of [fabric.control, edge]) {
    for (const instance of ['quiet', 'boxed']) {
      await step(`a shell beside ${instance}, asked on ${node.name}`, async () => {
        const shell = sitDown(node, `-it ${instance} -- sh -i`);
        shell.type('tty; echo "it is $TERM"\r');
        await shell.says(/\/dev\/pts\/\d+\r\n.*it is xterm-256color\r\n/);
        shell.type('until [ "$(stty size)" = "30 100" ]; do sleep 0.1; done; echo si"zed"\r');
        await shell.says(/sized/);
        // The signal is for the program in front, which is not this shell.
        shell.type('sh -c \'trap "stty size" WINCH; echo w"aits"; while :; do sleep 0.1; done\'\r');
        await shell.says(/waits/);
        await shell.resize(132, 43);
        await shell.says(/43 132/);
        await waitFor('the shell to go on after Ctrl-C', () => {
          shell.type('\x03');
          shell.type('echo ba"ck"\r');
          return /back/.test(shell.printed());
        });
        shell.type('exit 7\r');
        t.is(await shell.status(), 7);
      });
    }
  }

  await step('two at once; much output, to the last line', async () => {
    const count = 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo "line $i"; done';
    const two = ['quiet', 'boxed'].map((instance) => sitDown(fabric.control, `-it ${instance} -- sh -c '${count}'`));
    for (const session of two) {
      t.is(await session.status(), 0);
      t.is(session.printed().match(/line \d+\r\n/g)?.length, 20_000);
    }
  });

  await step('who is cut off leaves nothing; a terminal survives SIGTERM', async () => {
    for (const instance of ['quiet', 'boxed']) {
      for (const how of ['hang up', 'SIGTERM'] as const) {
        const name = `${6_000_000 + process.pid}`;
        const session = sitDown(
          fabric.control,
          `-it ${instance} -- sh -c 'trap "" HUP; setsid sleep ${name} & sleep ${name}'`,
        );
        const pids = await waitFor('the command to run', async () => {
          const found = await pidsWith(`sleep\0${name}`);
          return found.length === 2 ? found : undefined;
        });
        if (how === 'hang up') session.hangUp();
        else {
          for (const pid of await pidsWith(`exec\0-it\0${instance}\0`)) process.kill(pid, 'SIGTERM');
          t.is(await session.status(), 130);
        }
        for (const pid of pids) await gone(pid);
      }
    }
  });

  await step('pipes into a container across the mesh, without a terminal', async () => {
    const words = [
      '--data',
      fabric.control.dataFolder,
      'exec',
      'boxed',
      '--',
      'sh',
      '-c',
      'cat; echo oops >&2; exit 9',
    ];
    const child = spawn(process.execPath, [program, ...words]);
    const read: string[] = [];
    child.stdout.on('data', (chunk: Buffer) => void read.push(chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => void read.push(`(${chunk.toString()})`));
    child.stdin.end('typed\n');
    const status = await new Promise((resolve) => child.once('close', resolve));
    t.deepEqual([status, read.join('')], [9, 'typed\n(oops\n)']);
  });

  await step('where there is no terminal, -it says so', async () => {
    const refused = await selvedge(fabric.control.dataFolder, 'exec', '-it', 'quiet', '--', 'true');
    t.is(refused.status, 2);
    t.regex(refused.error, /-it needs a terminal/);
    const alone = await selvedge(
      fabric.control.dataFolder,
      'exec',
      '-t',
      'quiet',
      '--',
      'sh',
      '-c',
      'stty size; exit 3',
    );
    t.deepEqual([alone.status, alone.out], [3, '24 80\r\n']);
  });

  await step('each was told when it began and when it ended, on both sides', async () => {
    const told = async () => {
      const events = await selvedgeJson<EventView[]>(fabric.control.dataFolder, 'events', '--limit', '200');
      return events.filter(({ type }) => type === 'exec').map(({ message }) => message);
    };
    const own = () => edge.daemon.events.filter(({ type }) => type === 'exec').map(({ message }) => message);
    const begun = 'sh, at a terminal, is run beside default.talk.boxed.0 for the operator of control';
    const ended = 'sh, at a terminal, beside default.talk.boxed.0 for the operator of control has ended: ';
    await waitFor('the ends to be recorded', async () => (await told()).includes(`${ended}status 7`));
    for (const messages of [await told(), own()]) {
      t.true(messages.includes(begun));
      t.true(messages.includes(`${ended}status 7`));
      t.notRegex(messages.join(), /stty|sleep|typed/);
    }
    t.true(own().includes(`${ended}the operator has gone`));
  });
});

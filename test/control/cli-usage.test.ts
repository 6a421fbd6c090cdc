import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { Command } from 'commander';
import { dataFolderOf, defaultDataFolder } from '../../control/cli/data-folder.ts';
import { formatDuration, parseDuration } from '../../control/cli/durations.ts';
import { createProgram } from '../../control/cli/program.ts';
import { fitWidths, printable, table } from '../../control/cli/table.ts';
import { upArguments } from '../../control/cli/up-detach.ts';
import { cli, temporaryFolder, testHost } from './cli-harness.ts';

function allCommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(allCommands)];
}

test('every command has help with an example, and asking for it exits with 0', async (t) => {
  const names = (command: Command): string[] =>
    command.parent === null ? [] : [...names(command.parent), command.name()];
  const commands = allCommands(createProgram(testHost())).filter((command) => command.parent !== null);
  t.true(commands.length >= 15);
  for (const command of commands) {
    const { status, out } = await cli([...names(command), '--help']);
    t.is(status, 0, command.name());
    t.regex(out, /Example:\n {2}\$ /, command.name());
    t.regex(out, /--data <folder>/, command.name());
  }
});

test('help says a default in words', async (t) => {
  const names = (command: Command): string[] =>
    command.parent === null ? [] : [...names(command.parent), command.name()];
  for (const command of allCommands(createProgram(testHost()))) {
    const { out } = await cli([...names(command), '--help']);
    t.notRegex(out, /default: *(\[|\{|""|\))/, command.name());
  }
});

test('wrong usage exits with 2 and says what is wrong', async (t) => {
  const wrong: [string[], RegExp][] = [
    [[], /Usage: selvedge/],
    [['statsu'], /unknown command 'statsu'[\s\S]*Did you mean status/],
    [['status', '--wach'], /unknown option '--wach'[\s\S]*Did you mean --watch/],
    [['status', '-o', 'xml'], /Allowed choices are table, json/],
    [['token', 'create', '--uses', '0'], /whole number from 1 to 1000/],
    [['token', 'create', '--ttl', '1 hour'], /500ms, 10s, 5m, 1h, 7d/],
    [['token', 'create', '--ttl', '8d'], /Give 1m to 7d/],
    [['enroll', 'open', '--cidr', '192.0.2.0/24', '--for', '1s'], /Give 10s to 1d/],
    [['token', 'create', '--label', 'north'], /Write key=value/],
    [['token', 'create', '--router', 'middle'], /interior, edge/],
    [['apply'], /there is no file to apply/],
    [['delete'], /there is no application to delete/],
    [['describe', 'house', 'x'], /cannot describe a "house"/],
    [
      ['describe', 'secret', 'db'],
      /`selvedge secrets describe NAME` shows its keys and sizes \(values are never shown\)/,
    ],
    [['describe', 'configs', 'site'], /`selvedge configs describe NAME` shows its files/],
    [['wait', 'x', '--for', 'rain'], /Allowed choices are ready/],
    [['logs', 'x', '--tail', '-1'], /whole number/],
    [['logs', 'x', '--since', 'yesterday'], /how long ago \(10m, 1h30m\) or a time/],
    [['logs', 'x', '--since', '2026-13-01T12:00:00Z'], /how long ago/],
    [['logs', 'x', '--grep', ''], /1 to 256 characters/],
    [['up', '--port', '70000'], /from 0 to 65535/],
    [['up', '--fabric', 'x'], /--fabric names a fabric that is being founded/],
    [['up', '--found', '--join', '192.0.2.1:7433'], /--found makes a new fabric/],
    [['up', '--found', '--trust-lan'], /--trust-lan joins a fabric without token/],
    [['up', '--forget', 'name'], /Allowed choices are allow, allow-image, process-user/],
    [['up', '--forget', 'allow', '--allow', 'devices'], /--forget allow takes --allow back, which is given too/],
    [['up', '--token', 'x', '--trust-lan'], /--trust-lan joins a fabric without token/],
    [['enroll', 'open', '--cidr', '192.0.2.0/24', '--max', '0'], /whole number from 1 to 1000/],
    [['nodes', 'approve'], /missing required argument 'code'/],
    [['up', '--token-file', '/nonexistent/token'], /there is no such file/],
    [['--data', `/tmp/${'x'.repeat(100)}`, 'status'], /longer than 107 bytes/],
  ];
  for (const [args, message] of wrong) {
    const { status, error } = await cli(args);
    t.is(status, 2, args.join(' '));
    t.regex(error, message, args.join(' '));
  }
});

test('install takes every option of up but the one that puts it into the background', (t) => {
  const optionsOf = (name: string): string[] => {
    const command = createProgram(testHost()).commands.find((one) => one.name() === name);
    return (command?.options ?? [])
      .filter(({ hidden }) => !hidden)
      .map(({ flags, description }) => `${flags} ${description}`);
  };
  const up = optionsOf('up').filter((text) => !text.startsWith('--detach '));
  t.true(up.length >= 11);
  t.deepEqual(
    optionsOf('install').filter((text) => !text.startsWith('--user ')),
    up,
  );
});

test("the data folder is the machine's for root and the user's for others", (t) => {
  t.is(defaultDataFolder(testHost({ userId: 0 })), '/var/lib/selvedge');
  t.is(defaultDataFolder(testHost()), '/home/somebody/.local/state/selvedge');
  t.is(defaultDataFolder(testHost({ env: { XDG_STATE_HOME: '/state' } })), '/state/selvedge');
  t.is(defaultDataFolder(testHost({ env: { XDG_STATE_HOME: 'state' } })), '/home/somebody/.local/state/selvedge');
  t.is(dataFolderOf(testHost({ workingFolder: '/srv' }), 'box'), '/srv/box');
});

test('durations are read and written', (t) => {
  t.deepEqual(
    ['500ms', '10s', '5m', '1h', '7d', '1h30m', '0.5s'].map(parseDuration),
    [500, 10_000, 300_000, 3_600_000, 604_800_000, 5_400_000, 500],
  );
  for (const wrong of ['', '5', 's', '-1s', '1y', '10 s', '99999d', '1..5s'])
    t.throws(() => parseDuration(wrong), undefined, wrong);
  t.deepEqual([12.4, 1_400, 45_000, 300_000, 18_000_000, 1_000_000_000].map(formatDuration), [
    '12 ms',
    '1.4 s',
    '45 s',
    '5 min',
    '5 h',
    '12 d',
  ]);
});

test('a table fits the terminal and control characters of others do not reach it', (t) => {
  t.deepEqual(fitWidths([10, 40, 12], 60), [10, 38, 12]);
  t.deepEqual(fitWidths([10, 40, 40], 60), [10, 25, 25]);
  t.deepEqual(fitWidths([8, 8], 5), [8, 8]);
  t.is(printable('\u001b[31mred\u001b[0m\u0007 and\nmore\u009b'), 'red  and more ');
  const lines = table(testHost({ columns: 40 }), ['NAME', 'REASON'], [['sensor', 'word '.repeat(20).trim()]]).split(
    '\n',
  );
  t.true(
    lines.every((line) => line.length <= 40),
    lines.join('\n'),
  );
  t.is(lines.join(' ').match(/word/g)?.length, 20);
});

test('a detached daemon gets every option again, but no token among its arguments', (t) => {
  const options = {
    found: true,
    fabric: 'plant',
    join: ['a:1', 'b:2'],
    token: 'secret',
    label: { site: 'north=1' },
    port: 0,
    detach: true,
    trustLan: true,
    containerRange: '10.64.0.0/16',
    allow: ['devices' as const, 'privileged' as const],
    allowImage: ['registry.example/*'],
    registryAuth: '/etc/selvedge/registries.json',
    processUser: 'app:dialout',
    forget: ['location' as const],
    linkCost: new Map([['press-4', 20]]),
    keepAlive: new Map([
      ['*', 30_000],
      ['press-4', 600],
    ]),
  };
  t.deepEqual(upArguments(options, '/data'), [
    'up',
    '--found',
    '--trust-lan',
    '--fabric=plant',
    '--join=a:1',
    '--join=b:2',
    '--label=site=north=1',
    '--link-cost=press-4=20ms',
    '--keep-alive=30000ms',
    '--keep-alive=press-4=600ms',
    '--port=0',
    '--container-range=10.64.0.0/16',
    '--allow=devices',
    '--allow=privileged',
    '--allow-image=registry.example/*',
    '--registry-auth=/etc/selvedge/registries.json',
    '--process-user=app:dialout',
    '--forget=location',
    '--data=/data',
  ]);
});

test('without a daemon a command says what it tried and what to do', async (t) => {
  const folder = await temporaryFolder(t);
  const { status, error } = await cli(['status', '--data', folder]);
  t.is(status, 1);
  t.true(error.includes(join(folder, 'selvedge.sock')));
  t.regex(error, /there is no such socket/);
  t.regex(error, /selvedge up[\s\S]*--data/);
});

test('a data folder that cannot be written ends `up --detach` with 78 and the reason', async (t) => {
  const folder = await temporaryFolder(t);
  await mkdir(join(folder, 'selvedge.log'));
  const { status, error } = await cli(['up', '--detach', '--data', folder]);
  t.is(status, 78);
  t.regex(error, /cannot write .*selvedge\.log: it is a folder/);
});

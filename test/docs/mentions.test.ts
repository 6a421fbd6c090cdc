// Every `selvedge …` that the documentation, an error's advice or an example's comment mentions is a command that exists, with
// options that exist.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { Command } from 'commander';
import { createProgram } from '../../control/cli/program.ts';
import { testHost } from '../control/cli-harness.ts';
import { checkout, commandsOf, pages, textOf } from './pages.ts';

const program = createProgram(testHost());
const files = [...pages(), 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'examples/cold-chain/README.md'];

/** Why there is no such command; undefined when there is one. */
function whyNot(text: string): string | undefined {
  const words = text.split(/\s+/).slice(1);
  let command: Command = program;
  for (const [index, word] of words.entries()) {
    // What follows is another program's.
    if (word === '--') return undefined;
    if (word.startsWith('--')) {
      const name = word.split('=')[0] ?? '';
      const known = [...command.options, ...program.options].some(({ long }) => long === name);
      if (!known && name !== '--help') return `${command.name()} has no option ${name}`;
    }
    const next = command.commands.find((one) => one.name() === word || one.aliases().includes(word));
    if (next !== undefined && words.slice(0, index).every((one) => !one.startsWith('-'))) command = next;
    else if (command.commands.length > 0 && /^[a-z]+$/.test(word)) return `there is no command ${word}`;
  }
  return undefined;
}

/** What is wrong with the commands that a text mentions in backquotes, and how many there are. */
function check(file: string): { wrong: string[]; count: number } {
  const text = readFileSync(join(checkout, file), 'utf8');
  const wrong: string[] = [];
  let count = 0;
  for (const [, mentioned = ''] of text.matchAll(/`((?:sudo |npx )?selvedge [a-z-][^`\\$]*)\\?`/g)) {
    // `up|down` stands for each of them.
    const choices = /\b\w+(?:\|\w+)+\b/.exec(mentioned)?.[0].split('|') ?? [''];
    for (const choice of choices) {
      const one = mentioned.replace(/^(sudo|npx) /, '').replace(/\b\w+(?:\|\w+)+\b/, choice);
      const why = whyNot(one);
      if (why !== undefined) wrong.push(`${file}: ${mentioned}: ${why}`);
      count++;
    }
  }
  return { wrong, count };
}

test('commands that the documentation mentions exist', (t) => {
  const found = files.map(check);
  t.deepEqual(
    found.flatMap(({ wrong }) => wrong),
    [],
  );
  t.true(found.reduce((sum, { count }) => sum + count, 0) > 100);
});

test('commands that the program mentions exist', (t) => {
  const found = ['control', 'mesh', 'node-runtime', 'pki'].flatMap((folder) =>
    readdirSync(join(checkout, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => check(join(folder, name))),
  );
  t.deepEqual(
    found.flatMap(({ wrong }) => wrong),
    [],
  );
  t.true(found.reduce((sum, { count }) => sum + count, 0) > 100);
});

test('commands that are shown exist', (t) => {
  for (const { page, line, text } of pages().flatMap((one) => commandsOf(one))) {
    const [, command] = /^(?:sudo )?(selvedge [^|;><]*)/.exec(text) ?? [];
    if (command !== undefined) t.is(whyNot(command.replaceAll(/'[^']*'|"[^"]*"/g, 'x')), undefined, `${page}:${line}`);
  }
});

test('links between pages lead somewhere', (t) => {
  const anchors = (page: string): string[] =>
    [...textOf(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replace(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    );
  for (const page of pages()) {
    for (const [, target = ''] of textOf(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue;
      const [path = '', anchor] = target.split('#');
      const place = path === '' ? page : join(page, '..', path);
      t.notThrows(() => readFileSync(join(checkout, place)), `${page}: ${target}`);
      if (anchor !== undefined) t.true(anchors(place).includes(anchor), `${page}: ${target}`);
    }
  }
});

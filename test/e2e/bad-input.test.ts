// Bad manifests through the real command line to a real controller: each is refused with file, line, field, reason and accepted
// form, and nothing changes.

import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { cli, testHost } from '../control/cli-harness.ts';
import { program } from './daemon.ts';
import { createFabric } from './fabric.ts';
import { tell } from './story.ts';

const head = `apiVersion: selvedge/v1
kind: Application
metadata: { name: work }
spec:
  microservices:
    - name: one
      engine: process
      command: [sleep, '1000']
`;

interface Case {
  what: string;
  text: string;
  /** Of stderr; `bad.yaml` is the file's path as it was given. */
  says: RegExp;
}

const bomb = Array.from({ length: 12 }, (_, level) => {
  const of = level === 0 ? '"lol"' : `*l${level - 1}`;
  return `l${level}: &l${level} [${Array.from({ length: 10 }, () => of).join(', ')}]`;
}).join('\n');

const cases: Case[] = [
  {
    what: 'an unknown field, with a guess',
    text: `${head}      replica: 2\n`,
    says: /^error: bad\.yaml:9:7: spec\.microservices\[0\]\.replica: is not a known field \(did you mean "replicas"\?\); accepted: name, engine, .*replicas/,
  },
  {
    what: 'a wrong type',
    text: `${head}      replicas: many\n`,
    says: /^error: bad\.yaml:9:7: spec\.microservices\[0\]\.replicas: is a string, not .*; accepted: a whole number from 0 to 1000/,
  },
  {
    what: 'a duplicate name',
    text: `${head}    - name: one\n      engine: process\n      command: [x]\n`,
    says: /^error: bad\.yaml:9:7: spec\.microservices\[1\]\.name: "one" is there twice \(entries 1 and 2\)/,
  },
  {
    what: 'a missing dependency',
    text: `${head}      dependsOn: [two]\n    - { name: too, engine: process, command: [x] }\n`,
    says: /^error: bad\.yaml:9:19: spec\.microservices\[0\]\.dependsOn\[0\]: there is no microservice "two" in this application \(did you mean "too"\?\); accepted: one of too/,
  },
  {
    what: 'a cycle',
    text: `${head}      dependsOn: [two]\n    - { name: two, engine: process, command: [x], dependsOn: [one] }\n`,
    says: /^error: bad\.yaml:9:7: spec\.microservices\[0\]\.dependsOn: waits for itself: one → two → one; accepted: dependencies without a cycle/,
  },
  {
    what: 'an unknown engine',
    text: head.replace('engine: process', 'engine: proces'),
    says: /^error: bad\.yaml:7:7: spec\.microservices\[0\]\.engine: is "proces", which is not known \(did you mean "process"\?\); accepted: .*'process'/,
  },
  {
    what: 'a node that does not exist',
    text: `${head}      placement: { node: contrl }\n`,
    says: /^error: bad\.yaml:9:20: spec\.microservices\[0\]\.placement\.node: there is no node "contrl" in this fabric \(did you mean "control"\?\); accepted: the name of a node: control, edge-1/,
  },
  {
    what: 'a missing field',
    text: head.replace("      command: [sleep, '1000']\n", ''),
    says: /^error: bad\.yaml:6:7: spec\.microservices\[0\]\.command: is missing; accepted: a list of strings/,
  },
  {
    what: 'a syntax error',
    text: `${head}      env: {A: [1, 2\n`,
    says: /^error: bad\.yaml:(9|10):\d+: .*\nCorrect the YAML there; nothing was sent\./,
  },
  { what: 'aliases that multiply', text: bomb, says: /^error: bad\.yaml:1: .*alias/i },
  { what: 'an alias of nothing', text: `${head}      env: *nobody\n`, says: /^error: bad\.yaml:\d+: .*nobody/ },
  {
    what: 'ten megabytes of nesting',
    text: '['.repeat(10_000_000),
    says: /^error: bad\.yaml: more than 4194304 bytes/,
  },
  {
    what: 'four megabytes of nesting',
    text: '['.repeat(4_000_000),
    says: /^error: bad\.yaml:1:65: it is nested deeper than 64 levels/,
  },
  {
    what: 'an unknown kind',
    text: 'apiVersion: selvedge/v1\nkind: Aplication\n',
    says: /^error: bad\.yaml:2:1: kind: is not a kind that can be applied \(did you mean "Application"\?\); accepted: /,
  },
  { what: 'nothing', text: '# nothing\n', says: /^error: bad\.yaml: there is no document in it/ },
  {
    what: 'a good document beside a bad one',
    text: `${head}---\n${head.replace('work', 'other').replace('name: one', 'name: One')}`,
    says: /^error: bad\.yaml:15:7: spec\.microservices\[0\]\.name: .*accepted: a DNS label/,
  },
];

test('a bad manifest is refused at its line, and changes nothing', async (t) => {
  const step = tell(t);
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-input-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const { control } = await step('a controller and a worker', () => createFabric(t, { edges: 1 }));
  const path = join(folder, 'bad.yaml');
  const state = async (): Promise<string> =>
    JSON.stringify([await control.daemon.client.applications(), await control.daemon.client.events({ limit: 1000 })]);
  const before = await state();

  for (const { what, text, says } of cases) {
    await step(what, async () => {
      await writeFile(path, text);
      const startedAt = performance.now();
      const host = testHost({ workingFolder: folder });
      const { status, out, error } = await cli(['apply', 'bad.yaml', '--data', control.dataFolder], host);
      t.is(status, 1, what);
      t.is(out, '', what);
      t.regex(error, says, what);
      t.regex(error, /\n\S.*\.$/s, 'and what to do');
      t.true(performance.now() - startedAt < 20_000, what);
      t.is(await state(), before, what);
    });
  }

  await step('the program itself says the same', async () => {
    await writeFile(path, cases[0]?.text ?? '');
    const { promise, resolve } = Promise.withResolvers<{ status: number; stderr: string }>();
    execFile(process.execPath, [program, 'apply', path, '--data', control.dataFolder], (error, _stdout, stderr) =>
      resolve({ status: Number(error?.code), stderr }),
    );
    const { status, stderr } = await promise;
    t.is(status, 1);
    t.regex(stderr, /bad\.yaml:9:7: spec\.microservices\[0\]\.replica: is not a known field/);
  });

  await step('and what is good is taken', async () => {
    await writeFile(path, head);
    t.is((await cli(['apply', path, '--data', control.dataFolder])).status, 0);
    t.not(await state(), before);
  });
});

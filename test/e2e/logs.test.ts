// Logs across the mesh with the real program: a controller asks for those of another node, and that node for its own.

import test from 'ava';
import type { LogLine } from '../../node-runtime/engine.ts';
import { selvedge } from './command.ts';
import { createFabric, type FabricNode, waitFor } from './fabric.ts';
import { tell } from './story.ts';

const manifest = (more: string): string => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: talk }
spec:
  microservices:
    - name: quiet
      engine: process
      command: [sleep, '1000']
      placement: { node: edge-1 }${more}`;

const talker = `
    - name: talker
      engine: process
      command: [sh, -c, 'echo first Error; echo second; echo third error >&2; until [ -e go ]; do sleep 0.05; done; echo later error; echo later; exec sleep 1000']
      placement: { node: edge-1 }`;

test('lines are chosen by text and time on their node, asked from a controller and there', async (t) => {
  const step = tell(t);
  const fabric = await step('a controller and an edge node', () => createFabric(t, { edges: 1 }));
  const edge = fabric.edges[0] as FabricNode;
  await fabric.apply(manifest(talker));
  await fabric.ready('talk');
  const name = 'default.talk.talker.0';
  const sorted = (text: string): string[] => text.trim().split('\n').sort();

  for (const { dataFolder } of [fabric.control, edge]) {
    await step(`asked in ${dataFolder.split('/').at(-1)}`, async () => {
      await waitFor('the instance to be known', async () => (await selvedge(dataFolder, 'logs', name)).out !== '');
      const errors = await selvedge(dataFolder, 'logs', name, '--grep', 'error', '--ignore-case', '-o', 'json');
      const lines = sorted(errors.out).map((line) => JSON.parse(line) as LogLine);
      t.deepEqual(lines.map(({ text }) => text).sort(), ['first Error', 'third error']);
      const exact = await selvedge(dataFolder, 'logs', 'talker', '--grep', 'error', '--since', '1h');
      t.deepEqual([exact.status, exact.out, exact.error.trim()], [0, '', 'third error']);
      t.deepEqual((await selvedge(dataFolder, 'logs', 'talker', '--since', '2999-01-01T00:00:00Z')).out, '');
    });
  }

  await step('after it was removed, its last lines are there and said to be so', async () => {
    await fabric.apply(manifest(''));
    for (const { dataFolder } of [fabric.control, edge]) {
      const gone = await waitFor('the instance to be gone', async () => {
        const asked = await selvedge(dataFolder, 'logs', 'talker', '--grep', 'i');
        return asked.error.includes(`${name} is gone since `) ? asked : undefined;
      });
      t.deepEqual([gone.status, gone.out.trim()], [0, 'first Error']);
      t.regex(gone.error, /kept on edge-1:\nthird error/);
    }
    const unknown = await selvedge(fabric.control.dataFolder, 'logs', 'nobody');
    t.is(unknown.status, 1);
    t.regex(unknown.error, /nobody/);
  });
});

const neverStarted = `
apiVersion: selvedge/v1
kind: Application
metadata: { name: idle }
spec:
  microservices:
    - name: base
      engine: process
      command: [sleep, '1000']
      placement: { node: edge-1 }
      probes: { readiness: { exec: { command: [sh, -c, 'exit 1'] }, periodMs: 1000 } }
    - name: waiter
      engine: process
      command: [sh, -c, 'echo started; exec sleep 1000']
      dependsOn: [base]
      placement: { node: edge-1 }
    - name: homeless
      engine: process
      command: [sleep, '1000']
      placement: { labels: { site: nowhere } }`;

test('the log of an instance that never started: there is none yet, what it does, and what to do', async (t) => {
  const step = tell(t);
  const fabric = await step('a controller and an edge node', () => createFabric(t, { edges: 1 }));
  const edge = fabric.edges[0] as FabricNode;
  await fabric.apply(neverStarted);
  for (const { dataFolder } of [fabric.control, edge]) {
    await step(`asked in ${dataFolder.split('/').at(-1)}`, async () => {
      await waitFor('it to wait', async () =>
        /waiting/.test((await selvedge(dataFolder, 'describe', 'instance', 'default.idle.waiter.0')).out),
      );
      for (const follow of [[], ['--follow'], ['-o', 'json']]) {
        const { status, out, error } = await selvedge(dataFolder, 'logs', 'waiter', ...follow);
        t.deepEqual([status, out], [1, '']);
        t.regex(
          error,
          /^error: default\.idle\.waiter\.0 has no log yet: on edge-1 it is waiting \(.*base.*\)\n.*describe instance/,
        );
        t.notRegex(error, /aborted|\bat .*:\d+/);
      }
    });
  }
  const homeless = await selvedge(fabric.control.dataFolder, 'logs', 'homeless');
  t.is(homeless.status, 1);
  t.regex(homeless.error, /homeless\.0 has no log yet: without a node it is .*nowhere/);
});

// `npm run simulate` in processes of its own: one seed gives one trace, and the trace tells the whole story of both nodes.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import { runScenario, type Scenario } from '../../simulations/scenario.ts';
import { controllerCrash } from '../../simulations/scenarios/controller-crash.ts';

const program = fileURLToPath(new URL('../../simulations/simulate.ts', import.meta.url));
const run = promisify(execFile);

interface Line {
  ms: number;
  node: string;
  actor: string;
  event: string;
  state: string;
}

interface Outcome {
  ok: boolean;
  traceHash: string;
  records: number;
}

async function simulate(...options: string[]): Promise<Outcome> {
  const { stdout } = await run(process.execPath, [program, 'two-nodes-join', '--json', ...options]);
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Outcome;
}

test('a seed gives the same trace in every process, another seed another one', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-simulate-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'trace.jsonl');
  const [first, second, other] = await Promise.all([
    simulate('--seed', '7', '--trace', file),
    simulate('--seed', '7'),
    simulate('--seed', '8'),
  ]);
  t.true(first.ok && second.ok && other.ok);
  t.is(first.traceHash, second.traceHash);
  t.not(first.traceHash, other.traceHash);

  const text = await readFile(file, 'utf8');
  t.is(createHash('sha256').update(text).digest('hex'), first.traceHash);
  const lines = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
  t.is(lines.length, first.records);
  const states = (node: string, actor: RegExp) =>
    lines.filter((line) => line.node === node && actor.test(line.actor)).map(({ state }) => state);
  t.deepEqual(states('two', /^enrollment$/), ['searching', 'asking', 'joined']);
  for (const node of ['one', 'two']) {
    t.deepEqual(
      [...new Set(states(node, /^instance\//))],
      ['waiting', 'creating', 'starting', 'running.ready'],
      `the instance of ${node}`,
    );
    t.true(states(node, /^certificate\//).includes('renewing'), `${node} renews a certificate within the day`);
    t.true(states(node, /^replica\//).includes('inStep'), `${node} replicates`);
    t.true(
      lines.some((line) => line.node === node && line.actor === 'plan'),
      `${node} obeys a plan`,
    );
  }
});

test('the trace changes when the content of a document does', async (t) => {
  const scenario =
    (labels: Record<string, string>): Scenario =>
    async ({ box, until }) => {
      const node = await box('one').start({ found: true, labels });
      await until('it has started', () => node.member() !== undefined, 10_000);
      return {};
    };
  const hashes = await Promise.all(
    [{ site: 'a' }, { site: 'b' }, { site: 'a' }].map(async (labels) => {
      const result = await runScenario(scenario(labels), { seed: '1' });
      t.true(result.ok, result.error);
      return result.traceHash;
    }),
  );
  t.not(hashes[0], hashes[1]);
  t.is(hashes[0], hashes[2]);
});

test('a scenario that fails says what did not come true; an unknown one is a usage error', async (t) => {
  const result = await runScenario(
    async ({ until }) => {
      await until('pigs fly', () => false, 100);
      return {};
    },
    { seed: '1' },
  );
  t.false(result.ok);
  t.is(result.error, 'not within 100 ms: pigs fly');
  const error = await t.throwsAsync(run(process.execPath, [program, 'no-such-scenario']));
  t.is((error as { code?: number } | undefined)?.code, 2);
});

test('a controller that crashes in the middle of its work comes back, and nothing of its former life goes on', async (t) => {
  const hashes = new Set<string>();
  for (const seed of ['1', '1', '2', '3']) {
    const { ok, error, results, traceHash } = await runScenario(controllerCrash, { seed });
    t.true(ok, error);
    t.is(results['crashes'], 8);
    t.is(results['timersLeft'], 0, 'no timer of a dead daemon');
    t.true(Number(results['slowestMs']) < 20_000, `${results['slowestMs']} ms`);
    hashes.add(traceHash);
  }
  t.is(hashes.size, 3, 'a seed gives one trace');
});

// The benches as a user runs them, with as few rounds as there can be: the form of the last line, and that nothing is left
// behind, also when one is broken off. What the figures are is no matter of a test: the box is busy with others.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { processesOf } from '../../control/cli/demo-folder.ts';
import { eventually } from '../eventually.ts';
import { namespacesMissing } from '../mesh/namespaces.ts';
import { skip } from '../skip.ts';
import { isSoak, sliceOf } from '../slice.ts';
import { atLeast, atMost, quantile, type Report } from './figures.ts';

const main = fileURLToPath(new URL('main.ts', import.meta.url));

const names: Record<string, [string, string][]> = {
  join: [['join.p50', 'ms']],
  deploy: [
    ['deploy.process.p50', 'ms'],
    ['deploy.process.p99', 'ms'],
  ],
  'cold-start': [['cold-start.p50', 'ms']],
  memory: [['memory.rss', 'MB']],
  footprint: [
    ['footprint.rss', 'MB'],
    ['footprint.processor', '% of a core'],
    ['footprint.shims', 'MB'],
  ],
  tunnel: [
    ['tunnel.throughput.ratio', 'ratio'],
    ['tunnel.latency.added.p50', 'µs'],
    ['tunnel.connections', '1/s'],
    ['tunnel.processor', 's/GiB'],
    ['tunnel.connections.processor', 'ms'],
    ['tunnel.hop.ratio', 'ratio'],
    ['tunnel.hop.plain', 'ratio'],
    ['tunnel.hop.processor', 's/GiB'],
    ['tunnel.long.ratio', 'ratio'],
    ['tunnel.long.first', 'round trips'],
    ['tunnel.idle.caller', 'kB'],
    ['tunnel.idle.called', 'kB'],
  ],
  failover: ['frozen', 'cut', 'killed'].flatMap((how): [string, string][] => [
    [`failover.${how}.p50`, 'ms'],
    [`failover.${how}.p99`, 'ms'],
  ]),
  routing: [
    ['routing.start.time', 'ms'],
    ['routing.start.messages', 'messages'],
    ['routing.start.bytes', 'MB'],
    ['routing.link.time', 'ms'],
    ['routing.link.messages', 'messages'],
    ['routing.link.bytes', 'MB'],
    ['routing.router.time', 'ms'],
    ['routing.router.messages', 'messages'],
    ['routing.compute', 'ms'],
  ],
  announcing: [
    ['announcing.start.time', 'ms'],
    ['announcing.start.edge', 'kB'],
    ['announcing.start.router', 'kB'],
    ['announcing.unready.time', 'ms'],
    ['announcing.unready.bytes', 'kB'],
    ['announcing.moved.time', 'ms'],
  ],
};
/** The design has none for them. */
const withoutBudget =
  /^(cold-start\.p50|(routing|announcing)\.(start\..*|.*\.(messages|bytes)|compute)|tunnel\.(.*\.)?processor)$/;

/** In a temporary folder of its own, so that what it leaves behind can be told from what others do. */
function start(t: ExecutionContext, args: string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const child = spawn(process.execPath, [main, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TMPDIR: folder },
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk) => {
    out += String(chunk);
  });
  child.stderr.on('data', (chunk) => {
    err += String(chunk);
  });
  const nothingLeft = async (): Promise<void> => {
    t.deepEqual(readdirSync(folder), []);
    t.deepEqual(await processesOf(folder), []);
  };
  return {
    child,
    closed: once(child, 'close') as Promise<[number | null]>,
    out: () => out,
    err: () => err,
    nothingLeft,
  };
}

/**
 * A minute and more each. A slice of what two of them simulate is in test/simulations/announcing.test.ts and sim-routers.test.ts; what the third
 * measures is done in test/e2e/failover.test.ts.
 */
const soakAlone = new Set(isSoak ? [] : ['announcing', 'routing', 'failover']);

const measured = sliceOf(
  Object.entries(names).filter(([name]) => !soakAlone.has(name)),
  3,
);

for (const [bench, wanted] of measured) {
  test.serial(`the bench ${bench} ends with its figures as one object`, async (t) => {
    t.timeout(600_000);
    const missing = bench === 'failover' ? namespacesMissing() : undefined;
    if (missing !== undefined) return skip(t, missing);
    const run = start(t, [bench, '--json', '--checkout', '--rounds', '1', '--brief']);
    const [status] = await run.closed;
    t.is(status, 0, run.err());
    const last = run.out().trim().split('\n').at(-1) ?? '';
    const report = JSON.parse(last) as Report;
    t.is(report.bench, bench);
    const optional = 'deploy.docker.added.p50';
    t.deepEqual(
      report.figures.map(({ name, unit }) => [name, unit]).filter(([name]) => name !== optional),
      wanted,
    );
    for (const figure of report.figures) {
      const budget = withoutBudget.test(figure.name) ? [] : ['budget'];
      t.deepEqual(Object.keys(figure), ['name', 'value', 'unit', ...budget, 'against', 'holds']);
      t.true(Number.isFinite(figure.value));
      t.true(typeof figure.against?.name === 'string' && Number.isFinite(figure.against.value));
    }
    await run.nothingLeft();
  });
}

test.serial('a bench that is broken off ends what it started and removes its folders', async (t) => {
  t.timeout(120_000);
  const run = start(t, ['memory', '--checkout']);
  await eventually(() => run.err().includes('it settles'), { deadlineMs: 60_000, what: 'a worker that has joined' });
  run.child.kill('SIGINT');
  const [status] = await run.closed;
  t.is(status, 130, run.err());
  await run.nothingLeft();
});

test('an unknown bench is refused, and help says which there are', async (t) => {
  const wrong = start(t, ['nonsense']);
  t.not((await wrong.closed)[0], 0);
  t.regex(wrong.err(), /join, deploy, cold-start, memory, footprint, tunnel, failover, routing, announcing/);
  const help = start(t, ['--help']);
  t.is((await help.closed)[0], 0);
  for (const bench of Object.keys(names)) t.regex(help.out(), new RegExp(`^ +${bench} `, 'm'));
});

test('quantiles are by nearest rank, and budgets hold at their own value', (t) => {
  const values = Array.from({ length: 100 }, (_, index) => 100 - index);
  t.is(quantile(values, 0.5), 50);
  t.is(quantile(values, 0.99), 99);
  t.is(quantile([7], 0.99), 7);
  t.throws(() => quantile([], 0.5));
  t.true(atMost(60, { name: 'a', value: 60, unit: 'ms' }).holds);
  t.false(atMost(60, { name: 'a', value: 60.5, unit: 'ms' }).holds);
  t.true(atLeast(0.8, { name: 'a', value: 0.8, unit: 'ratio' }).holds);
  t.false(atLeast(0.8, { name: 'a', value: 0.79, unit: 'ratio' }).holds);
});

import { spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { lacking, urlOf } from '../../control/cli/demo-check.ts';
import { makeDemoFolder, processesOf } from '../../control/cli/demo-folder.ts';
import { createSteps } from '../../control/cli/demo-step.ts';
import { InterruptedError } from '../../control/cli/errors.ts';
import { eventually } from '../eventually.ts';
import { instanceView, temporaryFolder, testHost } from './cli-harness.ts';

function steps(interrupted = new AbortController().signal) {
  const lines: string[] = [];
  const host = testHost();
  const progress = { line: (who: string, text: string) => void lines.push(`${who} ${text}`) };
  return { lines, host, steps: createSteps({ host, progress, interrupted }) };
}

test('a step that is done is printed with its time', async (t) => {
  const { steps: run, lines } = steps();
  t.is(await run.run('found', 5_000, async () => 7), 7);
  t.regex(lines.join('\n'), /^demo found: \d+ ms$/);
});

test('a step that fails, is late or is interrupted is named with its reason', async (t) => {
  const failed = steps().steps.run('join', 5_000, async () => await Promise.reject(new Error('no token')));
  t.like(await t.throwsAsync(failed), { step: 'join', reason: 'no token' });

  // Both steps would take a minute or for ever: the step's own deadline is what ends them.
  const late = steps();
  const hanging = late.steps.run('link', 30, async (signal) => await late.host.clock.sleep(60_000, signal));
  t.like(await t.throwsAsync(hanging), { step: 'link', reason: 'not done after 30 ms' });
  const deaf = steps().steps.run('link', 30, async () => await new Promise(() => {}));
  t.like(await t.throwsAsync(deaf), { step: 'link', reason: 'not done after 30 ms' });

  const ending = new AbortController();
  const ended = steps(ending.signal);
  const under = ended.steps.run('apply', 60_000, async (signal) => await ended.host.clock.sleep(60_000, signal));
  ending.abort(new InterruptedError('got SIGTERM'));
  t.like(await t.throwsAsync(under), { step: 'apply', reason: 'interrupted: got SIGTERM' });
});

test("only readings of the sensor's own process on its own node count", (t) => {
  const sensor = instanceView();
  const answer = { readings: 3, stale: false, problems: [], sensor: { node: 'edge-1', pid: 4711 } };
  t.is(lacking(answer, sensor), undefined);
  t.is(lacking({ ...answer, sensor: { node: null, pid: 4711 } }, sensor), undefined);
  t.regex(lacking({ ...answer, sensor: { node: 'edge-1', pid: 1 } }, sensor) ?? '', /come from process 1/);
  t.regex(lacking({ ...answer, sensor: { node: 'edge-2', pid: 4711 } }, sensor) ?? '', /come from edge-2/);
  t.regex(lacking({ ...answer, sensor: null }, sensor) ?? '', /come from process undefined/);
  t.regex(lacking({ ...answer, readings: 0 }, sensor) ?? '', /no readings/);
  t.regex(lacking({ ...answer, stale: true, problems: ['monitor: timeout'] }, sensor) ?? '', /stale: monitor: timeout/);
});

test("the dashboard's URL is that of its port http", (t) => {
  const at = (host: string) => instanceView({ addresses: [{ port: 'http', host, hostPort: 8082 }] });
  t.is(urlOf(at('127.0.0.1')), 'http://127.0.0.1:8082');
  t.is(urlOf(at('::1')), 'http://[::1]:8082');
  t.is(urlOf(instanceView()), undefined);
});

test('the processes of a demo are those that run in its folder or name it, and no other', async (t) => {
  const folder = await makeDemoFolder(await temporaryFolder(t));
  t.regex(folder.fabricName, /^demo-[a-z0-9]{6}$/);
  const inside = join(folder.path, 'control');
  await mkdir(inside);
  const idle = ['-e', 'setInterval(() => {}, 1000)'];
  const children = [
    spawn(process.execPath, idle, { cwd: inside, stdio: 'ignore' }),
    spawn(process.execPath, [...idle, inside], { stdio: 'ignore' }),
    spawn(process.execPath, [...idle, `${folder.path}x`], { stdio: 'ignore' }),
  ];
  t.teardown(() => {
    for (const child of children) child.kill('SIGKILL');
  });
  const expected = children.slice(0, 2).map(({ pid }) => pid);
  const found = await eventually(async () => {
    const pids = await processesOf(folder.path);
    return pids.length >= 2 ? pids : undefined;
  });
  const ascending = (one: number, other: number) => one - other;
  t.deepEqual([...found].sort(ascending), [...(expected as number[])].sort(ascending));
});

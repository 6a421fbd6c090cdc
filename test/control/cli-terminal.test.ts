// What a person sees on a terminal: one screen, no line longer than it, and words while something takes long.

import test from 'ava';
import { withProgress } from '../../control/cli/progress.ts';
import { statusText } from '../../control/cli/status-text.ts';
import { indented, shortened, table } from '../../control/cli/table.ts';
import { applicationView, instanceView, nodeView, statusView, testHost } from './cli-harness.ts';

const screen = (columns: number, rows: number) => ({ ...testHost({ columns }), rows });

const many = statusView({
  ok: false,
  problems: Array.from(
    { length: 30 },
    (_, index) => `node box-${index} is unreachable since the morning of a long day in the north hall`,
  ),
  nodes: Array.from({ length: 40 }, (_, index) =>
    nodeView({
      name: `a-box-with-a-long-name-${index}`,
      state: index === 33 ? 'unreachable' : 'connected',
      instances: Array.from({ length: 5 }, (_each, number) =>
        instanceView({
          name: `default.cold-chain.a-service-with-a-name-${index}.${number}`,
          ready: index !== 33,
          ...(index === 33 && {
            state: 'backingOff' as const,
            reason: 'it exited with status 3, as it has done all day long',
          }),
        }),
      ),
    }),
  ),
  applications: Array.from({ length: 12 }, (_, index) => applicationView({ name: `app-${index}`, instances: [] })),
});

test('a status is one screen, on small terminals and on large ones', (t) => {
  for (const [columns, rows] of [
    [80, 24],
    [80, 50],
    [60, 24],
    [120, 40],
  ] as const) {
    const lines = statusText(screen(columns, rows), many).split('\n');
    t.true(lines.length < rows, `${columns}x${rows}: ${lines.length} lines\n${lines.join('\n')}`);
    for (const line of lines) t.true(line.length <= columns, `${columns}x${rows}: ${line}`);
    t.regex(lines[0] ?? '', /^fabric plant.*: not all is well$/);
    if (columns >= 80) t.is(lines[1], '40 nodes, 39 connected · 12 applications ready · 200 instances, 195 ready');
    t.true(
      lines.some((line) => /33 +unr/.test(line)),
      'what is not well is shown first',
    );
    t.true(lines.some((line) => /back/.test(line)));
    t.true(lines.some((line) => /^and \d+ more.*\(--all shows them\)$/.test(line)));
  }
});

test('all of it is there on request, and where there is no screen', (t) => {
  const shown = (text: string): number => text.match(/a-service-with-a-name/g)?.length ?? 0;
  t.is(shown(statusText(testHost(), many)), 200);
  t.is(statusText(screen(200, 24), many, { all: true }).match(/a-service-with/g)?.length, 200);
});

test('columns that say little are left out where there is no room, long names keep both ends', (t) => {
  const columns = ['NAME', { title: 'PID', drop: 1 }, { title: 'EMPTY', drop: 2 }, 'REASON'];
  const rows = [['a-name-of-thirty-characters-00', '4711', '', 'because of something that takes a while to say']];
  t.regex(table(screen(100, 24), columns, rows), /NAME +PID +REASON/);
  t.notRegex(table(screen(100, 24), columns, rows), /EMPTY/);
  t.notRegex(table(screen(50, 24), columns, rows), /PID/);
  t.is(
    shortened('default.cold-chain.sensor.0', 15),
    'default….sensor.0'.length <= 15 ? 'default….sensor.0' : 'default…ensor.0',
  );
  t.is(shortened('short', 15), 'short');
});

test('text is indented and broken between words', (t) => {
  t.is(indented(screen(20, 24), 'one two three four', 4), '    one two three\n    four');
  t.is(indented(testHost(), 'one two three four', 2), '  one two three four');
});

test('what takes long says so on a terminal, and takes its words back', async (t) => {
  const written: string[] = [];
  const host = { ...screen(80, 24), progress: (text: string) => void written.push(text) };
  await withProgress(host, 'thinking', async () => 'quick');
  t.deepEqual(written, []);
  let ended = false;
  await withProgress(
    host,
    () => 'thinking hard',
    async () => {
      // Ends with what is waited for: the third line of progress.
      while (written.length < 3) await host.clock.sleep(10);
      ended = true;
    },
  );
  t.true(ended);
  t.regex(written[0] ?? '', /thinking hard \(0 s\)$/);
  t.is(written.at(-1), '\r\u001b[K');
  const failing = withProgress(host, 'x', () => Promise.reject(new Error('no')));
  await t.throwsAsync(failing, { message: 'no' });
});

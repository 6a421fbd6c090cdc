import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';

const example = new URL('../../examples/cold-chain/', import.meta.url);
const { checkThresholds, judge, newRoom } = await import(new URL('alarms.js', example).href);

test('the script makes the very readings that ship with the example', async (t) => {
  const script = fileURLToPath(new URL('make-readings.js', example));
  const { stdout } = await promisify(execFile)(process.execPath, [script], { maxBuffer: 2_000_000 });
  t.is(stdout, await readFile(new URL('readings.csv', example), 'utf8'));
});

test('a replay raises the alarms of the story, and no others', async (t) => {
  const thresholds = checkThresholds(JSON.parse(await readFile(new URL('thresholds.json', example), 'utf8')));
  const rooms = new Map<string, object>();
  const raised = new Set<string>();
  const lines = (await readFile(new URL('readings.csv', example), 'utf8')).trim().split('\n').slice(1);
  for (const line of lines) {
    const [time, room = '', temperature, door, compressor, current] = line.split(',');
    const state = rooms.get(room) ?? newRoom(room);
    rooms.set(room, state);
    const reading = { time, room, temperature: Number(temperature), door, compressor, current: Number(current) };
    for (const { kind } of judge(state, reading, thresholds)) raised.add(`${room} ${kind}`);
  }
  t.deepEqual([...raised].sort(), ['fish door-open', 'meat compressor-failing', 'meat too-warm']);
});

test('thresholds that are incomplete are refused by the name of the field', (t) => {
  t.throws(() => checkThresholds({ tooWarm: { forSeconds: 'x' } }), { message: /tooWarm\.forSeconds/ });
  t.throws(() => checkThresholds(null), { message: /tooWarm\.forSeconds/ });
});

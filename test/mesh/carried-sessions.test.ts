// What a router carries: bytes both ways, and no place for an end that is silent, whatever the other one does.

import { duplexPair } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { createCarriedSessions } from '../../mesh/carried-sessions.ts';
import { carriedSilentSweepsMax } from '../../mesh/limits.ts';
import { eventually } from '../eventually.ts';

function world(t: ExecutionContext) {
  const sessions = createCarriedSessions();
  const [caller, one] = duplexPair();
  const [other, called] = duplexPair();
  for (const end of [caller, one, other, called]) {
    end.on('error', () => undefined);
    t.teardown(() => end.destroy());
  }
  const heard: string[] = [];
  caller.on('data', (chunk: Buffer) => heard.push(`${chunk}`));
  called.on('data', (chunk: Buffer) => heard.push(`${chunk}`));
  let closed = 0;
  sessions.add(one, other, () => {
    closed += 1;
  });
  return { sessions, caller, called, one, other, heard, closed: () => closed };
}

const sweeps = (count: number, sweep: () => void): void => {
  for (let each = 0; each < count; each += 1) sweep();
};

test('a session goes on for as long as both ends say something', async (t) => {
  const { sessions, caller, called, one, heard, closed } = world(t);
  for (const round of ['1', '2', '3']) {
    caller.write(`asked ${round}`);
    called.write(`answered ${round}`);
    await eventually(() => heard.length === 2 * Number(round));
    sweeps(carriedSilentSweepsMax, sessions.sweep);
    t.false(one.destroyed);
  }
  t.is(closed(), 0);
  sessions.sweep();
  await eventually(() => closed() === 1);
});

test('attack: an end that is left open when the other one has ended holds no place', async (t) => {
  const { sessions, caller, called, other, heard, closed } = world(t);
  caller.end('the last words');
  await eventually(() => heard.length === 1);
  sweeps(carriedSilentSweepsMax, sessions.sweep);
  called.write('still here');
  await eventually(() => heard.length === 2);
  t.false(other.destroyed);
  sessions.sweep();
  t.true(other.destroyed);
  await eventually(() => closed() === 1);
});

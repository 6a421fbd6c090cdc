// Sessions of commands beside workloads: what is said on the channel, their bounds, and who is answered. Over a simulated engine.

import test from 'ava';
import { decodeExec, type ExecFrame, encodeExec } from '../../control/exec-frames.ts';
import type { Engines } from '../../node-runtime/engines.ts';
import { createExecSessions, execText, serveExec } from '../../node-runtime/exec-sessions.ts';
import { execIdleMs, execInputBytesMax, execSessionsMax } from '../../node-runtime/limits.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { eventually } from '../eventually.ts';
import { createFramePair } from '../frame-pair.ts';

/** A command that reads nothing until it is ended, and whose end is counted. */
function createWorld() {
  const clock = createSimClock();
  const told: string[] = [];
  const problems: string[] = [];
  const running = { count: 0 };
  const engines: Pick<Engines, 'exec'> = {
    exec: (_instance, _command, { signal }) => {
      running.count++;
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          running.count--;
          reject(signal.reason);
        });
      });
    },
  };
  const run = createExecSessions({
    clock,
    engines,
    told: (event) => void told.push(execText(event)),
    problem: (_by, message) => void problems.push(message),
  });
  const serve = serveExec({ run, isController: (peerId) => peerId === 'controller' });
  function begin() {
    const { near, far } = createFramePair('/selvedge/exec/1');
    const served = serve(far, 'controller');
    const asked = near.send(encodeExec({ message: { begin: { instance: 'a.b.c.0', command: ['sh', 'secret'] } } }));
    const last = async (): Promise<ExecFrame | undefined> => {
      const frame = await near.receive();
      return frame && decodeExec(frame);
    };
    return { near, served, asked, last };
  }
  return { clock, told, problems, running, serve, begin };
}

const problemIn = (frame: ExecFrame | undefined): string =>
  frame !== undefined && 'message' in frame && 'problem' in frame.message ? frame.message.problem.type : '';

test('only a controller is answered, and the arguments are not told', async (t) => {
  const { serve, told, begin, running } = createWorld();
  const { far } = createFramePair('/selvedge/exec/1');
  await t.throwsAsync(serve(far, 'worker'), { message: /no controller/ });
  const { near, served } = begin();
  await eventually(() => running.count === 1);
  t.deepEqual(told, ['sh is run beside a.b.c.0 for the operator of controller']);
  await near.close();
  await served;
  t.is(running.count, 0, 'the command goes with who asked for it');
  t.is(told[1], 'sh beside a.b.c.0 for the operator of controller has ended: the operator has gone');
});

test('sessions are bounded in number, in bytes and in silence', async (t) => {
  const { clock, begin, running, problems } = createWorld();
  const open = Array.from({ length: execSessionsMax }, () => begin());
  await eventually(() => running.count === execSessionsMax);
  t.is(problemIn(await begin().last()), 'urn:selvedge:error:exec-busy');

  const greedy = open[0];
  await greedy?.near.send(encodeExec({ stream: 'stdin', bytes: new Uint8Array(execInputBytesMax + 1) }));
  t.is(problemIn(await greedy?.last()), 'urn:selvedge:error:internal');
  t.regex(problems.join(), /typed more than/);
  t.is(running.count, execSessionsMax - 1);

  await clock.advance(execIdleMs);
  for (const { last } of open.slice(1)) t.is(problemIn(await last()), 'urn:selvedge:error:exec-idle');
  t.is(running.count, 0);
});

test('what is no frame of a session is refused', (t) => {
  t.throws(() => decodeExec(new Uint8Array([9, 1])));
  t.throws(() => decodeExec(Buffer.from([0, ...Buffer.from('{"begin":{"instance":"a","command":[]}}')])));
  t.throws(() => decodeExec(new Uint8Array(0)));
  t.deepEqual(decodeExec(encodeExec({ message: { taken: 5 } })), { message: { taken: 5 } });
});

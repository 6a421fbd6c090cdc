// Commands beside instances with the real program: from a controller across the mesh, and on the node itself.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import test from 'ava';
import type { EventView } from '../../control/views.ts';
import { selvedge, selvedgeJson } from './command.ts';
import { program } from './daemon.ts';
import { createFabric, type FabricNode, waitFor } from './fabric.ts';
import { isAlive } from './processes.ts';
import { tell } from './story.ts';

const manifest = `
apiVersion: selvedge/v1
kind: Application
metadata: { name: talk }
spec:
  microservices:
    - name: quiet
      engine: process
      command: [sleep, '1000']
      env: { COLOUR: green }
      placement: { node: edge-1 }`;

/** `selvedge exec` with something to type. */
function typing(dataFolder: string, ...command: string[]) {
  const child = spawn(process.execPath, [program, '--data', dataFolder, 'exec', 'quiet', '--', ...command]);
  // Whoever ends early reads no more.
  child.stdin.on('error', () => undefined);
  const printed = { out: [] as Buffer[], error: [] as Buffer[] };
  child.stdout.on('data', (chunk: Buffer) => void printed.out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => void printed.error.push(chunk));
  return { child, printed, out: () => Buffer.concat(printed.out), ended: once(child, 'close') };
}

test('a command beside an instance is typed to, read, ended and told', async (t) => {
  const step = tell(t);
  const fabric = await step('a controller and an edge node', () => createFabric(t, { edges: 1 }));
  const edge = fabric.edges[0] as FabricNode;
  await fabric.apply(manifest);
  await fabric.ready('talk');
  const script = 'echo $COLOUR; cat; echo oops >&2; exit 7';

  for (const { name, dataFolder } of [fabric.control, edge]) {
    await step(`asked on ${name}`, async () => {
      await waitFor('the instance to be known', async () => (await selvedge(dataFolder, 'logs', 'quiet')).status === 0);
      const session = typing(dataFolder, 'sh', '-c', script, 'sh', 'a-secret');
      // More than may be on its way at once.
      const typed = Buffer.alloc(3_000_000, 'selvedge ');
      session.child.stdin.end(typed);
      const ended = await session.ended;
      t.is(Buffer.concat(session.printed.error).toString(), 'oops\n');
      t.deepEqual(ended, [7, null]);
      t.true(session.out().equals(Buffer.concat([Buffer.from('green\n'), typed])));
      const missing = await selvedge(dataFolder, 'exec', 'quiet', '--', 'no-such-program');
      t.is(missing.status, 127);
      t.is(missing.error, 'selvedge: no-such-program: not found\n');
    });

    await step(`Ctrl-C on ${name} ends it`, async () => {
      const session = typing(dataFolder, 'sh', '-c', 'echo $$; exec sleep 1000');
      const pid = await waitFor('it to begin', () => Number(session.out().toString()) || undefined);
      t.true(await isAlive(pid));
      session.child.kill('SIGINT');
      t.deepEqual(await session.ended, [130, null]);
      await waitFor('the command to be gone', async () => !(await isAlive(pid)));
    });
  }

  await step('each was told, without arguments', async () => {
    const events = await waitFor('the ends to be recorded', async () => {
      const all = await selvedgeJson<EventView[]>(fabric.control.dataFolder, 'events');
      return all.filter(({ type }) => type === 'exec').length < 6 ? undefined : all;
    });
    const told = events.filter(({ type }) => type === 'exec');
    t.is(told.length, 6, 'the beginnings and ends of those from the controller');
    t.is(told[0]?.subject, 'default.talk.quiet.0');
    t.is(told[0]?.message, 'sh is run beside default.talk.quiet.0 for the operator of control');
    const ended = 'sh beside default.talk.quiet.0 for the operator of control has ended: ';
    t.is(told[1]?.message, `${ended}status 7`);
    t.true(
      told.some(({ message }) => message === `${ended}the operator has gone`),
      told.map(({ message }) => message).join('; '),
    );
    const own = edge.daemon.events.filter(({ type }) => type === 'exec').map(({ message }) => message);
    t.is(own.length, 12);
    t.true(own.includes('sh is run beside default.talk.quiet.0 for the operator of edge-1'));
    t.false(JSON.stringify(events).includes('a-secret') || edge.output().includes('a-secret'));
  });

  await step('an instance that is not there is refused', async () => {
    const none = await selvedge(fabric.control.dataFolder, 'exec', 'nobody', '--', 'true');
    t.is(none.status, 1);
    t.regex(none.error, /nobody/);
  });
});

import { Socket } from 'node:net';
import test from 'ava';
import { eventually } from '../eventually.ts';
import { startNode } from './libp2p-world.ts';

test('a sign of life is one write: its length does not go ahead alone', async (t) => {
  /** Bytes of each system call, of all sockets of this process; those of several pieces are `_writev`. */
  const alone: number[] = [];
  let together = 0;
  const { _write, _writev } = Socket.prototype;
  Socket.prototype._write = function (this: Socket, ...args: Parameters<typeof _write>): void {
    alone.push((args[0] as Uint8Array).byteLength);
    _write.apply(this, args);
  };
  Socket.prototype._writev = function (this: Socket, ...args: Parameters<NonNullable<typeof _writev>>): void {
    together += 1;
    _writev?.apply(this, args);
  };
  t.teardown(() => Object.assign(Socket.prototype, { _write, _writev }));

  const keepAlive = { intervalMs: 20, silentMsMax: 10_000 };
  const far = await startNode(t, { keepAlive });
  const near = await startNode(t, { keepAlive });
  await near.connect({ peerId: far.peerId, addresses: far.addresses() });
  await eventually(() => near.roundTripMs(far.peerId) !== undefined, { deadlineMs: 60_000 });
  const before = { alone: alone.length, together };
  await eventually(() => together >= before.together + 40, { deadlineMs: 60_000 });
  t.deepEqual(alone.slice(before.alone), []);
  t.true(near.connected().includes(far.peerId));
});

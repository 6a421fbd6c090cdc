// What every mesh must do. Called by the tests of libp2p-mesh.ts and simulations/sim-mesh.ts.

import type { ExecutionContext, TestFn } from 'ava';
import {
  FrameTooLargeError,
  NotConnectedError,
  PeerMismatchError,
  ProtocolRefusedError,
  UnreachableError,
} from '../../mesh/errors.ts';
import { frameBytesMax } from '../../mesh/limits.ts';
import type { FrameStream, Mesh, MeshEvent } from '../../mesh/mesh.ts';
import { eventually } from '../eventually.ts';

export interface MeshWorld {
  /** A started node that can reach the others; it is stopped when the test ends. */
  node(): Promise<Mesh>;
  /** An address where nobody listens. */
  nowhere(): Promise<string>;
}

/** A world of its own for each test; what it takes is released when the test ends. */
export type MakeMeshWorld = (t: ExecutionContext) => Promise<MeshWorld>;

const ENROLL = '/selvedge/enroll/1';
const WORK = '/selvedge/work/1';

function text(frame: Uint8Array | undefined): string | undefined {
  return frame === undefined ? undefined : new TextDecoder().decode(frame);
}

function bytes(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

/** Sends back what it gets until the far end closes. */
async function echo(stream: FrameStream): Promise<void> {
  for (;;) {
    const frame = await stream.receive();
    if (frame === undefined) return;
    await stream.send(frame);
  }
}

/** All but costs, which come when they are measured. */
function record(mesh: Mesh): MeshEvent[] {
  const events: MeshEvent[] = [];
  mesh.subscribe((event) => event.type !== 'cost' && events.push(event));
  return events;
}

const count = (events: MeshEvent[], type: MeshEvent['type'], peerId: string): number =>
  events.filter((event) => event.type === type && 'peerId' in event && event.peerId === peerId).length;

/** Two linked nodes that have admitted each other; `left` dialled. */
async function linked(world: MeshWorld): Promise<[Mesh, Mesh]> {
  const [left, right] = [await world.node(), await world.node()];
  await left.connect({ peerId: right.peerId, addresses: right.addresses() });
  await eventually(() => right.connected().includes(left.peerId));
  left.admit(right.peerId);
  right.admit(left.peerId);
  return [left, right];
}

export function meshConformance(test: TestFn, adapter: string, makeWorld: MakeMeshWorld): void {
  test(`${adapter}: frames go both ways, whole and in order`, async (t) => {
    const [left, right] = await linked(await makeWorld(t));
    right.handle(WORK, 'admitted', echo);
    const stream = await left.open(right.peerId, WORK);
    t.is(stream.protocol, WORK);
    const sent = Array.from({ length: 200 }, (_, n) => `frame ${n} ${'x'.repeat(n * 7)}`);
    const sending = (async () => {
      for (const each of sent) await stream.send(bytes(each));
      await stream.send(new Uint8Array(0));
      await stream.close();
    })();
    const received: (string | undefined)[] = [];
    for (let n = 0; n < sent.length + 2; n++) received.push(text(await stream.receive()));
    await sending;
    t.deepEqual(received, [...sent, '', undefined]);
    t.is(await stream.receive(), undefined);
  });

  test(`${adapter}: a frame of the largest size arrives, a larger one is refused and nothing of it is sent`, async (t) => {
    const [left, right] = await linked(await makeWorld(t));
    right.handle(WORK, 'admitted', echo);
    const stream = await left.open(right.peerId, WORK);
    await t.throwsAsync(stream.send(new Uint8Array(frameBytesMax + 1)), { instanceOf: FrameTooLargeError });
    const large = new Uint8Array(frameBytesMax).map((_, at) => at * 31 + (at >> 8));
    const [received] = await Promise.all([stream.receive(), stream.send(large)]);
    t.is(received?.length, large.length);
    t.deepEqual(Buffer.from(received ?? []).compare(Buffer.from(large)), 0);
    await stream.close();
  });

  test(`${adapter}: sending waits for a reader that does not read, and goes on when it does`, async (t) => {
    const [left, right] = await linked(await makeWorld(t));
    const total = 256;
    const frame = new Uint8Array(64 * 1024);
    const reading = Promise.withResolvers<void>();
    let received = 0;
    right.handle(WORK, 'admitted', async (stream) => {
      await reading.promise;
      while ((await stream.receive()) !== undefined) received++;
    });
    const stream = await left.open(right.peerId, WORK);
    let sent = 0;
    const sending = (async () => {
      for (; sent < total; sent++) await stream.send(frame);
      await stream.close();
    })();
    let before = -1;
    await eventually(
      async () => {
        const steady = sent > 0 && sent === before;
        before = sent;
        return steady;
      },
      { everyMs: 200, what: 'sending comes to a stop' },
    );
    t.true(sent > 0 && sent * frame.length <= 8 * 1024 * 1024, `${sent} frames of 64 KiB went out unread`);
    reading.resolve();
    await sending;
    await eventually(() => received === total);
  });

  test(`${adapter}: what was sent before a close arrives, and the other way stays open`, async (t) => {
    const [left, right] = await linked(await makeWorld(t));
    const got: (string | undefined)[] = [];
    right.handle(WORK, 'admitted', async (stream) => {
      for (let n = 0; n < 3; n++) got.push(text(await stream.receive()));
      await stream.send(bytes('answer'));
      await stream.close();
    });
    const stream = await left.open(right.peerId, WORK);
    await stream.send(bytes('one'));
    await stream.send(bytes('two'));
    await stream.close();
    await stream.close();
    t.is(text(await stream.receive()), 'answer');
    t.is(await stream.receive(), undefined);
    t.deepEqual(got, ['one', 'two', undefined]);
    await t.throwsAsync(stream.send(bytes('late')));
  });

  test(`${adapter}: abort makes both ends reject, also a receive that waits`, async (t) => {
    const [left, right] = await linked(await makeWorld(t));
    const far = Promise.withResolvers<unknown>();
    right.handle(WORK, 'admitted', async (stream) => {
      await stream.send(bytes('ready'));
      await stream.receive().then(far.resolve, (error) => far.resolve(error));
    });
    const stream = await left.open(right.peerId, WORK);
    t.is(text(await stream.receive()), 'ready');
    const waiting = stream.receive().then(
      () => undefined,
      (error: unknown) => error,
    );
    const reason = new Error('enough');
    stream.abort(reason);
    stream.abort(new Error('again'));
    t.is(await waiting, reason);
    t.true((await far.promise) instanceof Error);
    await t.throwsAsync(stream.send(bytes('late')));
    t.deepEqual([left.connected(), right.connected()], [[right.peerId], [left.peerId]]);
  });

  test(`${adapter}: a receive ends when its signal aborts, and the stream lives on`, async (t) => {
    const [left, right] = await linked(await makeWorld(t));
    right.handle(WORK, 'admitted', echo);
    const stream = await left.open(right.peerId, WORK);
    const patience = new AbortController();
    const waiting = stream.receive(patience.signal);
    patience.abort(new Error('no patience'));
    await t.throwsAsync(waiting, { message: 'no patience' });
    await stream.send(bytes('still here'));
    t.is(text(await stream.receive()), 'still here');
    await stream.close();
  });

  test(`${adapter}: an admitted-only protocol is refused before admission and after expel`, async (t) => {
    const world = await makeWorld(t);
    const [left, right] = [await world.node(), await world.node()];
    let served = 0;
    right.handle(WORK, 'admitted', async (stream) => {
      served++;
      await echo(stream);
    });
    right.handle(ENROLL, 'anyone', echo);
    await left.connect({ addresses: right.addresses() });
    await eventually(() => right.connected().includes(left.peerId));
    t.false(right.isAdmitted(left.peerId));
    await t.throwsAsync(left.open(right.peerId, WORK), { instanceOf: ProtocolRefusedError });
    await t.throwsAsync(left.open(right.peerId, '/selvedge/unknown/1'), { instanceOf: ProtocolRefusedError });
    t.is(served, 0);

    const enrolling = await left.open(right.peerId, ENROLL);
    await enrolling.send(bytes('let me in'));
    t.is(text(await enrolling.receive()), 'let me in');

    right.admit(left.peerId);
    t.true(right.isAdmitted(left.peerId));
    const stream = await left.open(right.peerId, WORK);
    await stream.send(bytes('hello'));
    t.is(text(await stream.receive()), 'hello');

    right.expel(left.peerId);
    t.false(right.isAdmitted(left.peerId));
    await t.throwsAsync(stream.receive());
    await t.throwsAsync(left.open(right.peerId, WORK), { instanceOf: ProtocolRefusedError });
    t.is(served, 1);
    await enrolling.send(bytes('still anyone'));
    t.is(text(await enrolling.receive()), 'still anyone');
    await enrolling.close();
  });

  test(`${adapter}: admission ends with the last connection, and needs one to begin`, async (t) => {
    const world = await makeWorld(t);
    const [left, right] = [await world.node(), await world.node()];
    right.admit(left.peerId);
    t.false(right.isAdmitted(left.peerId));
    await left.connect({ addresses: right.addresses() });
    await eventually(() => right.connected().includes(left.peerId));
    right.admit(left.peerId);
    await left.disconnect(right.peerId);
    await eventually(() => right.connected().length === 0);
    t.false(right.isAdmitted(left.peerId));
    await left.connect({ addresses: right.addresses() });
    await eventually(() => right.connected().includes(left.peerId));
    t.false(right.isAdmitted(left.peerId));
  });

  test(`${adapter}: another peer than the expected one is refused`, async (t) => {
    const world = await makeWorld(t);
    const [left, right, other] = [await world.node(), await world.node(), await world.node()];
    const events = record(left);
    const error = await t.throwsAsync(left.connect({ peerId: other.peerId, addresses: right.addresses() }), {
      instanceOf: PeerMismatchError,
    });
    t.deepEqual([error?.expected, error?.found], [other.peerId, right.peerId]);
    t.deepEqual(left.connected(), []);
    t.deepEqual(events, []);
    t.is(
      await left.connect({ peerId: right.peerId, addresses: [...other.addresses(), ...right.addresses()] }),
      right.peerId,
    );
  });

  test(`${adapter}: connect tries the addresses until one answers, and says what it tried when none does`, async (t) => {
    const world = await makeWorld(t);
    const [left, right] = [await world.node(), await world.node()];
    const nowhere = await world.nowhere();
    const error = await t.throwsAsync(left.connect({ addresses: [nowhere] }), { instanceOf: UnreachableError });
    t.true(error?.message.includes(nowhere));
    await t.throwsAsync(left.connect({ addresses: [] }), { instanceOf: UnreachableError });
    await t.throwsAsync(left.connect({ addresses: ['nonsense'] }), { instanceOf: UnreachableError });
    t.is(await left.connect({ addresses: [nowhere, ...right.addresses()] }), right.peerId);
    t.is(await left.connect({ peerId: right.peerId, addresses: [] }), right.peerId);
    await t.throwsAsync(left.connect({ addresses: right.addresses() }, AbortSignal.abort(new Error('not now'))), {
      message: 'not now',
    });
  });

  test(`${adapter}: both ends say once that they are connected and once that they are not`, async (t) => {
    const world = await makeWorld(t);
    const [left, right] = [await world.node(), await world.node()];
    const [leftEvents, rightEvents] = [record(left), record(right)];
    await left.connect({ addresses: right.addresses() });
    await eventually(() => rightEvents.length === 1);
    t.like(leftEvents[0], { type: 'connected', peerId: right.peerId, direction: 'outbound' });
    t.like(rightEvents[0], { type: 'connected', peerId: left.peerId, direction: 'inbound' });
    await right.disconnect(left.peerId);
    await eventually(() => leftEvents.length === 2 && rightEvents.length === 2);
    t.like(leftEvents[1], { type: 'disconnected', peerId: right.peerId });
    t.like(rightEvents[1], { type: 'disconnected', peerId: left.peerId });
    await right.disconnect(left.peerId);
    t.deepEqual([left.connected(), right.connected()], [[], []]);
  });

  test(`${adapter}: a stream ends with an error when its connection goes`, async (t) => {
    const [left, right] = await linked(await makeWorld(t));
    const far = Promise.withResolvers<unknown>();
    right.handle(WORK, 'admitted', async (stream) => {
      await stream.send(bytes('ready'));
      await stream.receive().then(far.resolve, (error) => far.resolve(error));
    });
    const stream = await left.open(right.peerId, WORK);
    t.is(text(await stream.receive()), 'ready');
    const waiting = stream.receive();
    await right.stop();
    await t.throwsAsync(waiting);
    t.true((await far.promise) instanceof Error);
    await eventually(() => left.connected().length === 0);
  });

  test(`${adapter}: a handler that rejects resets its own stream and no other`, async (t) => {
    const [left, right] = await linked(await makeWorld(t));
    right.handle(WORK, 'admitted', echo);
    right.handle('/selvedge/broken/1', 'admitted', async (stream) => {
      await stream.receive();
      throw new Error('a defect');
    });
    const good = await left.open(right.peerId, WORK);
    const bad = await left.open(right.peerId, '/selvedge/broken/1');
    await bad.send(bytes('now'));
    await t.throwsAsync(bad.receive());
    await good.send(bytes('unharmed'));
    t.is(text(await good.receive()), 'unharmed');
    t.deepEqual(right.connected(), [left.peerId]);
    await good.close();
  });

  test(`${adapter}: our side of a stream is closed when its handler is done`, async (t) => {
    const [left, right] = await linked(await makeWorld(t));
    right.handle(WORK, 'admitted', (stream) => stream.send(bytes('that is all')));
    const stream = await left.open(right.peerId, WORK);
    t.is(text(await stream.receive()), 'that is all');
    t.is(await stream.receive(), undefined);
    await stream.close();
  });

  test(`${adapter}: a stream to a peer without a connection is refused`, async (t) => {
    const world = await makeWorld(t);
    const [left, right] = [await world.node(), await world.node()];
    await t.throwsAsync(left.open(right.peerId, WORK), { instanceOf: NotConnectedError });
  });

  test(`${adapter}: two that dial each other at once are connected once and stay so`, async (t) => {
    const world = await makeWorld(t);
    const [left, right] = [await world.node(), await world.node()];
    const [leftEvents, rightEvents] = [record(left), record(right)];
    right.handle(WORK, 'admitted', echo);
    left.handle(WORK, 'admitted', echo);
    await Promise.all([
      left.connect({ peerId: right.peerId, addresses: right.addresses() }),
      right.connect({ peerId: left.peerId, addresses: left.addresses() }),
      left.connect({ peerId: right.peerId, addresses: right.addresses() }),
    ]);
    await eventually(() => left.connected().length === 1 && right.connected().length === 1);
    left.admit(right.peerId);
    right.admit(left.peerId);
    for (let n = 0; n < 20; n++) {
      const [from, to] = n % 2 === 0 ? [left, right] : [right, left];
      const stream = await from.open(to.peerId, WORK);
      await stream.send(bytes(`${n}`));
      t.is(text(await stream.receive()), `${n}`);
      await stream.close();
    }
    t.is(count(leftEvents, 'connected', right.peerId), 1);
    t.is(count(rightEvents, 'connected', left.peerId), 1);
    t.is(count(leftEvents, 'disconnected', right.peerId) + count(rightEvents, 'disconnected', left.peerId), 0);
  });

  test(`${adapter}: the round trip of a connection becomes known`, async (t) => {
    const [left, right] = await linked(await makeWorld(t));
    t.is(left.roundTripMs('12D3KooWNobody'), undefined);
    const roundTripMs = await eventually(() => left.roundTripMs(right.peerId) ?? right.roundTripMs(left.peerId));
    t.true(roundTripMs > 0 && roundTripMs < 5_000);
  });

  test(`${adapter}: a connection says where it leads, since when, and directly`, async (t) => {
    const [left, right] = await linked(await makeWorld(t));
    t.is(left.connection('12D3KooWNobody'), undefined);
    for (const [near, far] of [
      [left, right],
      [right, left],
    ] as const) {
      const connection = near.connection(far.peerId);
      t.like(connection, { through: undefined });
      t.true(Number.isFinite(connection?.openedAtMs));
      t.regex(connection?.address ?? '', /^\/ip4\/.+\/tcp\/\d+$/);
    }
    await left.disconnect(right.peerId);
    t.is(left.connection(right.peerId), undefined);
  });

  test(`${adapter}: what a connection costs is said when it becomes known, and ends with it`, async (t) => {
    const [left, right] = await linked(await makeWorld(t));
    const costs: MeshEvent[] = [];
    right.subscribe((event) => event.type === 'cost' && costs.push(event));
    t.is(left.costMicroseconds('12D3KooWNobody'), undefined);
    const costMicroseconds = await eventually(() => left.costMicroseconds(right.peerId));
    t.true(Number.isInteger(costMicroseconds) && costMicroseconds > 0);
    await eventually(() => right.costMicroseconds(left.peerId));
    // It may have been known before anybody listened.
    for (const cost of costs)
      t.deepEqual(cost, {
        type: 'cost',
        peerId: left.peerId,
        costMicroseconds: right.costMicroseconds(left.peerId) ?? 0,
      });
    t.true(costs.length <= 1);
    await left.disconnect(right.peerId);
    await eventually(() => right.connected().length === 0);
    t.deepEqual([left.costMicroseconds(right.peerId), right.costMicroseconds(left.peerId)], [undefined, undefined]);
  });

  test(`${adapter}: a listener that was unsubscribed hears nothing more`, async (t) => {
    const world = await makeWorld(t);
    const [left, right] = [await world.node(), await world.node()];
    const heard: MeshEvent[] = [];
    left.subscribe((event) => heard.push(event))();
    const events = record(left);
    await left.connect({ addresses: right.addresses() });
    await eventually(() => events.length === 1);
    t.deepEqual(heard, []);
  });

  test(`${adapter}: start and stop may be called again, and a stopped mesh refuses`, async (t) => {
    const world = await makeWorld(t);
    const [left, right] = [await world.node(), await world.node()];
    await left.start();
    const addresses = right.addresses();
    await left.connect({ addresses });
    await Promise.all([left.stop(), left.stop()]);
    await left.stop();
    t.deepEqual(left.connected(), []);
    await eventually(() => right.connected().length === 0);
    await t.throwsAsync(left.connect({ addresses }), { instanceOf: NotConnectedError });
    await t.throwsAsync(left.open(right.peerId, WORK), { instanceOf: NotConnectedError });
  });
}

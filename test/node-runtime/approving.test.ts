// Whole nodes on simulated ports: a box shows its code, fabrics hear of it, an operator types it, windows open and close. Time is
// virtual, so that an hour of waiting takes a moment.

import test, { type ExecutionContext } from 'ava';
import type { StatusView } from '../../control/views.ts';
import type { Controller } from '../../node-runtime/controller.ts';
import type { SelvedgeNode } from '../../node-runtime/node.ts';
import { peerIdOf } from '../../pki/peer-id.ts';
import { runScenario, type Scenario, type World } from '../../simulations/scenario.ts';
import { createSimKeys } from '../../simulations/sim-keys.ts';
import type { SimBox } from '../../simulations/sim-node.ts';
import { createSimRandom } from '../../simulations/sim-random.ts';

const limitMs = 60_000;
const minuteMs = 60_000;

async function founder(world: World, name: string, fabricName: string): Promise<Controller> {
  const node = await world.box(name).start({ found: true, fabricName, router: 'interior' });
  await world.until(`${name} is a member`, () => node.member() !== undefined, limitMs);
  const controller = node.member()?.controller;
  if (controller === undefined) throw new Error(`${name} is no controller`);
  return controller;
}

/** Time goes on until it is settled. */
async function settled<T>(world: World, promise: Promise<T>): Promise<T> {
  let done = false;
  promise.then(
    () => {
      done = true;
    },
    () => {
      done = true;
    },
  );
  await world.until('it has ended', () => done, limitMs);
  return promise;
}

const codeOf = async (node: SelvedgeNode): Promise<string> => (await node.status()).approval?.code ?? '';
const wish = { labels: {}, router: 'edge' as const };
const eventTypes = async (controller: Controller) =>
  (await controller.ledger.list({ limit: 100 })).map(({ type }) => type);
const anywhere = { forMs: 10 * minuteMs, cidrs: ['10.0.0.0/8'], max: 3, labels: {}, router: 'edge' as const };

async function play(t: ExecutionContext, scenario: (world: World) => Promise<void>, seed = '1') {
  const run: Scenario = async (world) => {
    const boxes = new Map<string, SimBox>();
    const box = (name: string): SimBox => {
      const made = boxes.get(name) ?? world.box(name);
      boxes.set(name, made);
      return made;
    };
    await scenario({ ...world, box });
    for (const made of boxes.values()) await settled(world, made.stop());
    return {};
  };
  const result = await runScenario(run, { seed });
  t.true(result.ok, result.error);
  return result;
}

const approveOne = (t: ExecutionContext) => async (world: World) => {
  const controller = await founder(world, 'one', 'acme');
  const two = await world.box('two').start({ labels: { room: '4' } });
  await world.until('one lists it', () => controller.admissions.pending().length === 1, limitMs);
  const status: StatusView = await two.status();
  t.is(status.approval?.waitingAt[0]?.fabricName, 'acme');
  t.like(controller.admissions.pending()[0], { name: 'two', address: '10.0.0.2', labels: { room: '4' } });
  const code = await codeOf(two);
  t.is(controller.admissions.pending()[0]?.handle, code.slice(0, 2));
  const approved = await settled(world, controller.admissions.approve({ code, name: 'press-4', ...wish }));
  t.like(approved, { node: 'press-4', peerId: two.peerId, router: 'edge' });
  await world.until('it is a member', () => two.member() !== undefined, limitMs);
  await world.until('it obeys a plan', async () => (await two.status()).nodes[0]?.version !== undefined, limitMs);
  t.is((await two.status()).approval, undefined);
  t.deepEqual(controller.admissions.pending(), []);
  const events = await eventTypes(controller);
  t.true(events.includes('node-approved') && events.includes('node-admitted'));
  t.false(JSON.stringify(await controller.ledger.list({ limit: 100 })).includes(code));
};

test('a box without token is approved by the code that it shows, and one seed gives one trace', async (t) => {
  const [first, second] = [await play(t, approveOne(t)), await play(t, approveOne(t))];
  t.is(first.traceHash, second.traceHash);
});

test('a box waits for hours: it is not disconnected, and follows its own code', async (t) => {
  await play(t, async (world) => {
    const controller = await founder(world, 'one', 'acme');
    const two = await world.box('two').start();
    const waits = () => controller.admissions.pending().length === 1;
    await world.until('it waits', waits, limitMs);
    const [first, since] = [await codeOf(two), controller.admissions.pending()[0]?.since];
    await world.clock.advance(50 * minuteMs);
    t.is(controller.admissions.pending()[0]?.since, since, 'the same request');
    await world.clock.advance(11 * minuteMs);
    const second = await codeOf(two);
    t.not(second, first);
    await world.until(
      'it waits with the new code',
      () => controller.admissions.pending()[0]?.handle === second.slice(0, 2),
      limitMs,
    );
    await t.throwsAsync(settled(world, controller.admissions.approve({ code: first, ...wish })), {
      name: 'ApprovalFailedError',
    });
    t.true((await eventTypes(controller)).includes('approval-failed'));
    await settled(world, controller.admissions.approve({ code: second, ...wish }));
    await world.until('it is a member', () => two.member() !== undefined, limitMs);
  });
});

test('a box that registered before the controller was restarted registers again', async (t) => {
  await play(t, async (world) => {
    const one = world.box('one');
    const node = await one.start({ found: true, fabricName: 'acme' });
    await world.until('it runs', () => node.member() !== undefined, limitMs);
    const two = await world.box('two').start();
    await world.until('it waits', () => node.member()?.controller?.admissions.pending().length === 1, limitMs);
    await settled(world, one.stop());
    await world.clock.advance(5_000);
    const again = await one.start({ found: true });

    await world.until('it runs again', () => again.member() !== undefined, limitMs);
    const admissions = again.member()?.controller?.admissions;

    await world.until('it waits again', () => admissions?.pending().length === 1, limitMs);
    await settled(
      world,
      admissions?.approve({ code: await codeOf(two), ...wish }) ?? Promise.reject(new Error('none')),
    );
    await world.until('it is a member', () => two.member() !== undefined, limitMs);
  });
});

test('of two fabrics the one whose operator types the code gets the box; the other is left', async (t) => {
  await play(t, async (world) => {
    const [one, other] = [await founder(world, 'one', 'acme'), await founder(world, 'other', 'rogue')];
    const two = await world.box('two').start();
    await world.until(
      'both know',
      () => [one, other].every(({ admissions }) => admissions.pending().length === 1),
      limitMs,
    );
    await settled(world, one.admissions.approve({ code: await codeOf(two), ...wish }));
    await world.until('it is a member', () => two.member() !== undefined, limitMs);
    t.is(two.member()?.membership().fabricName, 'acme');
    await world.until('the other forgets it', () => other.admissions.pending().length === 0, limitMs);
  });
});

test('names and labels that would be refused are refused before the code is used up', async (t) => {
  await play(t, async (world) => {
    const controller = await founder(world, 'one', 'acme');
    const two = await world.box('two').start();
    await world.until('it waits', () => controller.admissions.pending().length === 1, limitMs);
    const code = await codeOf(two);
    const { approve } = controller.admissions;
    await t.throwsAsync(approve({ code, ...wish, name: 'one' }), { name: 'NameTakenError' });
    await t.throwsAsync(approve({ code, ...wish, name: 'No Name' }), { name: 'NodeRefusedError' });
    await t.throwsAsync(approve({ code, ...wish, labels: { 'selvedge/x': 'y' } }), { name: 'NodeRefusedError' });
    await t.throwsAsync(approve({ code: 'K7', ...wish }), { name: 'ApprovalCodeError' });
    t.is(await codeOf(two), code);
    await settled(world, approve({ code, ...wish }));
    await world.until('it is a member', () => two.member() !== undefined, limitMs);
  });
});

test('a box that an operator denied is not listed again for an hour', async (t) => {
  await play(t, async (world) => {
    const controller = await founder(world, 'one', 'acme');
    const two = await world.box('two').start();
    await world.until('it waits', () => controller.admissions.pending().length === 1, limitMs);
    await t.throwsAsync(controller.admissions.deny('nobody'), { name: 'NoSuchRequestError' });
    const [denied] = await controller.admissions.deny('two');
    t.is(denied?.peerId, two.peerId);
    await world.clock.advance(30 * minuteMs);
    t.deepEqual(controller.admissions.pending(), []);
    t.true((await eventTypes(controller)).includes('node-denied'));
    await world.clock.advance(31 * minuteMs);
    await world.until('it waits again', () => controller.admissions.pending().length === 1, limitMs);
  });
});

test('a box that trusts the LAN joins by an open window, when one fabric alone answers', async (t) => {
  await play(t, async (world) => {
    const controller = await founder(world, 'one', 'acme');
    const strict = await world.box('strict').start();
    const two = await world.box('two').start({ trustLan: true });
    await world.until('both wait', () => controller.admissions.pending().length === 2, limitMs);
    await world.clock.advance(10_000);
    t.is(two.member(), undefined, 'not while the window is closed');
    t.deepEqual(controller.admissions.notices(), []);
    await controller.admissions.openWindow({ ...anywhere, forMs: minuteMs });
    t.regex(controller.admissions.notices()[0] ?? '', /window is open until .* 10\.0\.0\.0\/8/);
    await world.until('it is a member', () => two.member() !== undefined, limitMs);
    t.deepEqual(controller.admissions.window().admitted, ['two']);
    await world.clock.advance(minuteMs);
    t.is(strict.member(), undefined, 'a box that was not told to is not');
    t.deepEqual(controller.admissions.window(), { open: false });
    const late = await world.box('late').start({ trustLan: true });
    await world.clock.advance(minuteMs);
    t.is(late.member(), undefined, 'not after it has closed by itself');
    const events = await eventTypes(controller);
    for (const type of ['window-opened', 'window-used', 'window-closed']) t.true(events.includes(type), type);
  });
});

test('a box that trusts the LAN looks round before it does', async (t) => {
  await play(t, async (world) => {
    const controller = await founder(world, 'one', 'acme');
    await controller.admissions.openWindow(anywhere);
    const startedAt = world.clock.now();
    const two = await world.box('two').start({ trustLan: true });
    await world.until('it is a member', () => two.member() !== undefined, limitMs);
    t.true(world.clock.now() - startedAt >= 5_000);
  });
});

test('when two fabrics answer neither is trusted, however open their windows are', async (t) => {
  await play(t, async (world) => {
    const [one, other] = [await founder(world, 'one', 'acme'), await founder(world, 'other', 'rogue')];
    await one.admissions.openWindow(anywhere);
    await other.admissions.openWindow(anywhere);
    const two = await world.box('two').start({ trustLan: true });
    await world.clock.advance(5 * minuteMs);
    t.is(two.member(), undefined);
    t.deepEqual(one.admissions.window().admitted, []);
    t.deepEqual(other.admissions.window().admitted, []);
    await settled(world, one.admissions.approve({ code: await codeOf(two), ...wish }));
    await world.until('the code still admits it', () => two.member() !== undefined, limitMs);
    t.is(two.member()?.membership().fabricName, 'acme');
  });
});

test('an address given with --join is asked, also when it is found on the LAN as well', async (t) => {
  await play(t, async (world) => {
    const controller = await founder(world, 'one', 'acme');
    const two = await world.box('two').start({ join: ['10.0.0.1:7433'] });
    await world.clock.advance(5 * minuteMs);
    t.is(controller.admissions.pending().length, 1);
    await settled(world, controller.admissions.approve({ code: await codeOf(two), ...wish }));
    await world.until('it is a member', () => two.member() !== undefined, limitMs);
  });
});

test('a crowd that answers and is nothing does not keep a box from its controller', async (t) => {
  await play(t, async (world) => {
    const keys = createSimKeys(createSimRandom('crowd'));
    for (let index = 0; index < 40; index += 1) {
      const peerId = peerIdOf(keys.create('Ed25519').publicKey);
      const mesh = world.network.createMesh({ peerId, name: `nothing ${index}` });
      await mesh.start();
      mesh.advertise('a'.repeat(52));
    }
    const two = await world.box('two').start();
    await world.clock.advance(2_000);
    const controller = await founder(world, 'one', 'acme');
    for (let minute = 0; minute < 6 && controller.admissions.pending().length === 0; minute += 1) {
      await world.clock.advance(minuteMs);
    }
    t.is(controller.admissions.pending().length, 1);
    await settled(world, controller.admissions.approve({ code: await codeOf(two), ...wish }));
    await world.until('it is a member', () => two.member() !== undefined, limitMs);
  });
});

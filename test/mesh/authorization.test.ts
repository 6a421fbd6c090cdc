// Who may call whom, and what becomes of open calls when that changes: on a node, and on each side of the tunnel alone.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import type { CallPolicy, CallRule } from '../../control/call-policy.ts';
import type { MicroserviceName } from '../../control/plan.ts';
import { type Authorize, policyAuthorization } from '../../mesh/authorization.ts';
import { tunnelSweepMs } from '../../mesh/limits.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createTestFabric } from './credentials.ts';
import { ask, brokenWith, callable, dial, link, nameOf, serve, startNode } from './tunnel-fixture.ts';

const till = nameOf('till', 'shop');
const stock = nameOf('stock', 'store');
const audit = nameOf('audit', 'store');
const fabric = createTestFabric();

const policy = (allow: CallRule[], project = 'default'): CallPolicy => ({ project, name: 'one', allow });
const fromShop: CallRule = { from: { project: 'default', application: 'shop' }, to: { application: 'store' } };

const named = (text: string): MicroserviceName => {
  const [microservice = '', application = '', project = 'default'] = text.split('.');
  return { project, application, microservice };
};

const decisions: [
  what: string,
  policies: CallPolicy[],
  caller: string,
  called: string,
  port: number,
  allowed: boolean,
][] = [
  ['one application, no policy', [], 'till.shop', 'stock.shop', 80, true],
  ['two applications, no policy', [], 'till.shop', 'stock.store', 80, false],
  ['an application of the same name in another project', [], 'till.shop', 'stock.shop.other', 80, false],
  ['two applications, allowed', [policy([fromShop])], 'till.shop', 'stock.store', 80, true],
  ['the way back', [policy([fromShop])], 'stock.store', 'till.shop', 80, false],
  ['a third application', [policy([fromShop])], 'till.kiosk', 'stock.store', 80, false],
  ['the caller of another project', [policy([fromShop])], 'till.shop.other', 'stock.store', 80, false],
  ['a policy of the calling project alone', [policy([fromShop])], 'till.shop', 'stock.store.other', 80, false],
  ['a policy of the called project', [policy([fromShop], 'other')], 'till.shop', 'stock.store.other', 80, true],
  [
    'another calling microservice than the one that is named',
    [policy([{ ...fromShop, from: { ...fromShop.from, microservice: 'till' } }])],
    'door.shop',
    'stock.store',
    80,
    false,
  ],
  [
    'another called microservice than the one that is named',
    [policy([{ ...fromShop, to: { application: 'store', microservice: 'stock' } }])],
    'till.shop',
    'audit.store',
    80,
    false,
  ],
  [
    'a port that is named',
    [policy([{ ...fromShop, to: { application: 'store', ports: [80, 81] } }])],
    'till.shop',
    'stock.store',
    81,
    true,
  ],
  [
    'another port than those that are named',
    [policy([{ ...fromShop, to: { application: 'store', ports: [80, 81] } }])],
    'till.shop',
    'stock.store',
    82,
    false,
  ],
  [
    'no ports at all',
    [policy([{ ...fromShop, to: { application: 'store', ports: [] } }])],
    'till.shop',
    'stock.store',
    80,
    false,
  ],
  ['one policy of several', [policy([]), policy([fromShop]), policy([])], 'till.shop', 'stock.store', 80, true],
  ['a policy that says nothing', [policy([])], 'till.shop', 'stock.store', 80, false],
];

for (const [what, policies, caller, called, port, allowed] of decisions) {
  test(`${what}: ${allowed ? 'allowed' : 'denied'}`, (t) => {
    t.is(policyAuthorization(policies)(named(caller), named(called), port), allowed);
  });
}

const echo = (socket: Socket) => {
  socket.pipe(socket);
};

async function openCall(t: ExecutionContext, address: string, port = 8080): Promise<Socket> {
  const socket = await dial(t, address, port);
  socket.write('hello');
  await once(socket, 'data');
  return socket;
}

/** Changes as policies do. */
function changeable(policies: CallPolicy[]): { authorize: Authorize; change(next: CallPolicy[]): void } {
  let current = policyAuthorization(policies);
  return {
    authorize: (...call) => current(...call),
    change(next) {
      current = policyAuthorization(next);
    },
  };
}

for (const side of ['calling', 'called'] as const) {
  test(`open calls end when the ${side} node hears that they are no longer allowed, and no others`, async (t) => {
    const changing = changeable([policy([fromShop])]);
    const staying = policyAuthorization([policy([fromShop])]);
    const of = (one: typeof side) => ({ authorize: one === side ? changing.authorize : staying });
    const node1 = await startNode(t, fabric, fabric.node('one', [till, audit]), of('calling'));
    const node2 = await startNode(t, fabric, fabric.node('two', [stock]), of('called'));
    const stranger = await node1.attach(till, {
      calls: [callable('stock', 8080, 'store'), callable('stock', 8081, 'store')],
    });
    const own = await node1.attach(audit, { calls: [callable('stock', 8080, 'store')] });
    await node2.attach(stock, { listens: { 8080: await serve(t, echo), 8081: await serve(t, echo) } });
    link(node1, node2);
    node1.network.setEndpoints([node2.endpoint(stock), node2.endpoint(stock, { port: 8081 })]);
    const [closing, keeping] = [
      await openCall(t, stranger.address('stock')),
      await openCall(t, stranger.address('stock'), 8081),
    ];
    const ownCall = await openCall(t, own.address('stock'));
    const broken = brokenWith(closing);
    changing.change([policy([{ ...fromShop, to: { application: 'store', ports: [8081] } }])]);
    t.is(await broken, 'ECONNRESET');
    for (const socket of [keeping, ownCall]) {
      socket.write('still here');
      t.is(String((await once(socket, 'data'))[0]), 'still here');
    }
    const [telling, silent] = side === 'calling' ? [node1, node2] : [node2, node1];
    t.like(telling.denied, [
      { kind: 'call-denied', caller: till, called: stock, port: 8080, callerPeerId: node1.peerId },
    ]);
    t.regex(telling.denied[0]?.reason ?? '', /^no policy of project default allows the call any more: 1 open one/);
    t.deepEqual(silent.denied, []);
    t.is(await brokenWith(connect(8080, stranger.address('stock'))), 'ECONNRESET', 'nor does a new one begin');
    changing.change([policy([fromShop])]);
    const again = ask(t, stranger.address('stock'), 'again');
    t.is(await again, 'again');
  });
}

test('within one node the same holds', async (t) => {
  const { authorize, change } = changeable([]);
  const node = await startNode(t, fabric, fabric.node('one', [till, stock]), { authorize });
  const caller = await node.attach(till, { calls: [callable('stock', 8080, 'store')] });
  await node.attach(stock, { listens: { 8080: await serve(t, echo) } });
  node.network.setEndpoints([node.endpoint(stock)]);
  t.is(await brokenWith(connect(8080, caller.address('stock'))), 'ECONNRESET');
  change([policy([fromShop])]);
  const calls = [await openCall(t, caller.address('stock')), await openCall(t, caller.address('stock'))];
  const broken = calls.map(brokenWith);
  change([]);
  t.deepEqual(await Promise.all(broken), ['ECONNRESET', 'ECONNRESET']);
  t.deepEqual(
    node.denied.map(({ reason }) => reason),
    [
      'no policy of project default allows the call',
      'no policy of project default allows the call any more: 2 open ones were closed',
    ],
  );
});

test('whoever hears of a change closes what is open at once', async (t) => {
  const clock = createSystemClock();
  const { authorize, change } = changeable([policy([fromShop])]);
  // The look of each second never comes.
  const setTimeout: typeof clock.setTimeout = (run, ms) => (ms === tunnelSweepMs ? -1 : clock.setTimeout(run, ms));
  const node = await startNode(t, fabric, fabric.node('one', [till, stock]), {
    authorize,
    clock: { ...clock, setTimeout },
  });
  const caller = await node.attach(till, { calls: [callable('stock', 8080, 'store')] });
  await node.attach(stock, { listens: { 8080: await serve(t, echo) } });
  node.network.setEndpoints([node.endpoint(stock)]);
  const open = await openCall(t, caller.address('stock'));
  node.network.recheck();
  open.write('still here');
  t.is(String((await once(open, 'data'))[0]), 'still here');
  const broken = brokenWith(open);
  change([]);
  node.network.recheck();
  t.is(await broken, 'ECONNRESET');
});

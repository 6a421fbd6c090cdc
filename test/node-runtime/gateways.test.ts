// The gateways of a node, on ports that the test holds: what they wait for, what they open, change and close, and what they say.

import test from 'ava';
import type { PlannedGateway } from '../../control/gateway.ts';
import type { Plan } from '../../control/plan.ts';
import { saltContent } from '../../control/salted-content.ts';
import { GatewayPortTakenError } from '../../mesh/errors.ts';
import type { GatewayOptions, GatewayRules } from '../../mesh/gateway.ts';
import type { AttachedInstance } from '../../mesh/service-network.ts';
import { createActorSystem } from '../../node-runtime/actor-system.ts';
import { createGateways } from '../../node-runtime/gateways.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';

const credential = { keyPem: 'key', chainPem: 'chain' };
const to = { project: 'default', application: 'shop', microservice: 'web', port: 8080 };
const planned = (more: Partial<PlannedGateway> = {}): PlannedGateway => ({
  ...{ project: 'default', name: 'web', generation: 1, port: 8443, protocol: 'http', routes: [{ to }], grants: [] },
  ...more,
});

function world() {
  const clock = createSimClock();
  const open: (GatewayOptions & { closed: boolean; rules: GatewayRules[] })[] = [];
  const attached = new Map<string, AttachedInstance>();
  const taken = new Set<number>();
  const world = { covered: true, allowed: true, issued: 0, changes: 0 };
  const gateways = createGateways({
    clock,
    actors: createActorSystem({ clock, node: () => 'box1' }),
    jitter: () => 0,
    async openGateway(options) {
      if (taken.has(options.port)) throw new GatewayPortTakenError(options.port, undefined);
      taken.add(options.port);
      const one = { ...options, closed: false, rules: [] as GatewayRules[] };
      open.push(one);
      return {
        update: (rules) => void one.rules.push(rules),
        connections: 0,
        refused: 0,
        async close() {
          one.closed = true;
          taken.delete(options.port);
        },
      };
    },
    serviceNetwork: {
      async attach(instance) {
        attached.set(instance.instance, instance);
        return { env: {}, hosts: [] };
      },
      detach: async (instance) => void attached.delete(instance),
      renew: () => undefined,
      carry: () => undefined,
    },
    certificates: { issue: async () => credential, release: () => undefined },
    authority: {
      covers: () => world.covered,
      allows: () => world.allowed,
      issuePublic(names) {
        world.issued += 1;
        return { chainPem: `${names.join(' ')} ${world.issued}`, keyPem: 'key' };
      },
    },
    onChanged: () => {
      world.changes += 1;
    },
    onRefused: () => undefined,
  });
  const obey = async (all: PlannedGateway[], files = new Map<string, Uint8Array>()): Promise<void> => {
    gateways.obey({ plan: { gateways: all } as Plan, files });
    await turns();
  };
  const turns = async (): Promise<void> => {
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  };
  const states = () => gateways.observed().map(({ name, state, reason }) => ({ name, state, reason }));
  return { ...{ clock, open, attached, taken, world, gateways, obey, turns, states } };
}

test('it waits for an authority, calls by no address, and is closed with the node', async (t) => {
  const { gateways, obey, open, attached, world: box, states, turns } = world();
  box.covered = false;
  await obey([planned()]);
  t.deepEqual(states(), [{ name: 'web', state: 'waiting', reason: '' }]);
  gateways.start();
  await turns();
  t.deepEqual([states()[0]?.reason, open.length], ['waiting for an authority that covers it', 0]);
  box.covered = true;
  gateways.recheck();
  await turns();
  t.deepEqual(states(), [{ name: 'web', state: 'listening', reason: '' }]);
  const [[name, instance] = []] = attached;
  t.is(name, 'gateway/default/web');
  t.like(instance, { application: 'selvedge-gateways', microservice: 'web', unaddressed: true, listens: [] });
  t.deepEqual(gateways.called(), [to]);
  await gateways.stop();
  t.deepEqual([open[0]?.closed, attached.size], [true, 0]);
  await gateways.stop();
});

test('grants and routes change while it listens; another port closes it and opens again', async (t) => {
  const { gateways, obey, open, attached } = world();
  gateways.start();
  await obey([planned()]);
  const grants = [{ name: 'all', cidrs: ['0.0.0.0/0'] }];
  const other = { ...to, microservice: 'api' };
  await obey([planned({ generation: 2, grants, routes: [{ to: other }] })]);
  t.is(open.length, 1);
  t.like(open[0]?.rules.at(-1), { grants, routes: [{ to: other }] });
  t.deepEqual(attached.get('gateway/default/web')?.calls, [other]);
  await obey([planned({ generation: 3, port: 8444 })]);
  t.deepEqual(
    open.map(({ port, closed }) => [port, closed]),
    [
      [8443, true],
      [8444, false],
    ],
  );
  await obey([]);
  t.true(open[1]?.closed);
  t.deepEqual(gateways.observed(), []);
  t.is(attached.size, 0);
});

test('the first grant by certificate opens it anew, and taking the last away closes nobody', async (t) => {
  const { gateways, obey, open } = world();
  const tls = { names: ['a.example'] };
  gateways.start();
  await obey([planned({ tls })]);
  const grants = [{ name: 'partner', certificate: { sha256: '0'.repeat(64) } }];
  await obey([planned({ tls, grants })]);
  t.deepEqual(
    open.map(({ closed }) => closed),
    [true, false],
  );
  await obey([planned({ tls, generation: 2 })]);
  t.deepEqual(
    open.map(({ closed }) => closed),
    [true, false],
  );
  t.deepEqual(open[1]?.rules.at(-1)?.grants, []);
});

test('a taken port is said and tried again; of two gateways that want one the first has it', async (t) => {
  const { gateways, obey, clock, taken, states, turns } = world();
  taken.add(8443);
  gateways.start();
  await obey([planned()]);
  t.deepEqual(states(), [{ name: 'web', state: 'failed', reason: 'port 8443 is taken on this node' }]);
  taken.delete(8443);
  await clock.advance(30_000);
  await turns();
  t.is(states()[0]?.state, 'listening');
  await obey([planned(), planned({ name: 'other' })]);
  t.deepEqual(states()[1], {
    name: 'other',
    state: 'failed',
    reason: 'port 8443 of this node is Gateway default/web’s',
  });
  await obey([planned({ name: 'other' })]);
  await clock.advance(60_000);
  await turns();
  t.deepEqual(states(), [{ name: 'other', state: 'listening', reason: '' }]);
});

test('its certificate is issued anew with its credential, and for other names once they are allowed', async (t) => {
  const { gateways, obey, open, world: box, states } = world();
  gateways.start();
  await obey([planned({ tls: { names: ['a.example'] } })]);
  t.is(open[0]?.tls?.chainPem, 'a.example 1');
  t.true(gateways.renewed('gateway/default/web', credential));
  t.false(gateways.renewed('default.shop.web.0', credential));
  t.is(open[0]?.rules.at(-1)?.tls?.chainPem, 'a.example 2');
  box.allowed = false;
  const grants = [{ name: 'all', cidrs: ['0.0.0.0/0'] }];
  await obey([planned({ tls: { names: ['b.example'] }, grants })]);
  t.like(open[0]?.rules.at(-1), { tls: undefined, grants }, 'the grants hold at once');
  t.regex(states()[0]?.reason ?? '', /not in the authority yet/);
  box.allowed = true;
  gateways.recheck();
  t.is(open[0]?.rules.at(-1)?.tls?.chainPem, 'b.example 3');
  t.is(states()[0]?.reason, '');
});

test('a certificate of one’s own comes from the plan’s files; one that is gone closes nothing', async (t) => {
  const { gateways, obey, open, states } = world();
  gateways.start();
  const salted = (text: string): Uint8Array => Buffer.from(saltContent(Buffer.from(text), Buffer.alloc(32)), 'base64');
  const files = new Map([
    ['c', salted('CHAIN')],
    ['k', salted('KEY')],
  ]);
  const tls = { certificate: { slot: 'a', sha256: 'c' }, key: { slot: 'b', sha256: 'k' } };
  await obey([planned({ tls })], files);
  t.deepEqual(open[0]?.tls, { chainPem: 'CHAIN', keyPem: 'KEY' });
  await obey([planned({ tls: { missing: 'there is no Secret x in project default' } })]);
  t.deepEqual(
    [open[0]?.closed, states()[0]],
    [false, { name: 'web', state: 'listening', reason: 'there is no Secret x in project default' }],
  );
  const fresh = world();
  fresh.gateways.start();
  await fresh.obey([planned({ tls: { missing: 'there is no Secret x in project default' } })]);
  t.deepEqual([fresh.open.length, fresh.states()[0]?.state], [0, 'failed'], 'it is not published in clear');
});

test('a protocol of another version is said, and the others go on', async (t) => {
  const { gateways, obey, states } = world();
  gateways.start();
  await obey([planned({ name: 'datagrams', protocol: 'udp', port: 53 }), planned()]);
  t.deepEqual(states(), [
    { name: 'datagrams', state: 'failed', reason: 'this version does not publish the protocol udp' },
    { name: 'web', state: 'listening', reason: '' },
  ]);
});

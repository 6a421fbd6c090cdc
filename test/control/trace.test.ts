// The way of a call, by constructed documents: whom it reaches, why nobody else, and where it stops; and how the command ends.

import test from 'ava';
import type { Plan } from '../../control/plan.ts';
import type { ServiceView } from '../../control/services.ts';
import type { TopologyView } from '../../control/topology.ts';
import { type TraceFacts, type TraceView, traceOf } from '../../control/trace.ts';
import type { InstanceView } from '../../control/views.ts';
import { applicationView, cli, fakeDaemon, instanceView, temporaryFolder } from './cli-harness.ts';

const nodes = ['a', 'b', 'c', 'r1', 'r2'] as const;
const of = { project: 'default', application: 'app' };

function instance(name: string, more: Partial<InstanceView> = {}): InstanceView {
  const microservice = name.split('.')[0] ?? '';
  return instanceView({ ...of, microservice, name: `default.app.${name}`, node: 'a', ...more });
}

interface Changes {
  endpoints?: InstanceView[];
  callers?: InstanceView[];
  links?: [string, string][];
  deaf?: string[];
  balancing?: ServiceView['balancing'];
  calls?: boolean;
  allowed?: boolean;
  unreached?: TopologyView['unreached'];
  islands?: string[][];
}

/** a and b are at the ends of a - r1 - r2 - b; `ask` on a calls `web`. */
function facts(changes: Changes = {}): TraceFacts {
  const endpoints = changes.endpoints ?? [instance('web.0', { node: 'b' }), instance('web.1', { node: 'a' })];
  const callers = changes.callers ?? [instance('ask.0')];
  const links = changes.links ?? [
    ['a', 'r1'],
    ['r1', 'r2'],
    ['r2', 'b'],
  ];
  const service: ServiceView = {
    ...{ ...of, service: 'web', ports: [{ name: 'http', port: 80 }], ready: 0 },
    endpoints: endpoints.map(({ name, ...rest }) => ({ ...rest, instance: name })),
    ...(changes.balancing !== undefined && { balancing: changes.balancing }),
  };
  const calls = (changes.calls ?? true) ? [{ ...of, microservice: 'web', port: 80 }] : [];
  const plan = { instances: callers.map(({ name }) => ({ name, calls })) } as unknown as Plan;
  return {
    topology: {
      ...{ scope: 'fabric', fabric: { id: 'f', name: 'f' }, node: 'r1', linksLeftOut: 0 },
      ...{ unreached: changes.unreached ?? [], islands: changes.islands ?? [] },
      nodes: nodes.map((name) => ({
        ...{ name, peerId: `peer-${name}`, router: name.startsWith('r') ? 'interior' : 'edge', controller: false },
        ...{ island: 0, links: 1, state: changes.deaf?.includes(name) ? 'unreachable' : 'connected', lastSeenAt: 0 },
      })),
      links: links.map((ends) => ({ nodes: ends, state: 'up', reason: '', costMicroseconds: 500 })),
    },
    services: [service],
    ...(changes.allowed !== undefined && { isAllowed: () => changes.allowed === true }),
    applications: [applicationView({ name: 'app', instances: [...endpoints, ...callers] })],
    mailboxes: new Map(nodes.map((node) => [node, { plan, node: undefined, instances: [] }])),
  };
}

const called = ({ callers: [caller] }: TraceView): unknown[] =>
  (caller?.endpoints ?? []).map((one) => [one.instance.slice('default.app.'.length), one.called, one.reason]);

test('a port of UDP may be named as it is shown', (t) => {
  const ports = [{ name: 'dns', port: 53, protocol: 'udp' as const }];
  const { services, ...others } = facts({});
  const given = { ...others, services: services.map((service) => ({ ...service, ports })) };
  t.is(traceOf('app.ask', 'app.web:53/udp', given).service, traceOf('app.ask', 'app.web:53', given).service);
  t.throws(() => traceOf('app.ask', 'app.web:80', given), { message: /has no port 80/ });
});

test('a call goes to any that is ready, on its node or over routers, with what that costs', (t) => {
  const view = traceOf('ask', 'web:80', facts());
  t.like(view, { service: 'default.app.web', arrives: true });
  t.deepEqual(view.callers[0]?.endpoints, [
    {
      ...{ instance: 'default.app.web.0', node: 'b', called: true, reason: '' },
      route: { costMicroseconds: 1_500, through: ['r1', 'r2'] },
    },
    { instance: 'default.app.web.1', node: 'a', called: true, reason: '' },
  ]);
});

const passedOver = (by: string) => ({ passedOver: [{ by, port: 80, reason: 'refused', failures: 2, until: 9 }] });
const web = (...more: Partial<InstanceView>[]) =>
  more.map((one, index) => instance(`web.${index}`, { node: 'b', ...one }));

const choices: { title: string; changes: Changes; endpoints: unknown[] }[] = [
  {
    title: 'what is not ready is not called, with its reason',
    changes: { endpoints: web({}, { ready: false, reason: 'probe fails' }, { ready: false, reason: '' }) },
    endpoints: [
      ['web.0', true, ''],
      ['web.1', false, 'it is not ready: probe fails'],
      ['web.2', false, 'it is not ready'],
    ],
  },
  {
    title: 'the node of the caller passes one over, another node does not matter',
    changes: { endpoints: web(passedOver('a'), passedOver('c')) },
    endpoints: [
      ['web.0', false, 'passed over by a: refused'],
      ['web.1', true, ''],
    ],
  },
  {
    title: 'the only one is called although it is passed over',
    changes: { endpoints: web(passedOver('a')) },
    endpoints: [['web.0', true, 'passed over by a: refused, and called as nobody else is left']],
  },
  {
    title: 'one instance is named',
    changes: { endpoints: web({}, {}), balancing: { instance: 1 } },
    endpoints: [
      ['web.0', false, 'its balancing names instance 1'],
      ['web.1', true, ''],
    ],
  },
  {
    title: 'local ones come first',
    changes: { endpoints: web({ node: 'a' }, {}), balancing: { policy: 'round-robin', localFirst: true } },
    endpoints: [
      ['web.0', true, ''],
      ['web.1', false, 'one on the node of the caller comes first'],
    ],
  },
  {
    title: 'one has no place and the node of one is not heard',
    changes: {
      endpoints: web(
        {},
        { node: 'c' },
        { node: undefined as unknown as string, ready: false, reason: 'no node may run it' },
      ),
      deaf: ['c'],
    },
    endpoints: [
      ['web.0', true, ''],
      ['web.1', false, 'its node c was not heard since 1970-01-01T00:00:00.000Z'],
      ['web.2', false, 'no node may run it'],
    ],
  },
];
for (const { title, changes, endpoints } of choices) {
  test(`whom a call reaches when ${title}`, (t) => {
    const view = traceOf('ask', 'web', facts(changes));
    t.deepEqual(called(view), endpoints);
    t.true(view.arrives);
  });
}

const stops: { title: string; from?: string; changes: Changes; reason: RegExp }[] = [
  { title: 'there is no instance', changes: { endpoints: [] }, reason: /^default\.app\.web has no instance$/ },
  {
    title: 'none is ready',
    changes: { endpoints: web({ ready: false, reason: 'starting' }) },
    reason: /web\.0: it is not ready: starting/,
  },
  { title: 'the caller has no link', changes: { endpoints: web({}), links: [] }, reason: /a has no link/ },
  { title: 'the far node has no link', changes: { endpoints: web({}), links: [['a', 'r1']] }, reason: /b has no link/ },
  {
    title: 'there is no link between islands',
    changes: {
      endpoints: web({}),
      links: [
        ['a', 'r1'],
        ['r2', 'b'],
      ],
      islands: [
        ['a', 'r1'],
        ['r2', 'b'],
      ],
    },
    reason: /no link leads from the island of a to that of b/,
  },
  {
    title: 'only an edge node would be between',
    changes: {
      endpoints: web({}),
      links: [
        ['a', 'c'],
        ['c', 'b'],
      ],
    },
    reason: /no routers that are linked now lead from a to b/,
  },
  {
    title: 'the node tried to link and could not',
    changes: { endpoints: web({}), links: [], unreached: [{ node: 'a', peer: 'b', reason: 'no answer', since: 1 }] },
    reason: /a cannot link to b: no answer/,
  },
  {
    title: 'the caller is not given its address',
    changes: { calls: false },
    reason: /^denied: default\.app\.ask\.0 is given no address/,
  },
  {
    title: 'no policy allows it',
    changes: { allowed: false },
    reason: /^denied: no policy of project default allows default\.app\.ask\.0/,
  },
  {
    title: 'the caller does not run',
    changes: { callers: [instance('ask.0', { state: 'failed', reason: 'exit 1' })] },
    reason: /the caller is failed: exit 1/,
  },
  { title: 'the node of the caller is not heard', changes: { deaf: ['a'] }, reason: /^a was not heard since 1970/ },
  { title: 'it begins at a node without a link', from: 'c', changes: { endpoints: web({}) }, reason: /c has no link/ },
];
for (const { title, from, changes, reason } of stops) {
  test(`a call stops when ${title}`, (t) => {
    const view = traceOf(from ?? 'ask', 'web', facts(changes));
    t.false(view.arrives);
    t.regex(view.callers[0]?.reason ?? '', reason);
  });
}

test('a microservice is traced from each of its instances, a node from itself', (t) => {
  const callers = [instance('ask.0'), instance('ask.1', { node: 'c' })];
  const view = traceOf('app.ask', 'app.web', facts({ callers }));
  t.deepEqual(
    view.callers.map(({ instance: name, node, arrives }) => [name, node, arrives]),
    [
      ['default.app.ask.0', 'a', true],
      ['default.app.ask.1', 'c', false],
    ],
  );
  t.false(view.arrives);
  t.is(traceOf('default.app.ask.0', 'web', facts({ callers })).callers.length, 1);
  t.like(traceOf('a', 'web', facts()), { arrives: true, callers: [{ node: 'a' }] });
});

test('names that nothing has, or several have, are refused', (t) => {
  const given = facts();
  const [service] = given.services as [ServiceView];
  const two = { ...given, services: [service, { ...service, application: 'other' }] };
  t.throws(() => traceOf('nobody', 'web', given), { name: 'NotFoundError', message: /"nobody"/ });
  t.throws(() => traceOf('ask', 'nothing', given), { name: 'NotFoundError', message: /there is no service "nothing"/ });
  t.throws(() => traceOf('ask', 'web:81', given), { name: 'RequestRefusedError', message: /has no port 81/ });
  t.throws(() => traceOf('app', 'web', given), {
    name: 'RequestRefusedError',
    message: /fits several: default\.app\.web, default\.app\.ask/,
  });
  t.throws(() => traceOf('a', 'web', two), {
    name: 'RequestRefusedError',
    message: /default\.app\.web, default\.other\.web/,
  });
  t.is(traceOf('ask', 'web', two).service, 'default.app.web', 'that of its own application is meant');
});

test('the command prints the way, and ends with 1 and what to look at when the call stops', async (t) => {
  const folder = await temporaryFolder(t);
  const good = traceOf('ask', 'web', facts());
  const bad = traceOf('ask', 'web', facts({ endpoints: [] }));
  await fakeDaemon(t, folder, { 'GET /v1/trace/ask/web': good, 'GET /v1/trace/ask/none': bad });
  const shown = await cli(['trace', 'ask', 'web', '--data', folder]);
  t.is(shown.status, 0);
  t.regex(shown.out, /default\.app\.ask\.0 on a: arrives/);
  t.regex(shown.out, /web\.0 +b +yes +a > r1 > r2 > b \(1\.50 ms\)/);
  t.regex(shown.out, /web\.1 +a +yes +on the same node/);
  const stopped = await cli(['trace', 'ask', 'none', '-o', 'json', '--data', folder]);
  t.is(stopped.status, 1);
  t.deepEqual(JSON.parse(stopped.out), JSON.parse(JSON.stringify(bad)));
  t.regex(stopped.error, /would not arrive[\s\S]*selvedge topology/);
});

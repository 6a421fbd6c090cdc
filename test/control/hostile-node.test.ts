// What an admitted node that turned hostile writes of itself, as far as its mailbox takes it: views and tables go on, and nothing of it
// steers the operator's terminal.

import test from 'ava';
import { instanceText } from '../../control/cli/describe.ts';
import { nodeText } from '../../control/cli/nodes.ts';
import { servicesText } from '../../control/cli/services.ts';
import { statusText } from '../../control/cli/status-text.ts';
import { topologyDot } from '../../control/cli/topology-dot.ts';
import { topologyText } from '../../control/cli/topology-text.ts';
import { traceText } from '../../control/cli/trace.ts';
import { readObservedInstance } from '../../control/observed-documents.ts';
import type { ServiceView } from '../../control/services.ts';
import { createStatusReader } from '../../control/status-reader.ts';
import type { Database, StoredDocument } from '../../control/store.ts';
import type { TopologyView } from '../../control/topology.ts';
import type { TraceView } from '../../control/trace.ts';
import { nodeWrites } from '../../control/write-guard.ts';
import {
  applicationView,
  cli,
  fakeDaemon,
  instanceView,
  nodeView,
  statusView,
  temporaryFolder,
  testHost,
} from './cli-harness.ts';
import { createPlannerFixture } from './planner-fixture.ts';
import { applicationRecord, microservice, nodeRecord } from './records.ts';

/** Clears the screen, names the window, begins a sequence in one byte, turns the direction of text, and hides. */
const steering = '\u001b[2J\u001b]0;owned\u0007\u009b31m\u202egniyl\u2066\u200b';
// biome-ignore lint/suspicious/noControlCharactersInRegex: they must not be there.
const steers = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b\u202e\u2066]/;

/** What is no list, no text, no number, or not such a one. */
const odd: unknown[] = [
  null,
  {},
  [],
  7,
  -1,
  1e300,
  true,
  '',
  steering,
  'x'.repeat(50_000),
  [null],
  [[]],
  [{}],
  { a: {} },
];

const link = {
  node: 'box1',
  kind: 'uplink',
  roundTripMs: 3,
  costMicroseconds: 1_500,
  since: 1,
  address: 'a',
  through: 'b',
};

async function fabricWithHostileNode() {
  const planned = await createPlannerFixture();
  await planned.write(nodeRecord('box1', { controller: true }), nodeRecord('evil'));
  await planned.write(applicationRecord('app', [microservice('web', { placement: { node: 'evil' } })]));
  const { planner } = await planned.boot();
  const plan = await planned.planOf('evil');
  const instance = plan?.instances[0]?.name ?? '';
  const version = { epoch: plan?.epoch, term: plan?.term, generation: plan?.generation };
  const honest = {
    node: {
      ...{ node: 'evil', peerId: 'peer-evil', software: '1', startedAt: 0, version, controllerReachable: true },
      ...{ links: [{ ...link, peerId: 'peer-box1' }], addresses: [], problems: [], policy: { allow: [] }, engines: [] },
      ...{ staged: [], at: 5, unreached: [{ peerId: 'peer-box1', reason: 'no', since: 1 }] },
    } as Record<string, unknown>,
    instance: {
      ...{ instance, node: 'evil', engine: 'process', state: 'running', ready: true, reason: '', since: 5 },
      ...{ restarts: 0, specHash: plan?.instances[0]?.specHash, version, exit: { at: 5 }, history: [], limits: 'none' },
      ...{ addresses: [], probes: { liveness: { judgement: 'passing', reason: '', since: 1 } }, pid: 5, failures: 1 },
      ...{ nextTryAt: 7, content: '' },
    } as Record<string, unknown>,
  };
  const mailbox = await planned.mailbox('evil');
  const reader = createStatusReader({
    fabric: planned.fabric,
    mailbox: planned.mailbox,
    identity: { id: 'fabric-1', name: 'home' },
    self: 'box1',
    linked: () => true,
  });
  return { ...planned, planner, mailbox, reader, honest, instance };
}

/** As the guard lets it in. */
async function write(mailbox: Database, id: string, fields: object): Promise<boolean> {
  const document = { _id: id, ...fields } as StoredDocument;
  if ((await nodeWrites('evil')(document, id)) !== undefined) return false;
  await mailbox.update(id, () => document);
  return true;
}

test('attack: whatever an admitted node says of itself, every view is made and every table printed', async (t) => {
  const { mailbox, reader, honest, instance, write: writeRecords, planner, fabric } = await fabricWithHostileNode();
  const host = testHost({ columns: 100 });
  const shownAll = async (what: string): Promise<void> => {
    const status = await reader.status();
    const texts = [statusText(host, status, { all: true }), ...status.nodes.map((node) => nodeText(host, node))];
    for (const { instances } of [...status.nodes, ...status.applications])
      texts.push(...instances.map((one) => instanceText(host, one)));
    const topology = await reader.topology();
    texts.push(topologyText(host, topology, { all: true }), topologyDot(topology));
    texts.push(servicesText(host, await reader.services(), { all: true }));
    const traced = await reader.trace('box1', 'web').catch((error: unknown) => error);
    if (traced instanceof Error) t.is(traced.name, 'NotFoundError', what);
    else texts.push(traceText(host, traced as TraceView, { all: true }));
    for (const text of texts) {
      t.false(steers.test(text), `${what}: ${JSON.stringify(steers.exec(text)?.[0])} reaches the terminal`);
      t.true(text.length < 100_000, `${what}: ${text.length} characters`);
    }
    t.true(texts[0]?.includes('box1'), what);
  };

  let written = 0;
  for (const wanted of [true, false]) {
    // The second time the instance is one that nobody wants there any more.
    if (!wanted) await fabric.remove('application/default/app');
    for (const [field, value] of Object.entries(honest.node)) {
      for (const one of [...odd, ...(Array.isArray(value) ? odd.map((item) => [item]) : [])]) {
        if (await write(mailbox, 'observed/node', { ...honest.node, [field]: one })) written += 1;
        await shownAll(`observed/node ${field} ${JSON.stringify(one)?.slice(0, 60)}`);
      }
    }
    for (const field of Object.keys({ ...link, ...{ peerId: '', router: '', sentBytes: 0, receivedBytes: 0 } })) {
      for (const one of odd) {
        const links = [{ ...link, peerId: 'peer-box1', [field]: one }];
        if (await write(mailbox, 'observed/node', { ...honest.node, links })) written += 1;
        await shownAll(`a link's ${field} ${JSON.stringify(one)?.slice(0, 60)}`);
      }
    }
    await write(mailbox, 'observed/node', honest.node);
    for (const [field, value] of Object.entries(honest.instance)) {
      const nested =
        typeof value === 'object' && value !== null ? odd.map((item) => ({ ...value, liveness: item, at: item })) : [];
      for (const one of [...odd, ...nested, ...odd.map((item) => [item])]) {
        if (await write(mailbox, `observed/instance/${instance}`, { ...honest.instance, [field]: one })) written += 1;
        await shownAll(`observed/instance ${field} ${JSON.stringify(one)?.slice(0, 60)}`);
      }
    }
  }
  t.true(written > 300, `${written} documents were taken`);
  await writeRecords();
  await planner.stop();
});

test('attack: lists of a hostile node lose what is malformed and keep the rest', async (t) => {
  const { mailbox, reader, honest, instance, planner } = await fabricWithHostileNode();
  const bad = { peerId: 'peer-box1', node: 'box1', kind: 'uplink', roundTripMs: 'soon' };
  await write(mailbox, 'observed/node', {
    ...honest.node,
    links: [null, bad, { ...bad, roundTripMs: 3, costMicroseconds: -1, since: 'long', sentBytes: 7 }],
    addresses: [{}, '/ip4/192.0.2.1/tcp/1'],
    problems: [
      { at: 1e300, message: 'late' },
      { at: 5, message: 'true' },
    ],
  });
  const steps = [
    { at: 1, state: 'running', ready: true, reason: 7 },
    { at: 2, state: 'running', ready: true, reason: '' },
  ];
  await write(mailbox, `observed/instance/${instance}`, { ...honest.instance, history: steps });
  const node = await reader.node('evil');
  const [only, ...others] = node?.links ?? [];
  t.like(only, { peerId: 'peer-box1', node: 'box1', kind: 'uplink', roundTripMs: 3, sentBytes: 7 });
  t.deepEqual([only?.costMicroseconds, only?.since, others], [undefined, undefined, []]);
  t.deepEqual(node?.addresses, ['/ip4/192.0.2.1/tcp/1']);
  t.deepEqual(node?.problems, [{ at: 5, message: 'true' }]);
  const view = await reader.instance(instance);
  t.like(view, { state: 'running', ready: true });
  t.deepEqual(view?.history, [{ at: 2, state: 'running', ready: true, reason: '' }]);
  await planner.stop();
  const text = JSON.stringify({ ...honest.instance, _id: `observed/instance/${instance}`, limits: undefined });
  const polluted = text.replace('{', '{"__proto__":{"limits":"polluted"},');
  const read = readObservedInstance(JSON.parse(polluted) as StoredDocument);
  t.like(read, { state: 'running', limits: undefined });
  t.is(({} as { limits?: unknown }).limits, undefined);
});

test('attack: what a node says reaches the terminal of no command as more than text', async (t) => {
  const folder = await temporaryFolder(t);
  const bad = `a${steering}b`;
  const instance = instanceView({
    ...{ name: bad, engine: bad, state: bad as 'running', ready: false, reason: bad, limits: bad },
    addresses: [{ port: bad, host: bad, hostPort: 1 }],
    history: [{ at: 1, state: bad as 'running', ready: false, reason: bad }],
  });
  const node = nodeView({
    ...{ name: bad, peerId: bad, addresses: [bad], location: bad, instances: [instance], engines: [bad] },
    links: [{ peerId: bad, node: bad, kind: bad as 'uplink' }],
    problems: [{ at: 1, message: bad }],
  });
  const services: ServiceView[] = [
    {
      ...{ project: bad, application: bad, service: bad, ports: [{ name: bad, port: 1 }], ready: 0 },
      balancing: { policy: bad as 'closest' },
      endpoints: [
        {
          ...{ instance: bad, node: bad, state: bad as 'running', ready: false, reason: bad },
          passedOver: [{ by: bad, port: 1, reason: bad, failures: 1, until: 5 }],
        },
      ],
      failing: [{ caller: bad, port: bad, reason: bad, since: 1 }],
    },
  ];
  const trace: TraceView = {
    ...{ from: bad, service: bad, arrives: true, balancing: { policy: bad as 'closest' } },
    callers: [
      {
        ...{ instance: bad, node: bad, arrives: false, reason: bad },
        endpoints: [{ instance: bad, node: `${bad}2`, called: false, reason: bad, route: { through: [bad] } }],
      },
    ],
  };
  const topology: TopologyView = {
    ...{ scope: 'fabric', fabric: { id: bad, name: bad }, node: bad, linksLeftOut: 0, islands: [[bad], [bad]] },
    nodes: [
      {
        ...{ name: bad, peerId: bad, router: 'edge', controller: false, state: 'connected', island: 0, links: 1 },
        route: { through: [bad] },
      },
    ],
    links: [{ nodes: [bad, bad], state: bad as 'up', reason: bad, through: bad }],
    unreached: [{ node: bad, peer: bad, reason: bad, since: 1 }],
  };
  const application = applicationView({ instances: [instance], ready: false, reason: bad });
  await fakeDaemon(t, folder, {
    'GET /v1/status': statusView({
      ok: false,
      problems: [bad],
      notices: [bad],
      nodes: [node],
      applications: [application],
    }),
    'GET /v1/topology': topology,
    'GET /v1/services': services,
    'GET /v1/trace/a/b': trace,
    'GET /v1/nodes': [node],
    'GET /v1/nodes/evil': node,
    'GET /v1/pending': [],
    'GET /v1/instances/evil': instance,
    'GET /v1/applications/default/app': application,
    'GET /v1/events': { events: [{ id: '1', at: 1, type: bad, subject: bad, message: bad }] },
    'GET /v1/gone-instances/gone': { name: bad, node: bad, goneAt: 1 },
    'GET /v1/instances/refused/logs': {
      ...{ type: `urn:selvedge:error:${bad}`, title: bad, status: 409, detail: `${bad}\nsecond line`, action: bad },
    },
    'GET /v1/instances/refused': instanceView({ name: 'refused' }),
  });
  const commands = [
    ['status'],
    ['status', '--all'],
    ['nodes', 'list'],
    ['topology', '--all'],
    ['services'],
    ['trace', 'a', 'b'],
    ['describe', 'node', 'evil'],
    ['describe', 'instance', 'evil'],
    ['describe', 'app', 'app'],
    ['apps'],
    ['events'],
    ['wait', 'app', '--timeout', '1ms'],
    ['logs', 'gone'],
    ['logs', 'refused'],
    ['logs', 'nosuch'],
  ];
  for (const command of commands) {
    for (const form of ['table', 'json']) {
      const host = testHost({ columns: 120 });
      const { out, error } = await cli(['-o', form, ...command, '--data', folder], host);
      const printed = `${out}\n${error}`;
      t.true(printed.trim().length > 0, command.join(' '));
      t.false(steers.test(printed), `${command.join(' ')} ${form}: ${JSON.stringify(printed.slice(0, 2_000))}`);
      if (form === 'json' && error === '') t.true(out.includes('\\u202e'), `${command.join(' ')} keeps the value`);
      if (form === 'json' && error === '') t.notThrows(() => JSON.parse(out), command.join(' '));
    }
  }
  const refused = await cli(['logs', 'refused', '--data', folder]);
  t.regex(refused.error, /\nsecond line/, 'lines stay lines');
});

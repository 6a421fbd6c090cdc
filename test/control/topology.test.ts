// The fabric's graph from documents: what both ends of a link say, what one says, what is old, islands, and the ways over it.

import test from 'ava';
import { topologyDot } from '../../control/cli/topology-dot.ts';
import { topologyText } from '../../control/cli/topology-text.ts';
import type { NodeRecord, ObservedLink, ObservedNode } from '../../control/fabric.ts';
import { type TopologyFacts, topologyOf } from '../../control/topology.ts';
import { pathsFrom } from '../../control/topology-paths.ts';
import { cli, fakeDaemon, temporaryFolder, testHost } from './cli-harness.ts';
import { nodeRecord } from './records.ts';

type Said = Record<string, Partial<ObservedLink>>;

/** What each node says: by the name of the far end. Routers' names begin with r. */
function facts(
  said: Record<string, Said | undefined>,
  more: { deaf?: string[]; records?: NodeRecord[]; unreached?: string } = {},
): TopologyFacts {
  const { deaf = [], records = [], unreached } = more;
  const names = Object.keys(said);
  const router = (name: string) => (name.startsWith('r') ? 'interior' : 'edge');
  const observed = (name: string): ObservedNode | undefined => {
    const links = said[name];
    if (links === undefined) return undefined;
    const own = Object.entries(links).map(([node, link]): ObservedLink => {
      return { peerId: `peer-${node}`, node, kind: 'direct', costMicroseconds: 1_000, since: 7, ...link };
    });
    return {
      ...{ _id: 'observed/node', node: name, peerId: `peer-${name}`, software: '1', startedAt: 0, at: 40 },
      ...{ controllerReachable: true, links: own, addresses: [], problems: [] },
      ...(unreached !== undefined && { unreached: [{ peerId: `peer-${unreached}`, reason: 'no answer', since: 3 }] }),
    };
  };
  return {
    fabric: { id: 'f', name: 'plant' },
    self: names[0] ?? '',
    nodes: [...names.map((name) => nodeRecord(name, { router: router(name) })), ...records],
    mailboxes: new Map(names.map((name) => [name, { plan: undefined, node: observed(name), instances: [] }])),
    linked: (peerId) => !deaf.includes(peerId.slice('peer-'.length)),
    lastSeenAt: (peerId) => (peerId === 'peer-gone' ? 30 : undefined),
  };
}

test('a link that both ends say is up, with the dearer cost, the later start and what it carried each way', (t) => {
  const view = topologyOf(
    facts({
      r1: { edge: { costMicroseconds: 900, since: 5, roundTripMs: 0.4, sentBytes: 10, receivedBytes: 70 } },
      edge: { r1: { costMicroseconds: 1_200, since: 6, roundTripMs: 0.6, sentBytes: 80, receivedBytes: 9 } },
    }),
  );
  t.deepEqual(view.links, [
    {
      ...{ nodes: ['edge', 'r1'], state: 'up', reason: '', costMicroseconds: 1_200, roundTripMs: 0.6, since: 6 },
      bytes: [80, 10],
    },
  ]);
  t.like(view, { scope: 'fabric', node: 'r1', islands: [], linksLeftOut: 0, unreached: [] });
  t.deepEqual(
    view.nodes.map(({ name, links, route, state, saidAt }) => ({ name, links, route, state, saidAt })),
    [
      { name: 'r1', links: 1, route: undefined, state: 'connected', saidAt: 40 },
      { name: 'edge', links: 1, route: { costMicroseconds: 1_200, through: [] }, state: 'connected', saidAt: 40 },
    ],
  );
});

const stateCases: { title: string; said: Record<string, Said | undefined>; deaf: string[]; link: unknown[] }[] = [
  {
    title: 'one end says so and the other, which is heard, does not',
    said: { r1: {}, a: { b: {} }, b: {} },
    deaf: [],
    link: ['one-sided', 'a says so, b does not'],
  },
  {
    title: 'one end says so and the other is not heard',
    said: { r1: {}, a: { b: {} }, b: {} },
    deaf: ['b'],
    link: ['up', 'a says so; b is not heard'],
  },
  {
    title: 'the end that is heard says that there is none',
    said: { r1: {}, a: { b: {} }, b: {} },
    deaf: ['a'],
    link: [],
  },
  {
    title: 'neither end is heard',
    said: { r1: {}, a: { b: {} }, b: { a: {} } },
    deaf: ['a', 'b'],
    link: ['stale', 'as a and b said when last heard'],
  },
  { title: 'a node has said nothing at all', said: { r1: {}, a: undefined, b: {} }, deaf: [], link: [] },
];
for (const { title, said, deaf, link } of stateCases) {
  test(`what is known of a link when ${title}`, (t) => {
    const { links } = topologyOf(facts(said, { deaf }));
    t.deepEqual(
      links.flatMap(({ state, reason }) => [state, reason]),
      link,
    );
  });
}

test('links to strangers, revoked nodes and itself, and a second word about one link, count for nothing', (t) => {
  const revoked = nodeRecord('bad', {
    revoked: { at: 1, reason: '', sequence: 1 } as NonNullable<NodeRecord['revoked']>,
  });
  const given = facts({ r1: { a: {}, bad: {}, stranger: {}, r1: {} }, a: { r1: {} } }, { records: [revoked] });
  given.mailboxes.get('r1')?.node?.links.push({ peerId: 'peer-a', node: 'a', kind: 'direct', costMicroseconds: 9_000 });
  const { links, nodes } = topologyOf(given);
  t.deepEqual(
    links.map((link) => [link.nodes, link.costMicroseconds]),
    [[['a', 'r1'], 1_000]],
  );
  t.deepEqual(
    nodes.map(({ name }) => name),
    ['r1', 'a'],
  );
});

test('islands: what is linked, or was when last heard; the first has the node that answers', (t) => {
  const given = facts(
    { b: { r1: {} }, r1: { b: {} }, gone: { r2: {} }, r2: { gone: {} }, lost: {} },
    { deaf: ['gone', 'r2', 'lost'] },
  );
  const { islands, nodes } = topologyOf(given);
  t.deepEqual(islands, [['b', 'r1'], ['gone', 'r2'], ['lost']]);
  const seen = new Map(nodes.map((node) => [node.name, node.lastSeenAt]));
  t.deepEqual(
    [seen.get('gone'), seen.get('r2'), seen.get('r1')],
    [30, 40, undefined],
    'known here, or by what it wrote',
  );
});

test('a link through others says through whom, and in the words of both ends why not directly', async (t) => {
  const through = { through: 'peer-r1', costMicroseconds: 1_000 };
  const view = topologyOf(
    facts({
      r1: { a: {}, b: {} },
      a: { r1: {}, b: { ...through, indirect: 'no address answered' } },
      b: { r1: {}, a: { ...through, indirect: 'it is on another network' } },
    }),
  );
  const link = view.links.find(({ nodes }) => nodes.join() === 'a,b');
  t.is(link?.through, 'r1');
  t.deepEqual(link?.indirect, [
    { node: 'a', reason: 'no address answered' },
    { node: 'b', reason: 'it is on another network' },
  ]);
  t.regex(
    topologyText(testHost(), view, { all: true }).replaceAll(/\s+/g, ' '),
    /a - b up .*through r1, as a does not reach b: no address answered/,
  );
  const untried = topologyOf(facts({ r1: {}, a: { b: through }, b: { a: through } })).links;
  t.is(untried[0]?.indirect, undefined);
  const direct = topologyOf(facts({ r1: {}, a: { b: { indirect: 'as it was' } }, b: { a: {} } })).links;
  t.is(direct[0]?.indirect, undefined, 'of a link that is direct nothing is said');
});

test('who cannot reach whom is told by names, and not in the words of nodes that are not heard', (t) => {
  const given = facts({ r1: {}, a: {}, b: {} }, { deaf: ['b'], unreached: 'a' });
  t.deepEqual(topologyOf(given).unreached, [
    { node: 'r1', peer: 'a', reason: 'no answer', since: 3 },
    { node: 'a', peer: 'a', reason: 'no answer', since: 3 },
  ]);
});

test('ways: least cost, never through an edge node, nor over what is one-sided, stale or carried by others', (t) => {
  const nodes = ['a', 'b', 'c', 'r1', 'r2', 'r3'].map(
    (name) => ({ name, router: name.startsWith('r') ? 'interior' : 'edge' }) as const,
  );
  const link = (one: string, other: string, costMicroseconds?: number, more = {}) =>
    ({ nodes: [one, other], state: 'up', reason: '', ...(costMicroseconds && { costMicroseconds }), ...more }) as const;
  const links = [
    ...[link('a', 'r1', 10), link('r1', 'r2', 10), link('r2', 'r3', 10), link('r1', 'r3', 50), link('r3', 'b', 10)],
    ...[link('a', 'b', 5_000), link('a', 'c', 1), link('c', 'b', 1)],
    link('a', 'r3', 1, { state: 'stale' }),
    link('a', 'r2', 1, { state: 'one-sided' }),
    link('a', 'r3', 1, { through: 'r1' }),
  ] as unknown as Parameters<typeof pathsFrom>[2];
  const ways = pathsFrom('a', nodes, links);
  t.deepEqual(ways.get('b'), { costMicroseconds: 40, through: ['r1', 'r2', 'r3'] });
  t.deepEqual(ways.get('c'), { costMicroseconds: 1, through: [] });
  t.deepEqual(ways.get('a'), { costMicroseconds: 0, through: [] });
  const unknown = pathsFrom('a', nodes, [link('a', 'r1'), link('r1', 'b', 3)] as unknown as typeof links);
  t.deepEqual(unknown.get('b'), { through: ['r1'] }, 'the cost of one of its links was not said yet');
  t.is(unknown.get('r2'), undefined);
});

test('a graph of a thousand nodes is put together', (t) => {
  const edges = Array.from({ length: 1_000 }, (_, index) => `edge-${index}`);
  const routers = ['r1', 'r2', 'r3'];
  const up = Object.fromEntries(routers.map((name) => [name, {}]));
  const said: Record<string, Said> = Object.fromEntries([
    ...routers.map((name) => [
      name,
      Object.fromEntries([...edges, ...routers.filter((one) => one !== name)].map((one) => [one, {}])),
    ]),
    ...edges.map((name) => [name, up]),
  ]);
  const view = topologyOf(facts(said));
  t.is(view.links.length, 3_003);
  t.true(view.nodes.every(({ name, route }) => name === 'r1' || route?.costMicroseconds === 1_000));
  const host = testHost();
  const text = topologyText(host, view, { all: false });
  t.true(text.split('\n').length < 420 && /and 2803 more \(--all shows them\)/.test(text));
  t.true(topologyText(host, view, { all: true }).split('\n').length > 4_000);
});

test('dot: a graph whose names cannot leave their quotes', (t) => {
  const name = 'a"];x\\N\n\u001b[2Jb';
  const view = topologyOf(facts({ r1: { [name]: { sentBytes: 5, receivedBytes: 6 } }, [name]: { r1: {} } }));
  const lines = topologyDot({ ...view, fabric: { id: 'f', name: 'digraph {"' }, islands: [['r1'], [name]] }).split(
    '\n',
  );
  const string = '"(?:[^"\\\\]|\\\\.)*"';
  const attributes = `\\[label=${string}, style=(?:${string}|\\w+)\\];`;
  const forms = [
    `graph ${string} \\{`,
    '  node \\[shape=box, fontname="sans-serif"\\];',
    `  ${string} ${attributes}`,
    `  ${string} -- ${string} ${attributes}`,
    `  subgraph ${string} \\{ label=${string}; ${string} \\}`,
    '\\}',
  ];
  for (const line of lines) t.regex(line, new RegExp(`^(?:${forms.join('|')})$`));
  t.true(lines.some((line) => line.includes('a\\"];x\\\\N')));
});

test('the command prints a table, JSON or dot, and refuses other forms', async (t) => {
  const folder = await temporaryFolder(t);
  const view = topologyOf(facts({ r1: { edge: {} }, edge: { r1: {} }, gone: {} }, { deaf: ['gone'] }));
  await fakeDaemon(t, folder, { 'GET /v1/topology': view });
  const shown = await cli(['topology', '--data', folder]);
  t.is(shown.status, 0);
  t.regex(shown.out, /edge - r1 +up +1\.00 ms/);
  t.regex(shown.out, /2 islands, with no link between them:/);
  t.regex(shown.out, /gone +unreachable/);
  for (const form of [
    ['topology', '-o', 'json'],
    ['-o', 'json', 'topology'],
  ]) {
    const { out } = await cli([...form, '--data', folder]);
    t.deepEqual(JSON.parse(out), JSON.parse(JSON.stringify(view)));
  }
  const dot = await cli(['topology', '-o', 'dot', '--data', folder]);
  t.regex(dot.out, /^graph "plant" \{\n[\s\S]*"peer-edge" -- "peer-r1" \[label="1\.00 ms", style=solid\];[\s\S]*\}$/);
  const elsewhere = await cli(['status', '-o', 'dot', '--data', folder]);
  t.deepEqual([elsewhere.status, elsewhere.out], [2, '']);
  t.regex(elsewhere.error, /status has no form for Graphviz[\s\S]*-o json/);
  t.is((await cli(['topology', '-o', 'svg', '--data', folder])).status, 2);
});

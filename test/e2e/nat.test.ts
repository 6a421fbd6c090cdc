// Nodes behind routers that translate addresses, as at home: two such networks that even use the same addresses, a fabric on a network in
// between, and a box there whose firewall lets nothing but the mesh's port in. Real daemons and iptables in network namespaces.

import { execFileSync } from 'node:child_process';
import test from 'ava';
import type { TopologyLink } from '../../control/topology.ts';
import { namespacesMissing } from '../mesh/namespaces.ts';
import { skip } from '../skip.ts';
import { selvedge } from './command.ts';
import { waitFor } from './fabric.ts';
import { createPlace, tokenFor } from './place.ts';
import { tell } from './story.ts';

const meshPort = 7433;
const tunnelPort = 7434;

function iptablesMissing(): string | undefined {
  try {
    execFileSync('iptables', ['--version'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'iptables is not installed';
  }
}
const missing = namespacesMissing() ?? iptablesMissing();

const inBox = (box: string, ...command: string[]): string =>
  execFileSync('ip', ['netns', 'exec', box, ...command], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

/** Lets out whatever begins inside, under its own address, and in what answers that: nothing begins outside. */
function translate(box: string, inside: string, outside: string): void {
  inBox(box, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
  for (const rule of [
    ['-t', 'nat', '-A', 'POSTROUTING', '-o', outside, '-j', 'MASQUERADE'],
    ['-P', 'FORWARD', 'DROP'],
    ['-A', 'FORWARD', '-i', inside, '-j', 'ACCEPT'],
    ['-A', 'FORWARD', '-m', 'conntrack', '--ctstate', 'ESTABLISHED,RELATED', '-j', 'ACCEPT'],
  ])
    inBox(box, 'iptables', '-w', ...rule);
}

/** From others only what goes to this TCP port, and what answers. */
function letIn(box: string, port: number): void {
  for (const rule of [
    ['-A', 'INPUT', '-i', 'lo', '-j', 'ACCEPT'],
    ['-A', 'INPUT', '-m', 'conntrack', '--ctstate', 'ESTABLISHED,RELATED', '-j', 'ACCEPT'],
    ['-A', 'INPUT', '-p', 'tcp', '--dport', String(port), '-j', 'ACCEPT'],
    ['-A', 'INPUT', '-p', 'tcp', '--dport', String(tunnelPort), '-j', 'DROP'],
    ['-P', 'INPUT', 'DROP'],
  ])
    inBox(box, 'iptables', '-w', ...rule);
}

/** Packets that a rule of the chain INPUT for this port has met. */
function met(box: string, port: number): number {
  const line = inBox(box, 'iptables', '-w', '-nvxL', 'INPUT')
    .split('\n')
    .find((one) => one.includes(`dpt:${port}`));
  return Number(line?.trim().split(/\s+/)[0]);
}

const server = `require("node:http").createServer((request, response) => response.end("hello of " + process.env.NODE_NAME))
  .listen(process.env.PORT, process.env.HOST)`;
/** Prints `<service>: <answer>`, again and again. */
const caller = `const ask = async (service) => {
    const text = await fetch("http://" + service + ":8080/", { signal: AbortSignal.timeout(20000), headers: { connection: "close" } })
      .then((response) => response.text(), () => "failed");
    console.log(service + ": " + text);
    setTimeout(ask, 500, service);
  };
  for (const service of process.env.CALLS.split(",")) void ask(service)`;

const serverOn = (node: string): string => `
    - name: on-${node}
      engine: process
      command: [node, -e, ${JSON.stringify(server)}]
      env: { NODE_NAME: ${node} }
      ports: [{ name: http, port: 8080 }]
      placement: { node: ${node} }`;
const callerOn = (node: string, services: readonly string[]): string => `
    - name: ${node}-calls
      engine: process
      command: [node, -e, ${JSON.stringify(caller)}]
      env: { CALLS: '${services.join()}' }
      placement: { node: ${node} }
      dependsOn: [${services.join(', ')}]`;

const application = (name: string, ...microservices: string[]): string => `---
apiVersion: selvedge/v1
kind: Application
metadata: { name: ${name} }
spec:
  microservices:${microservices.join('')}
`;

/** Nodes want links to those whose services their applications may call: here both to each other, and then one to another that wants none back. */
const manifest = [
  application(
    'apart',
    ...[serverOn('left'), serverOn('right'), callerOn('left', ['on-right', 'twice']), callerOn('right', ['on-left'])],
    // One behind each of the two translating routers, and so at one address.
    `
    - name: twice
      engine: process
      replicas: 2
      command: [node, -e, ${JSON.stringify(server.replace('NODE_NAME', 'SELVEDGE_INSTANCE'))}]
      ports: [{ name: http, port: 8080 }]
      placement: { labels: { behind: nat } }`,
  ),
  application('inward', serverOn('right'), callerOn('open', ['on-right'])),
  application('outward', serverOn('open'), callerOn('left', ['on-open'])),
].join('');

test('nodes behind translating routers call and are called, directly where one of two can dial, else through a router, which says why', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const place = await createPlace(t);
  const { namespaces } = place;
  const between = namespaces.lan();
  const [hub, open] = [namespaces.box(), namespaces.box()];
  between.attach(hub, 'eth0', ['203.0.113.1/24']);
  between.attach(open, 'eth0', ['203.0.113.2/24']);
  letIn(open, meshPort);
  /** A network of its own behind a router, which has this address between. */
  const home = (outside: string): string => {
    const [lan, router, box] = [namespaces.lan(), namespaces.box(), namespaces.box()];
    lan.attach(router, 'eth0', ['192.168.1.1/24']);
    between.attach(router, 'eth1', [`${outside}/24`]);
    translate(router, 'eth0', 'eth1');
    lan.attach(box, 'eth0', ['192.168.1.2/24']);
    namespaces.ip(box, 'route', 'add', 'default', 'via', '192.168.1.1');
    return box;
  };
  const [left, right] = [home('203.0.113.11'), home('203.0.113.12')];
  const onPort = ['--port', String(meshPort)];

  const controller = place.up('hub', hub, { options: ['--found', '--fabric', 'homes', ...onPort] });
  await step('a fabric, and three nodes that join it at its address', async () => {
    await controller.answers();
    await Promise.all(
      Object.entries({ left, right, open }).map(async ([name, box]) => {
        const token = await tokenFor(controller, 'edge', name === 'open' ? {} : { behind: 'nat' });
        const options = ['--join', `203.0.113.1:${meshPort}`, ...onPort];
        await place.up(name, box, { options, token }).event('linked');
      }),
    );
    await place.apply('hub', manifest);
  });

  await step(
    'each call is answered, from behind one router to behind the other and back, and from the open network in',
    async () => {
      const answered = async (name: string, application: string, ...lines: string[]) =>
        waitFor(`${name} to print ${lines}`, async () => {
          const printed = await place.printed(name, `${name}-calls`, application);
          if (lines.every((line) => printed.includes(line))) return true;
          throw new Error(printed.slice(-5).join('; '));
        });
      await answered('left', 'apart', 'on-right: hello of right');
      await answered('right', 'apart', 'on-left: hello of left');
      await answered('open', 'inward', 'on-right: hello of right');
      await answered('left', 'outward', 'on-open: hello of open');
      // Where the same addresses lead to its own box, it is not its own instance that answers for the other one.
      const each = [0, 1].map((index) => `twice: hello of default.apart.twice.${index}`);
      await answered('left', 'apart', ...each);
    },
  );

  await step(
    'the links are direct where one end can dial the other, whoever wanted it, and topology says why one is not',
    async () => {
      const between = (links: readonly TopologyLink[], one: string, other: string) =>
        links.find(({ nodes }) => nodes.includes(one) && nodes.includes(other));
      const why = 'its addresses are those of this node: it is on another network';
      // Together: on a box that is busy with other tests a link may go and come back between two looks.
      await waitFor('the links, in all forms', async () => {
        const { links } = await controller.client.topology();
        const direct = [between(links, 'open', 'right'), between(links, 'open', 'left')];
        const both = between(links, 'left', 'right');
        const told = both?.indirect?.map(({ node, reason }) => `${node}: ${reason}`).sort();
        const holds =
          direct.every((link) => link?.state === 'up' && link.through === undefined) &&
          both?.through === 'hub' &&
          told?.join() === [`left: ${why}`, `right: ${why}`].join();
        if (!holds) throw new Error(JSON.stringify(links));
        const forms = [
          await selvedge(place.data('hub'), 'topology'),
          await selvedge(place.data('left'), 'topology'),
          await selvedge(place.data('hub'), 'trace', 'apart.left-calls', 'apart.on-right'),
        ].map(({ out }) => out);
        const wanted = [
          /through hub, as (left|right) does not reach (left|right): its addresses are those of this node/,
          /through hub, as left does not reach right: its addresses are those of this node/,
          /left > hub > right/,
        ];
        for (const [index, pattern] of wanted.entries())
          if (!pattern.test(forms[index] ?? '')) throw new Error(forms[index]);
        return true;
      });
    },
  );

  await step('the router goes: what is linked directly goes on without it', async () => {
    // A session is on the direct link a second after that is there.
    namespaces.ip(hub, 'link', 'set', 'eth0', 'down');
    const printed = async (): Promise<string[]> => place.printed('right', 'right-calls');
    await waitFor('calls through it to fail', async () => (await printed()).at(-1) === 'on-left: failed');
    for (const [name, application, line] of [
      ['open', 'inward', 'on-right: hello of right'],
      ['left', 'outward', 'on-open: hello of open'],
    ] as const) {
      const before = (await place.printed(name, `${name}-calls`, application)).length;
      await waitFor(`${name} to be answered`, async () => {
        const since = (await place.printed(name, `${name}-calls`, application)).slice(before);
        return since.filter((one) => one === line).length >= 5;
      });
    }
    namespaces.ip(hub, 'link', 'set', 'eth0', 'up');
  });

  await step('the open box got calls through the mesh’s port alone', () => {
    t.true(met(open, tunnelPort) > 0, 'the tunnel’s own port was tried, and is closed');
    return Promise.resolve();
  });
});

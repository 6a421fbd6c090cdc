// Networks that cannot reach each other, and routers between them: what runs on both sides calls by name, through one router and through two, and
// nodes reach their controller the same way, and nothing of a call can be read on a router. Real daemons in network namespaces without a
// default route.

import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { StatusView } from '../../control/views.ts';
import { type Captured, captureMissing, formsFound, startCapture } from '../mesh/capture.ts';
import { namespacesMissing } from '../mesh/namespaces.ts';
import { skip } from '../skip.ts';
import { selvedgeJson } from './command.ts';
import { waitFor } from './fabric.ts';
import { createPlace, type Place, tokenFor } from './place.ts';
import { tell } from './story.ts';

const missing = namespacesMissing() ?? captureMissing();

/** What is sent and answered: random, so that it is nowhere by chance, and so often that some of it is whole in a packet. */
const question = `question-${randomBytes(16).toString('hex')}`;
const answer = `answer-${randomBytes(16).toString('hex')}`;
const repeats = 2_000;
const path = `/path-${randomBytes(8).toString('hex')}`;

const server = `const http = require("node:http");
  http.createServer((request, response) => {
    if (request.method === "GET") return response.end("hello of " + process.env.WHO);
    let length = 0;
    request.on("data", (data) => { length += data.length; });
    request.on("end", () => response.end(("${answer} " + length + "\\n").repeat(${repeats})));
  }).listen(process.env.PORT, process.env.HOST)`;
const caller = `const signal = () => AbortSignal.timeout(20000);
  const body = "${question}\\n".repeat(${repeats});
  const ask = async () => {
    try {
      console.log(await (await fetch("http://server:8080/", { signal: signal() })).text());
      const text = await (await fetch("http://server:8080${path}", { method: "POST", body, signal: signal() })).text();
      const whole = text === ("${answer} " + body.length + "\\n").repeat(${repeats});
      console.log(whole ? "carried" : "carried something else: " + text.slice(0, 200));
    } catch {
      console.log("failed");
    }
    setTimeout(ask, 200);
  };
  ask()`;

const manifest = (who: string): string => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: apart }
spec:
  microservices:
    - name: server
      engine: process
      command: [node, -e, ${JSON.stringify(server)}]
      env: { WHO: ${who} }
      ports: [{ name: http, port: 8080 }]
      placement: { node: right }
    - name: caller
      engine: process
      command: [node, -e, ${JSON.stringify(caller)}]
      placement: { node: left }
      dependsOn: [server]
`;

const apply = (place: Place, controller: string, who: string) => place.apply(controller, manifest(who));

/** What the caller was greeted with last. */
async function lastHello(place: Place): Promise<string> {
  return (await place.printed('left', 'caller')).findLast((line) => line.startsWith('hello')) ?? '';
}

/**
 * Calls go on while the routers' interfaces are watched, and those of the calling box, its loopback included, where what is looked for must be
 * found. `ways`: between which addresses the calls are carried.
 */
async function nothingIsRead(
  t: ExecutionContext,
  place: Place,
  { boxes, caller: plain, ways }: { boxes: readonly string[]; caller: string; ways: readonly string[] },
): Promise<void> {
  const captures = await Promise.all(
    [plain, ...boxes].map((box) => startCapture(t, box, join(place.data('left'), `${box}.pcap`))),
  );
  const before = (await place.printed('left', 'caller')).length;
  await waitFor('calls with much to carry', async () => {
    const since = (await place.printed('left', 'caller')).slice(before);
    return since.filter((line) => line === 'carried').length >= 2;
  });
  const carriedIn = ({ bytes }: Captured): number =>
    ways.filter((way) => (bytes.get(way) ?? 0) > repeats * question.length).length;
  const [control, ...onRouters] = await Promise.all(
    captures.map(async (capture, index) => {
      const isWhole = async () => index === 0 || carriedIn(await capture.now()) >= 4;
      await waitFor(`what was carried in and out, there and back, in capture ${index}`, isWhole);
      return capture.end();
    }),
  );
  const secrets = [question, answer, path, 'hello of ', 'server:8080', 'HTTP/1.1'];
  for (const secret of secrets)
    t.true(
      control !== undefined && formsFound(control, secret).includes('plain'),
      `${secret} is there before it leaves`,
    );
  for (const captured of onRouters) {
    for (const secret of [...secrets, 'server.apart', 'apart.default'])
      t.deepEqual(formsFound(captured, secret), [], secret);
  }
}

const bothWays = (one: string, other: string): string[] => [`${one} > ${other}`, `${other} > ${one}`];

test('what is looked for in a capture is found in each form', (t) => {
  const text = 'a marker of some length';
  const forms: [string, string][] = [
    ['plain', text],
    ['hexadecimal', Buffer.from(text).toString('hex')],
    ...[0, 1, 2].map((before): [string, string] => [
      `base64 at ${before}`,
      Buffer.from(`${'x'.repeat(before)}${text}, and more`).toString('base64'),
    ]),
  ];
  for (const [name, form] of forms)
    t.true(formsFound({ payload: Buffer.from(`before ${form} after`) }, text).includes(name), name);
  t.deepEqual(formsFound({ payload: Buffer.from('a marker of some other length') }, text), []);
});

test('two networks with one router between them: calls by name, in both directions of the control plane', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const place = await createPlace(t);
  const { namespaces } = place;
  const [one, two] = [namespaces.lan(), namespaces.lan()];
  const [left, middle, right] = [namespaces.box(), namespaces.box(), namespaces.box()];
  one.attach(left, 'eth0', ['10.1.0.1/24']);
  one.attach(middle, 'eth0', ['10.1.0.254/24']);
  two.attach(middle, 'eth1', ['10.2.0.254/24']);
  two.attach(right, 'eth0', ['10.2.0.1/24']);

  const router = place.up('middle', middle, { options: ['--found', '--fabric', 'apart'] });
  await step('a router that founds, and a node on each of its networks', async () => {
    await router.answers();
    for (const [name, box] of [
      ['left', left],
      ['right', right],
    ] as const)
      await place.up(name, box, { token: await tokenFor(router, 'edge') }).event('linked');
  });

  await step('the caller gets its answers from the other network', async () => {
    await apply(place, 'middle', 'first');
    await waitFor('an answer', async () => (await lastHello(place)) === 'hello of first');
    const [seen] = (await selvedgeJson<StatusView>(place.data('left'), 'status')).nodes;
    const names = (seen?.links ?? []).map(({ node }) => node).sort();
    t.deepEqual(names, ['middle', 'right'], 'one link of its own, one through it');
  });

  await step('a new version is called without another word', async () => {
    await apply(place, 'middle', 'second');
    await waitFor('its answer', async () => (await lastHello(place)) === 'hello of second');
  });

  await step('who watches the router sees that much is carried, and nothing of what', async () => {
    const ways = [...bothWays('10.1.0.1', '10.1.0.254'), ...bothWays('10.2.0.254', '10.2.0.1')];
    await nothingIsRead(t, place, { boxes: [middle], caller: left, ways });
  });
});

test('a chain of two routers: a node that moves behind the second one is called, and hears of its controller, through both', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const place = await createPlace(t);
  const { namespaces } = place;
  const [one, two, three] = [namespaces.lan(), namespaces.lan(), namespaces.lan()];
  const [left, near, far, right] = [namespaces.box(), namespaces.box(), namespaces.box(), namespaces.box()];
  one.attach(left, 'eth0', ['10.1.0.1/24']);
  one.attach(near, 'eth0', ['10.1.0.254/24']);
  two.attach(near, 'eth1', ['10.2.0.1/24']);
  two.attach(far, 'eth0', ['10.2.0.2/24']);
  three.attach(far, 'eth1', ['10.3.0.254/24']);
  one.attach(right, 'eth0', ['10.1.0.2/24']);

  const controller = place.up('near', near, { options: ['--found', '--fabric', 'chain'] });
  await step('a controller, a second router, and a node on each side, one of them not in its place yet', async () => {
    await controller.answers();
    await place.up('far', far, { token: await tokenFor(controller, 'interior') }).event('linked');
    await place.up('left', left, { token: await tokenFor(controller, 'edge') }).event('linked');
    await place.up('right', right, { token: await tokenFor(controller, 'edge') }).event('linked');
    await apply(place, 'near', 'first');
    await waitFor('an answer', async () => (await lastHello(place)) === 'hello of first');
  });

  await step('it is carried to the network behind the second router', async () => {
    namespaces.ip(right, 'link', 'del', 'eth0');
    three.attach(right, 'eth1', ['10.3.0.1/24']);
    await waitFor('its controller to miss it or to have it again behind the other router', async () => {
      const { nodes } = await controller.client.status();
      return nodes.some(({ name, links }) => name === 'far' && links.some(({ node }) => node === 'right'));
    });
  });

  await step('what is applied reaches it through both routers, and so do calls', async () => {
    await apply(place, 'near', 'second');
    await waitFor('its answer', async () => (await lastHello(place)) === 'hello of second');
  });

  await step('who watches either router sees that much is carried, and nothing of what', async () => {
    const ways = [
      ...bothWays('10.1.0.1', '10.1.0.254'),
      ...bothWays('10.2.0.1', '10.2.0.2'),
      ...bothWays('10.3.0.254', '10.3.0.1'),
    ];
    await nothingIsRead(t, place, { boxes: [near, far], caller: left, ways });
  });
});

// An admitted router that turns on those whose streams it carries: it flips bits, repeats, reorders, leaves out, swaps, is silent, and answers in
// others' names. The ends notice and say so, what arrives is what was sent or nothing, it reads nothing, and another router is taken where
// there is one. Real daemons in network namespaces; the hostile one is the real one with its forwarder wrapped (hostile-forwarder.ts).

import { randomBytes } from 'node:crypto';
import { readFile, rename, stat, writeFile } from 'node:fs/promises';
import test from 'ava';
import { formsFound } from '../mesh/capture.ts';
import { namespacesMissing } from '../mesh/namespaces.ts';
import { skip } from '../skip.ts';
import { waitFor } from './fabric.ts';
import { type HarmDone, hostileEnv } from './hostile-forwarder.ts';
import { createPlace, tokenFor } from './place.ts';
import { tell } from './story.ts';

const missing = namespacesMissing();

const question = `question-${randomBytes(16).toString('hex')}`;
const answer = `answer-${randomBytes(16).toString('hex')}`;

/** Both print whether what came is what was sent, and nothing else counts: half a question is none. */
const server = `const wanted = "${question} ".repeat(200);
  require("node:http").createServer(async (request, response) => {
    try {
      const got = Buffer.concat(await request.toArray()).toString();
      console.log(got === wanted ? "right" : "wrong: " + got);
      response.end("${answer} ".repeat(200));
    } catch {
      console.log("failed");
    }
  }).listen(process.env.PORT, process.env.HOST)`;
const caller = `const ask = async () => {
    try {
      const options = { method: "POST", body: "${question} ".repeat(200), signal: AbortSignal.timeout(10000) };
      const text = await (await fetch("http://server:8080/", options)).text();
      console.log(text === "${answer} ".repeat(200) ? "right" : "wrong: " + text);
    } catch {
      console.log("failed");
    }
    setTimeout(ask, 200);
  };
  ask()`;

const manifest = `
apiVersion: selvedge/v1
kind: Application
metadata: { name: apart }
spec:
  microservices:
    - name: server
      engine: process
      command: [node, -e, ${JSON.stringify(server)}]
      ports: [{ name: http, port: 8080 }]
      placement: { node: right }
    - name: caller
      engine: process
      command: [node, -e, ${JSON.stringify(caller)}]
      placement: { node: left }
      dependsOn: [server]
`;

const harms: readonly HarmDone[] = ['flips', 'replays', 'reorders', 'leaves out', 'swaps', 'impersonates', 'is silent'];

test('a router that harms what it carries is noticed, gets and changes nothing, and is passed by where there is another', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const place = await createPlace(t);
  const { namespaces } = place;
  const [one, two] = [namespaces.lan(), namespaces.lan()];
  const [left, right, good, evil] = [namespaces.box(), namespaces.box(), namespaces.box(), namespaces.box()];
  one.attach(left, 'eth0', ['10.1.0.1/24']);
  one.attach(good, 'eth0', ['10.1.0.253/24']);
  one.attach(evil, 'eth0', ['10.1.0.254/24']);
  two.attach(good, 'eth1', ['10.2.0.253/24']);
  two.attach(evil, 'eth1', ['10.2.0.254/24']);
  two.attach(right, 'eth0', ['10.2.0.1/24']);

  const files = { order: place.data('order'), seen: place.data('seen') };
  const order = async (harm: HarmDone): Promise<void> => {
    await writeFile(`${files.order}.new`, harm);
    await rename(`${files.order}.new`, files.order);
  };
  const answers = async () => place.printed('left', 'caller');
  const answered = async (what: string) => {
    const before = (await answers()).length;
    await waitFor(what, async () => (await answers()).slice(before).includes('right'));
  };
  const link = async () => {
    const { links } = await controller.client.topology();
    return links.find(({ nodes, state }) => state === 'up' && nodes.includes('left') && nodes.includes('right'));
  };

  // To it the way by the hostile one is shorter as well: only who was harmed knows better.
  const costs = ['--link-cost', 'right=50ms'];
  const controller = place.up('good', good, { options: ['--found', '--fabric', 'carried', ...costs] });
  const ends = await step('a controller, a router that is hostile, and a node on each of two networks', async () => {
    await controller.answers();
    const token = await tokenFor(controller, 'interior');
    await place.up('evil', evil, { token, env: hostileEnv(files.order, files.seen) }).event('linked');
    // Dear enough that the hostile one is the way to take.
    const options = ['--link-cost', 'good=200ms'];
    const daemons = [
      place.up('left', left, { options, token: await tokenFor(controller, 'edge') }),
      place.up('right', right, { options, token: await tokenFor(controller, 'edge') }),
    ];
    await Promise.all(daemons.map((daemon) => daemon.event('linked')));
    await place.apply('good', manifest);
    return daemons;
  });

  await step('calls are answered while it does no harm', async () => {
    await waitFor('an answer', async () => (await answers()).includes('right'));
  });

  await step('the other way is cut, so that it carries them', async () => {
    namespaces.ip(good, 'link', 'set', 'eth1', 'down');
    await answered('calls to go on');
    t.true((await stat(files.seen)).size > 0);
  });

  for (const harm of harms) {
    // By way of the other router there is a way to it as well.
    await step(`it ${harm}: the ends notice, and no wrong byte arrives`, async () => {
      const told = ends.map(({ events }) => events.length);
      await order(harm);
      await waitFor('an end to notice', () => {
        const since = ends.flatMap(({ events }, index) => events.slice(told[index]));
        const pattern = {
          impersonates: /somebody else than \S+ was met through (evil|good) in its name, and got nothing/,
          'is silent': /the link to (left|right) is gone|the way through other nodes ended/,
        }[harm as string];
        return since.some(({ message }) => (pattern ?? /through (evil|good) was altered on the way/).test(message));
      });
      await waitFor('the call to fail', async () => (await answers()).at(-1) === 'failed');
      await order('none');
      await answered('calls, once it does its work again');
    });
  }

  await step('it harms again, and there is another router: calls go through that one', async () => {
    await order('flips');
    await waitFor('the call to fail', async () => (await answers()).at(-1) === 'failed');
    namespaces.ip(good, 'link', 'set', 'eth1', 'up');
    await answered('calls, by the dearer way');
    await waitFor('the link to go through the other router', async () => (await link())?.through === 'good');
  });

  await step('nobody got a wrong byte, and it read none', async () => {
    const got = [...(await answers()), ...(await place.printed('right', 'server'))];
    t.deepEqual(
      got.filter((line) => line.startsWith('wrong')),
      [],
    );
    t.true((await stat(files.seen)).size > 10 * 200 * question.length, 'much went through its hands');
    const payload = await readFile(files.seen);
    for (const secret of [question, answer, 'HTTP/1.1']) t.deepEqual(formsFound({ payload }, secret), [], secret);
  });
});

// A fabric of simulated boxes with the product's own composition on them, for tests of this folder: one founder, others that
// join by token, and what each of them reported.

import type { ExecutionContext } from 'ava';
import type { Controller } from '../../node-runtime/controller.ts';
import type { SelvedgeNode } from '../../node-runtime/node.ts';
import { createSimClock, type SimClock } from '../../simulations/sim-clock.ts';
import { createSimNetwork, type SimNetwork } from '../../simulations/sim-mesh.ts';
import { createSimBox, type SimBox, type SimBoxWishes } from '../../simulations/sim-node.ts';
import { createSimRandom, type SimRandom } from '../../simulations/sim-random.ts';

export interface SimFabric {
  clock: SimClock;
  network: SimNetwork;
  random: SimRandom;
  founder: SimBox;
  controller(): Controller;
  /** A box that has joined with a token of its own and obeys a plan. */
  join(name: string, router?: 'interior' | 'edge', wishes?: SimBoxWishes): Promise<SimBox>;
  token(router?: 'interior' | 'edge'): Promise<string>;
  /** What a node has said so far: `<event> <message>`. */
  said(name: string): string[];
  /** Waits in virtual time; throws with `what` when it does not come true. */
  until(what: string, condition: () => boolean | Promise<boolean>, limitMs?: number): Promise<void>;
  /** Lets virtual time go on until the promise settles. */
  during<T>(promise: Promise<T>): Promise<T>;
  /** Names of the nodes that the box says it is linked to. */
  linkedTo(box: SimBox): Promise<string[]>;
  peerId(box: SimBox): string;
}

export async function createSimFabric(t: ExecutionContext, seed: string): Promise<SimFabric> {
  const clock = createSimClock();
  const random = createSimRandom(seed);
  const network = createSimNetwork({ clock, random: random.fork('network') });
  const said: { node: string; line: string }[] = [];
  const boxes: SimBox[] = [];
  const box = (name: string, wishes: SimBoxWishes = {}): SimBox => {
    const made = createSimBox({
      ...wishes,
      ...{ name, clock, random: random.fork(name), network },
      trace: ({ node, actor, event, state }) => {
        if (actor === 'node') said.push({ node, line: `${event} ${state}` });
      },
    });
    boxes.push(made);
    return made;
  };
  // Nothing of a box may go on when the test is over.
  t.teardown(() => {
    for (const each of boxes) each.crash();
  });

  async function until(what: string, condition: () => boolean | Promise<boolean>, limitMs = 30_000): Promise<void> {
    const end = clock.now() + limitMs;
    while (!(await condition())) {
      if (clock.now() >= end) throw new Error(`not within ${limitMs} virtual ms: ${what}`);
      await clock.advance(20);
    }
  }
  const started = async (node: SelvedgeNode, what: string): Promise<void> => {
    await until(`${what} is a member`, () => node.member() !== undefined);
    await until(`${what} obeys a plan`, async () => (await node.status()).nodes[0]?.version !== undefined);
  };

  const founder = box('box1');
  await started(await founder.start({ found: true, fabricName: 'simulated', router: 'interior' }), 'box1');

  const fabric: SimFabric = {
    ...{ clock, network, random, founder, until },
    controller() {
      const controller = founder.node().member()?.controller;
      if (controller === undefined) throw new Error('box1 is no controller');
      return controller;
    },
    async token(router = 'edge') {
      const { token } = await fabric.controller().createToken({ uses: 1, ttlMs: 3_600_000, labels: {}, router });
      return token;
    },
    async join(name, router = 'edge', wishes) {
      const made = box(name, wishes);
      await started(await made.start({ token: await fabric.token(router), router }), name);
      return made;
    },
    said: (name) => said.filter(({ node }) => node === name).map(({ line }) => line),
    async during(promise) {
      let settled = false;
      const done = (): void => {
        settled = true;
      };
      promise.then(done, done);
      await until('the promise settles', () => settled, 60_000);
      return promise;
    },
    async linkedTo(of) {
      const { nodes } = await of.node().status();
      const own = nodes.find(({ name }) => name === of.name);
      return (own?.links ?? []).map(({ node }) => node).sort();
    },
    peerId: (of) => of.node().peerId,
  };
  return fabric;
}

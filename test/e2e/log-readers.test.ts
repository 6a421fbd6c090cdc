// Many readers of one log, one that does not read, and one that reads on over restarts; at a controller and on the node itself. Real daemons.

import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import test from 'ava';
import { createFabric, type FabricNode, waitFor } from './fabric.ts';
import { tell } from './story.ts';

const readers = 10;
const lines = 400;
/** What Node may take for a while before it collects: a reader that does not read costs its buffers, some hundred kilobytes. */
const grownBytesMax = 60_000_000;

const manifest = `
apiVersion: selvedge/v1
kind: Application
metadata: { name: talk }
spec:
  microservices:
    - name: counter
      engine: process
      command: [sh, -c, 'until [ -e go ]; do sleep 0.05; done; i=0; while [ $i -lt ${lines} ]; do i=$((i+1)); echo "line $i"; [ $((i % 20)) = 0 ] && sleep 0.1; done; exec sleep 1000']
      placement: { node: edge-1 }
    - name: restless
      engine: process
      command: [sh, -c, 'echo "life of $$"; sleep 0.5; exit 1']
      placement: { node: edge-1 }
    - name: flood
      engine: process
      command: [sh, -c, 'until [ -e go ]; do sleep 0.05; done; while :; do timeout 0.2 yes 0123456789012345678901234567890123456789; sleep 0.2; done']
      placement: { node: edge-1 }`;

/** Texts of a followed log, as far as they are wanted. */
async function follow(node: FabricNode, name: string, enough: (texts: string[]) => boolean): Promise<string[]> {
  const over = new AbortController();
  const texts: string[] = [];
  for await (const { text } of node.daemon.client.logs(name, { tail: 10_000, follow: true }, over.signal)) {
    texts.push(text);
    if (enough(texts)) over.abort();
  }
  return texts;
}

/** Begins to follow and takes nothing of the answer. */
async function followWithoutReading(node: FabricNode, name: string): Promise<IncomingMessage> {
  const { socketPath } = node.daemon.client;
  const asked = request({ socketPath, path: `/v1/instances/${name}/logs?follow=true`, agent: false });
  asked.end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  return response;
}

async function residentBytes({ daemon }: FabricNode): Promise<number> {
  const status = await readFile(`/proc/${daemon.pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

test('ten readers of a log get every line, one that does not read costs nothing, and restarts end no reading', async (t) => {
  const step = tell(t);
  const fabric = await step('a controller and an edge node', () => createFabric(t, { edges: 1 }));
  const edge = fabric.edges[0] as FabricNode;
  await fabric.apply(manifest);
  const go = (microservice: string) =>
    writeFile(join(edge.dataFolder, 'instances', `default.talk.${microservice}.0`, 'go'), '');
  await waitFor('the programs to run on the edge', async () => {
    for (const name of ['counter', 'flood']) if ((await edge.instance(name)).state !== 'running') throw new Error(name);
    return true;
  });

  await step(
    `${readers} follow at the controller and ${readers} on the node, and each gets every line in order`,
    async () => {
      const name = 'default.talk.counter.0';
      const all = [fabric.control, edge].flatMap((node) =>
        Array.from({ length: readers }, () => follow(node, name, (texts) => texts.at(-1) === `line ${lines}`)),
      );
      await go('counter');
      const expected = Array.from({ length: lines }, (_, index) => `line ${index + 1}`);
      for (const texts of await Promise.all(all)) t.deepEqual(texts, expected);
    },
  );

  await step('a log is followed over restarts of its instance', async () => {
    const name = 'default.talk.restless.0';
    const lives = (texts: string[]) => new Set(texts.filter((text) => text.startsWith('life of '))).size;
    for (const node of [fabric.control, edge]) {
      const before = (await edge.instance('restless')).restarts;
      const texts = await follow(node, name, (so) => lives(so) >= before + 3);
      t.true(lives(texts) >= 3);
    }
  });

  await step('readers that take nothing of a flood, at both: no daemon grows, and others read on', async () => {
    const name = 'default.talk.flood.0';
    const silent = [
      ...(await Promise.all([1, 2, 3].map(() => followWithoutReading(fabric.control, name)))),
      ...(await Promise.all([1, 2, 3].map(() => followWithoutReading(edge, name)))),
    ];
    const before = await Promise.all([fabric.control, edge].map(residentBytes));
    await go('flood');
    const most = [...before];
    const until = Date.now() + 8_000;
    await waitFor('some floods', async () => {
      const now = await Promise.all([fabric.control, edge].map(residentBytes));
      for (const [index, bytes] of now.entries()) most[index] = Math.max(most[index] ?? 0, bytes);
      return Date.now() > until;
    });
    const grown = most.map((bytes, index) => bytes - (before[index] ?? 0));
    t.log(`grown by ${grown.map((bytes) => Math.round(bytes / 1e6)).join(' and ')} MB`);
    for (const bytes of grown) t.true(bytes < grownBytesMax, `${bytes} bytes`);
    const texts = await follow(fabric.control, 'default.talk.counter.0', (so) => so.length === lines);
    t.is(texts.length, lines);
    for (const response of silent) response.destroy();
  });
});

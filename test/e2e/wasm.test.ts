// Modules under real daemons: a function that another node calls by name, its daemon's death, and modules that cannot be run.

import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import test from 'ava';
import { behaveModule, sha256Of, wasmMissing } from '../node-runtime/wasm-world.ts';
import { skip } from '../skip.ts';
import { program } from './daemon.ts';
import { createFabric, type FabricNode, instanceOf, toldReady } from './fabric.ts';
import { identityOf } from './processes.ts';
import { tell } from './story.ts';

const run = promisify(execFile);
const missing = await wasmMissing();

interface Modules {
  good: string;
  wrong: string;
}

const manifest = (url: string, { good, wrong }: Modules): string => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: functions }
spec:
  microservices:
    - name: behave
      engine: wasm
      module: { url: '${url}/good', sha256: ${good} }
      trigger: http
      requestTimeoutMs: 1500
      concurrency: 2
      env: { COLOUR: green }
      ports: [{ name: http, port: 8080 }]
      resources: { memory: 32Mi }
      probes: { readiness: { http: { path: /, port: http }, periodMs: 100 } }
      placement: { node: edge-1 }
    - name: worker
      engine: wasm
      module: { url: '${url}/good', sha256: ${good} }
      args: ['print:working', run]
      placement: { node: edge-1 }
    - name: caller
      engine: process
      command: [sleep, '1000']
      placement: { node: control }
    - name: other
      engine: wasm
      module: { url: '${url}/wrong', sha256: ${good.replace(/./g, 'a')} }
      placement: { node: edge-1 }
    - name: none
      engine: wasm
      module: { url: '${url}/wrong', sha256: ${wrong} }
      placement: { node: edge-1 }
`;

if (missing !== undefined) test('functions of a fabric', (t) => skip(t, missing));
else
  test('a function is called by name from another node, and outlives its daemon', async (t) => {
    const step = tell(t);
    const module = await behaveModule();
    const wrong = Buffer.from('no module');
    const server = createServer(({ url }, response) => response.end(url === '/good' ? module : wrong));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.teardown(() => server.close());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const fabric = await step('a controller and an edge node', () => createFabric(t, { edges: 1 }));
    const edge = fabric.edges[0] as FabricNode;
    const selvedge = (...words: string[]) =>
      run(process.execPath, [program, ...words.slice(0, 1), '--data', fabric.control.dataFolder, ...words.slice(1)]);
    /** From the caller, through the mesh: each status and its answer, one a line. */
    const call = async (...paths: string[]): Promise<string[]> => {
      const script = `Promise.all(${JSON.stringify(paths)}.map(async (path) => {
        const answer = await fetch('http://behave:8080/' + path);
        return answer.status + ' ' + (await answer.text()).trim();
      })).then((all) => console.log(all.join('\\n')))`;
      const { stdout } = await selvedge('exec', 'default.functions.caller.0', '--', 'node', '-e', script);
      return stdout.trimEnd().split('\n');
    };
    const until = (microservice: string, state: string) =>
      fabric.application(
        'functions',
        (view) => instanceOf(view, microservice).state === state,
        `${microservice} ${state}`,
      );

    await step('its module is fetched, and it is called', async () => {
      await fabric.apply(manifest(url, { good: sha256Of(module), wrong: sha256Of(wrong) }));
      await fabric.application('functions', (view) => instanceOf(view, 'behave').ready, 'behave is ready');
      t.deepEqual(await call('print:hello'), ['200 hello']);
      const env = await call('env');
      t.is(env[0], '200 COLOUR=green');
      t.false(env.some((line) => line.startsWith('SELVEDGE_')));
      const states = edge.daemon.events.filter(({ instance }) => instance === 'default.functions.behave.0');
      t.true(states.some(({ state }) => state === 'pulling'));
    });
    await step('fifty calls at a time are answered', async () => {
      const all = await call(...Array.from({ length: 50 }, (_, index) => `print:${index}`));
      t.deepEqual(
        all,
        Array.from({ length: 50 }, (_, index) => `200 ${index}`),
      );
    });
    await step('one that loops is ended, and neither the others nor the node wait for it', async () => {
      const looping = call('loop');
      t.deepEqual(await call('print:meanwhile'), ['200 meanwhile']);
      t.is((await edge.status()).nodes.length > 0, true);
      t.deepEqual(await looping, ['504 the function took too long']);
    });
    await step('modules that are not what they should be say so', async () => {
      const other = instanceOf(await until('other', 'backingOff'), 'other');
      t.regex(
        other.reason,
        /its module is not there: cannot fetch .*its SHA-256 is [0-9a-f]{64}, and the manifest says a/,
      );
      const none = instanceOf(await until('none', 'failed'), 'none');
      t.regex(none.reason, /the module cannot be run: it is no WebAssembly/);
    });
    await step('it is described, and its log is read', async () => {
      const { stdout } = await selvedge('describe', 'instance', 'default.functions.behave.0');
      t.regex(stdout, /engine\s+wasm/);
      t.is((await selvedge('logs', 'default.functions.worker.0')).stdout.trimEnd().split(' ').at(-1), 'working');
    });
    await step('its daemon is killed, and it is called all the same', async () => {
      const before = await identityOf((await edge.instance('behave')).pid);
      await edge.daemon.kill('SIGKILL');
      server.close();
      await edge.start();
      await toldReady(edge, 'behave');
      t.is(await identityOf((await edge.instance('behave')).pid), before);
      t.deepEqual(await call('print:again'), ['200 again']);
    });
  });

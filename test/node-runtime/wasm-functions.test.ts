// A module as a function: a request is one run of it, and what one request does is no other one's concern.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { cgiEnvironment, cgiResponse } from '../../node-runtime/wasm/cgi.ts';
import { eventually } from '../eventually.ts';
import { skip } from '../skip.ts';
import { behaveModule, createWasmWorld, INSTANCE, type WasmLaunch, wasmMissing } from './wasm-world.ts';

const missing = await wasmMissing();

if (missing !== undefined) test('functions', (t) => skip(t, missing));
else {
  const module = await behaveModule();

  const start = async (wanted: WasmLaunch) => {
    const world = await createWasmWorld(module);
    const { url } = await world.launch({ http: {}, ...wanted });
    await eventually(() => fetch(`${url}/`).then(({ ok }) => ok), { what: 'the function' });
    return { world, url };
  };

  test('a request is answered with what the module prints', async (t) => {
    const { world, url } = await start({ env: { COLOUR: 'green' } });
    t.teardown(world.close);
    const answer = await fetch(`${url}/copy`, { method: 'POST', body: 'x'.repeat(300_000) });
    t.is(answer.status, 200);
    t.is(answer.headers.get('content-type'), 'text/plain');
    t.is((await answer.text()).length, 300_000);
    t.is((await fetch(`${url}/status:404`)).status, 404);
    const seen = (
      await (await fetch(`${url}/env?a=b`, { headers: { 'x-who': 'me', proxy: 'http://evil' } })).text()
    ).split('\n');
    for (const line of ['COLOUR=green', 'REQUEST_METHOD=GET', 'PATH_INFO=/env', 'QUERY_STRING=a=b', 'HTTP_X_WHO=me'])
      t.true(seen.includes(line), line);
    t.false(seen.some((line) => /^(HTTP_PROXY|PATH|HOME|SELVEDGE_\w+)=/.test(line)));
  });

  test('fifty requests at a time are answered, four in the module at a time', async (t) => {
    const { world, url } = await start({ http: { concurrency: 4 } });
    t.teardown(world.close);
    const ask = (index: number) => fetch(`${url}/print:${index}`).then((answer) => answer.text());
    const answers = await Promise.all(Array.from({ length: 50 }, (_, index) => ask(index)));
    t.deepEqual(
      answers,
      Array.from({ length: 50 }, (_, index) => `${index}\n`),
    );
  });

  test('a request that loops or sleeps is ended, and others are answered meanwhile', async (t) => {
    const { world, url } = await start({ http: { requestTimeoutMs: 1_500, concurrency: 3 } });
    t.teardown(world.close);
    const slow = ['loop', 'run'].map((word) => fetch(`${url}/${word}`));
    let answered = 0;
    const over = Promise.all(slow).then((answers) => answers.map(({ status }) => status));
    let done = false;
    void over.then(() => {
      done = true;
    });
    while (!done) {
      t.is((await fetch(`${url}/print:x`)).status, 200);
      answered += 1;
    }
    t.deepEqual(await over, [504, 504]);
    t.true(answered > 3, `${answered} were answered meanwhile`);
    t.is((await fetch(`${url}/print:x`)).status, 200, 'and afterwards');
    t.regex(await world.text('stderr.log'), /selvedge: GET "\/loop": it took longer than 1500 ms/);
  });

  test('what is too much is refused: requests that wait, bodies, answers, memory', async (t) => {
    const { world, url } = await start({ http: { requestTimeoutMs: 2_000, concurrency: 1 }, memory: '16Mi' });
    t.teardown(world.close);
    t.is((await fetch(`${url}/copy`, { method: 'POST', body: 'x'.repeat(1024 * 1024 + 1) })).status, 413);
    t.is((await fetch(`${url}/flood`)).status, 500);
    t.is((await fetch(`${url}/trap`)).status, 500);
    t.is((await fetch(`${url}/exit:3@0`)).status, 500);
    t.true(Number(await (await fetch(`${url}/grow:60000`)).text()) <= 256);
    const all = Array.from({ length: 80 }, () => fetch(`${url}/after:1000`).then(({ status }) => status));
    const statuses = await Promise.all(all);
    t.true(statuses.filter((status) => status === 503).length >= 15);
    t.true(statuses.includes(200));
    t.is((await fetch(`${url}/print:x`)).status, 200);
  });

  test('memory of requests does not add up', async (t) => {
    const { world, url } = await start({ http: { concurrency: 2 } });
    t.teardown(world.close);
    const [{ pid } = { pid: 0 }] = await world.engine.list();
    for (let round = 0; round < 20; round += 1)
      await Promise.all([1, 2].map(() => fetch(`${url}/grow:640`).then((answer) => answer.text())));
    const status = await readFile(join('/proc', `${pid}`, 'status'), 'utf8');
    const megabytes = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024;
    // Two at a time of 40 MiB each; forty of them would be 1,600.
    t.true(megabytes < 400, `${megabytes} MB`);
  });

  test('the end of a function waits for the requests that it has', async (t) => {
    const { world, url } = await start({});
    t.teardown(world.close);
    const last = fetch(`${url}/after:500`);
    await eventually(async () => (await fetch(`${url}/print:x`)).ok);
    const exit = world.engine.terminate(INSTANCE, 10_000);
    t.is((await last).status, 200);
    t.is((await exit)?.status, 0);
  });
}

test('a request becomes the environment of RFC 3875', (t) => {
  const headers = { host: 'hello:8080', 'content-type': 'a/b', accept: 'x', x_y: 'z', connection: 'close' };
  const asked = {
    method: 'PUT',
    url: '/a%20b?c=%20d',
    httpVersion: '1.1',
    headers,
    bodyBytes: 3,
    remoteAddress: '127.0.0.1',
    port: 81,
  };
  t.deepEqual(cgiEnvironment(asked), {
    GATEWAY_INTERFACE: 'CGI/1.1',
    SERVER_SOFTWARE: 'selvedge',
    SERVER_NAME: 'hello',
    SERVER_PORT: '81',
    SERVER_PROTOCOL: 'HTTP/1.1',
    REQUEST_METHOD: 'PUT',
    SCRIPT_NAME: '',
    PATH_INFO: '/a b',
    QUERY_STRING: 'c=%20d',
    REMOTE_ADDR: '127.0.0.1',
    CONTENT_LENGTH: '3',
    CONTENT_TYPE: 'a/b',
    HTTP_HOST: 'hello:8080',
    HTTP_ACCEPT: 'x',
  });
});

test('what a program prints becomes a response, or it is said why not', (t) => {
  const read = (text: string) => cgiResponse(Buffer.from(text));
  t.like(read('Content-Type: a/b\r\n\r\nbody'), { status: 200, headers: { 'content-type': 'a/b' } });
  t.like(read('Location: /x\n\n'), { status: 302, headers: { location: '/x' } });
  t.like(read('Status: 201 Made\nSet-Cookie: a\nSet-Cookie: b\nContent-Length: 9\n\n'), {
    status: 201,
    headers: { 'set-cookie': ['a', 'b'] },
  });
  for (const bad of [
    '',
    'no header',
    'Status: 99\n\n',
    'Status: 1000\n\n',
    'Status: 100\n\n',
    'no colon\n\n',
    'a b: c\n\n',
    'A: \u0001\n\n',
  ])
    t.is(typeof read(bad), 'string', JSON.stringify(bad));
});

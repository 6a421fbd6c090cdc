// What the tests of the command line share: a Host that keeps what is printed, and a daemon's socket that answers as a test says.

import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { Host, StopSignal } from '../../control/cli/host.ts';
import { run } from '../../control/cli/main.ts';
import type { ApplicationView, InstanceView, NodeView, StatusView } from '../../control/views.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';

export interface Ran {
  status: number;
  out: string;
  error: string;
}

export interface TestHost extends Host {
  printed: { out: string[]; error: string[] };
  signal(signal: StopSignal): void;
}

/** A host without a terminal. */
export function testHost(
  facts: Partial<Pick<Host, 'env' | 'userId' | 'workingFolder' | 'columns'>> & { input?: string } = {},
): TestHost {
  const printed = { out: [] as string[], error: [] as string[] };
  const listeners = new Set<(signal: StopSignal) => void>();
  return {
    clock: createSystemClock(),
    env: facts.env ?? {},
    userId: facts.userId ?? 1000,
    homeFolder: '/home/somebody',
    workingFolder: facts.workingFolder ?? tmpdir(),
    columns: facts.columns,
    rows: undefined,
    progress: undefined,
    printed,
    out: (text) => void printed.out.push(text),
    error: (text) => void printed.error.push(text),
    style: (_format, text) => text,
    readInput: async () => facts.input ?? '',
    input: async function* () {
      yield Buffer.from(facts.input ?? '');
    },
    write: async (stream, bytes) => {
      printed[stream === 'stdout' ? 'out' : 'error'].push(Buffer.from(bytes).toString('utf8'));
    },
    terminal: undefined,
    onInputEnd: () => {},
    onSignal: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    onOutputClosed: () => () => {},
    exit: (status) => {
      throw new Error(`exit ${status}`);
    },
    signal: (signal) => {
      for (const listener of listeners) listener(signal);
    },
  };
}

/** Runs one command line and returns all that it printed. */
export async function cli(args: string[], host: TestHost = testHost()): Promise<Ran> {
  const status = await run(args, host);
  return { status, out: host.printed.out.join('\n'), error: host.printed.error.join('\n') };
}

/** A folder of the test's own, removed after it. */
export async function temporaryFolder(t: ExecutionContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-cli-'));
  t.teardown(async () => await rm(folder, { recursive: true, force: true }));
  return folder;
}

export interface Asked {
  method: string;
  path: string;
  body: unknown;
}

export type Answers = Record<string, unknown | ((asked: Asked, response: ServerResponse) => unknown)>;

/** An HTTP server on the folder's socket. Keys of `answers` are `GET /v1/status`; what is not there is a 404 problem. */
export async function fakeDaemon(t: ExecutionContext, folder: string, answers: Answers): Promise<Asked[]> {
  const asked: Asked[] = [];
  const server = createServer((request, response) => void answer(request, response));
  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const one = {
      method: request.method ?? '',
      path: request.url ?? '',
      body: text === '' ? undefined : JSON.parse(text),
    };
    asked.push(one);
    const known = answers[`${one.method} ${one.path}`] ?? answers[`${one.method} ${one.path.split('?')[0]}`];
    const value = typeof known === 'function' ? known(one, response) : known;
    if (response.writableEnded || response.headersSent) return;
    const found = value ?? {
      status: 404,
      detail: `there is no ${one.path}`,
      action: 'Look at the list.',
      type: 'urn:selvedge:error:not-found',
    };
    const status = (found as { status?: unknown }).status;
    response.writeHead(typeof status === 'number' ? status : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(found));
  }
  await new Promise<void>((resolve) => server.listen(join(folder, 'selvedge.sock'), resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return asked;
}

export function instanceView(more: Partial<InstanceView> = {}): InstanceView {
  const name = { project: 'default', application: 'cold-chain', microservice: 'sensor' };
  return {
    name: 'default.cold-chain.sensor.0',
    ...name,
    node: 'edge-1',
    engine: 'process',
    state: 'running',
    ready: true,
    reason: '',
    pid: 4711,
    restarts: 0,
    ...more,
  };
}

export function applicationView(more: Partial<ApplicationView> = {}): ApplicationView {
  const microservice = {
    name: 'sensor',
    engine: 'process',
    replicas: 1,
    ports: [{ name: 'http', port: 8080 }],
    ready: 1,
  };
  return {
    project: 'default',
    name: 'cold-chain',
    generation: 3,
    ready: true,
    reason: '',
    appliedAt: 1_000,
    microservices: [microservice],
    instances: [instanceView()],
    ...more,
  };
}

export function nodeView(more: Partial<NodeView> = {}): NodeView {
  return {
    name: 'edge-1',
    peerId: '12D3KooWtest',
    router: 'edge',
    controller: false,
    labels: { site: 'north' },
    engines: ['process'],
    state: 'connected',
    upToDate: true,
    links: [],
    addresses: ['/ip4/192.0.2.7/tcp/7433'],
    problems: [],
    instances: [instanceView()],
    ...more,
  };
}

export function statusView(more: Partial<StatusView> = {}): StatusView {
  return {
    scope: 'fabric',
    fabric: { id: 'a'.repeat(52), name: 'plant' },
    node: 'control',
    ok: true,
    problems: [],
    controllerReachable: true,
    nodes: [nodeView()],
    applications: [applicationView()],
    ...more,
  };
}

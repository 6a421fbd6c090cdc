// Talks to the local daemon: HTTP and JSON over the Unix socket of its data folder. One typed function per request; the
// contract is control/views.ts. The only file of the command line that imports node:http.

import { request as httpRequest, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import type { LogLine, LogQuery } from '../../node-runtime/engine.ts';
import type { ContentKind, SecretChange } from '../contents.ts';
import type { ExecBegin, ExecChannel } from '../exec-frames.ts';
import type { RouterMode } from '../fabric.ts';
import type { GrantRequest } from '../gateways.ts';
import type { ServiceView } from '../services.ts';
import { createSocketChannel } from '../socket-channel.ts';
import type { StageRequest } from '../stage.ts';
import type { TopologyView } from '../topology.ts';
import type { TraceView } from '../trace.ts';
import type {
  ApplicationView,
  AppliedView,
  ApplyView,
  ApprovedView,
  ContentView,
  EventView,
  GatewayView,
  GoneInstanceView,
  GrantedView,
  GrantView,
  InstanceView,
  LabelledView,
  NodeView,
  PendingView,
  PolicyView,
  Problem,
  RevokedView,
  StageView,
  StatusView,
  TokenView,
  WindowView,
} from '../views.ts';
import { DaemonSilentError, NoDaemonError, RefusedError, SocketForbiddenError } from './errors.ts';
import type { ExecTyping } from './exec-session.ts';
import { answerBytesMax, answerMs, logLineBytesMax, pingMs } from './limits.ts';
import { ownerOf } from './owner.ts';

export interface TokenRequest {
  uses: number;
  ttlMs: number;
  labels: Record<string, string>;
  router: RouterMode;
}

export interface ApproveRequest {
  /** As it was typed. */
  code: string;
  name?: string;
  labels: Record<string, string>;
  router: RouterMode;
}

export interface WindowRequest {
  forMs: number;
  cidrs: string[];
  max: number;
  labels: Record<string, string>;
  router: RouterMode;
}

export interface Client {
  readonly socketPath: string;
  /** Resolves when a daemon answers. */
  ping(): Promise<void>;
  status(): Promise<StatusView>;
  topology(): Promise<TopologyView>;
  nodes(): Promise<NodeView[]>;
  node(name: string): Promise<NodeView>;
  labelNode(name: string, change: { set: Record<string, string>; remove: string[] }): Promise<LabelledView>;
  revokeNode(name: string, reason: string): Promise<RevokedView>;
  removeNode(name: string, reason: string): Promise<RevokedView>;
  applications(): Promise<ApplicationView[]>;
  services(): Promise<ServiceView[]>;
  trace(from: string, service: string): Promise<TraceView>;
  application(project: string, name: string): Promise<ApplicationView>;
  deleteApplication(project: string, name: string): Promise<void>;
  /** By manifests, or by the name of an application that is applied. */
  stage(request: StageRequest): Promise<StageView[]>;
  staged(project: string, name: string): Promise<StageView>;
  /** `source` says where each document came from, for refusals. */
  apply(documents: unknown[], source: string[]): Promise<ApplyView>;
  contents(kind: ContentKind): Promise<ContentView[]>;
  content(kind: ContentKind, project: string, name: string): Promise<ContentView>;
  deleteContent(kind: ContentKind, project: string, name: string): Promise<void>;
  setSecret(project: string, name: string, change: SecretChange): Promise<AppliedView>;
  policies(): Promise<PolicyView[]>;
  policy(project: string, name: string): Promise<PolicyView>;
  deletePolicy(project: string, name: string): Promise<void>;
  gateways(): Promise<GatewayView[]>;
  /** The fabric's, as PEM. */
  rootCertificate(): Promise<{ pem: string }>;
  gateway(project: string, name: string): Promise<GatewayView>;
  deleteGateway(project: string, name: string): Promise<void>;
  /** The answer alone has the token. */
  createGrant(project: string, gateway: string, request: GrantRequest): Promise<GrantedView>;
  revokeGrant(project: string, gateway: string, grant: string): Promise<GrantView>;
  createToken(token: TokenRequest): Promise<TokenView>;
  /** Boxes that wait for approval. */
  pending(): Promise<PendingView[]>;
  approve(request: ApproveRequest): Promise<ApprovedView>;
  deny(who: string): Promise<PendingView[]>;
  window(): Promise<WindowView>;
  openWindow(request: WindowRequest): Promise<WindowView>;
  closeWindow(): Promise<WindowView>;
  events(options: { after?: string; limit?: number }): Promise<EventView[]>;
  instance(name: string): Promise<InstanceView>;
  /** One that was removed and whose last lines are kept; by its name or a part of it. */
  goneInstance(name: string): Promise<GoneInstanceView>;
  logs(name: string, query: LogQuery, signal?: AbortSignal): AsyncGenerator<LogLine>;
  /** Runs a command beside an instance; resolves with its exit status. Ends it when the signal aborts. */
  exec(begin: ExecBegin, typing: ExecTyping, signal: AbortSignal): Promise<number>;
  /** The daemon ends itself, and with `workloads` first what it runs. */
  down(workloads: boolean): Promise<void>;
}

interface Ask {
  method: 'GET' | 'POST' | 'DELETE';
  path: string;
  body?: unknown;
  silenceMs?: number;
  signal?: AbortSignal | undefined;
}

/** One segment of a path. */
const segment = encodeURIComponent;

/** Makes a client of the daemon behind `socketPath`. Every function rejects with an error of errors.ts. */
export function createClient({ socketPath }: { socketPath: string }): Client {
  const ask = async <T>(asked: Ask): Promise<T> => (await json(await open(socketPath, asked), asked.path)) as T;
  const get = <T>(path: string): Promise<T> => ask<T>({ method: 'GET', path });

  return {
    socketPath,
    ping: async () => void (await ask({ method: 'GET', path: '/v1/ping', silenceMs: pingMs })),
    status: () => get('/v1/status'),
    topology: () => get('/v1/topology'),
    nodes: () => get('/v1/nodes'),
    node: (name) => get(`/v1/nodes/${segment(name)}`),
    labelNode: (name, change) => ask({ method: 'POST', path: `/v1/nodes/${segment(name)}/labels`, body: change }),
    revokeNode: (name, reason) => ask({ method: 'POST', path: `/v1/nodes/${segment(name)}/revoke`, body: { reason } }),
    removeNode: (name, reason) => ask({ method: 'POST', path: `/v1/nodes/${segment(name)}/remove`, body: { reason } }),
    applications: () => get('/v1/applications'),
    services: () => get('/v1/services'),
    trace: (from, service) => get(`/v1/trace/${segment(from)}/${segment(service)}`),
    application: (project, name) => get(`/v1/applications/${segment(project)}/${segment(name)}`),
    deleteApplication: async (project, name) =>
      void (await ask({ method: 'DELETE', path: `/v1/applications/${segment(project)}/${segment(name)}` })),
    stage: (body) => ask({ method: 'POST', path: '/v1/stage', body }),
    staged: (project, name) => get(`/v1/stage/${segment(project)}/${segment(name)}`),
    apply: (documents, source) => ask({ method: 'POST', path: '/v1/apply', body: { documents, source } }),
    contents: (kind) => get(`/v1/${kind}s`),
    content: (kind, project, name) => get(`/v1/${kind}s/${segment(project)}/${segment(name)}`),
    deleteContent: async (kind, project, name) =>
      void (await ask({ method: 'DELETE', path: `/v1/${kind}s/${segment(project)}/${segment(name)}` })),
    setSecret: (project, name, body) =>
      ask({ method: 'POST', path: `/v1/secrets/${segment(project)}/${segment(name)}`, body }),
    policies: () => get('/v1/policies'),
    policy: (project, name) => get(`/v1/policies/${segment(project)}/${segment(name)}`),
    deletePolicy: async (project, name) =>
      void (await ask({ method: 'DELETE', path: `/v1/policies/${segment(project)}/${segment(name)}` })),
    gateways: () => get('/v1/gateways'),
    rootCertificate: () => get('/v1/root-certificate'),
    gateway: (project, name) => get(`/v1/gateways/${segment(project)}/${segment(name)}`),
    deleteGateway: async (project, name) =>
      void (await ask({ method: 'DELETE', path: `/v1/gateways/${segment(project)}/${segment(name)}` })),
    createGrant: (project, gateway, body) =>
      ask({ method: 'POST', path: `/v1/gateways/${segment(project)}/${segment(gateway)}/grants`, body }),
    revokeGrant: (project, gateway, grant) =>
      ask({
        method: 'DELETE',
        path: `/v1/gateways/${segment(project)}/${segment(gateway)}/grants/${segment(grant)}`,
      }),
    createToken: (token) => ask({ method: 'POST', path: '/v1/tokens', body: token }),
    pending: () => get('/v1/pending'),
    approve: (body) => ask({ method: 'POST', path: '/v1/pending/approve', body }),
    deny: async (who) =>
      (await ask<{ denied: PendingView[] }>({ method: 'POST', path: '/v1/pending/deny', body: { who } })).denied,
    window: () => get('/v1/window'),
    openWindow: (body) => ask({ method: 'POST', path: '/v1/window', body }),
    closeWindow: () => ask({ method: 'DELETE', path: '/v1/window' }),
    events: async ({ after, limit }) => {
      const query = new URLSearchParams();
      if (after !== undefined) query.set('after', after);
      if (limit !== undefined) query.set('limit', String(limit));
      return (await get<{ events: EventView[] }>(`/v1/events?${query}`)).events;
    },
    instance: (name) => get(`/v1/instances/${segment(name)}`),
    goneInstance: (name) => get(`/v1/gone-instances/${segment(name)}`),
    logs: async function* (name, query, signal) {
      const asked = new URLSearchParams();
      for (const [key, value] of Object.entries(query)) if (value !== undefined) asked.set(key, String(value));
      const path = `/v1/instances/${segment(name)}/logs?${asked}`;
      // A followed log is silent for as long as the workload is.
      const response = await open(socketPath, { method: 'GET', path, silenceMs: query.follow ? 0 : answerMs, signal });
      if (response.statusCode !== 200) await json(response, path);
      yield* lines(response, signal);
    },
    exec: async (begin, typing, signal) => {
      const channel = await upgrade(socketPath, `/v1/instances/${segment(begin.instance)}/exec`);
      const end = (): void => channel.abort(new Error('interrupted'));
      signal.addEventListener('abort', end, { once: true });
      if (signal.aborted) end();
      try {
        // Loaded for this command alone: it checks what the daemon says.
        const { holdSession } = await import('./exec-session.ts');
        return await holdSession(channel, begin, typing, refusal);
      } catch (error) {
        if (error instanceof RefusedError) throw error;
        throw new DaemonSilentError(`the session broke off: ${(error as Error).message}`, error);
      } finally {
        signal.removeEventListener('abort', end);
      }
    },
    down: async (workloads) => void (await ask({ method: 'POST', path: '/v1/down', body: { workloads } })),
  };
}

/** Sends the request; resolves with the answer's head. */
function open(socketPath: string, { method, path, body, silenceMs = answerMs, signal }: Ask): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const text = body === undefined ? undefined : JSON.stringify(body);
  const request = httpRequest({
    socketPath,
    method,
    path,
    agent: false,
    // Node.js resolves no name here; the header says what every local server expects.
    headers: {
      host: 'selvedge',
      accept: 'application/json',
      ...(text !== undefined && { 'content-type': 'application/json' }),
      ...(method !== 'GET' && { 'content-length': Buffer.byteLength(text ?? '') }),
    },
    ...(signal !== undefined && { signal }),
  });
  request.setTimeout(silenceMs, () => request.destroy(new DaemonSilentError(`${method} ${path}`)));
  request.on('response', resolve);
  request.on('error', (error: NodeJS.ErrnoException) =>
    reject(connectionError(socketPath, error, `${method} ${path}`)),
  );
  request.end(text);
  return promise;
}

/** Asks for another protocol; rejects with RefusedError when the daemon refuses. */
async function upgrade(socketPath: string, path: string): Promise<ExecChannel> {
  const { promise, resolve, reject } = Promise.withResolvers<ExecChannel>();
  const headers = { host: 'selvedge', connection: 'upgrade', upgrade: 'selvedge-exec' };
  const request = httpRequest({ socketPath, path, agent: false, headers });
  request.setTimeout(answerMs, () => request.destroy(new DaemonSilentError(`GET ${path}`)));
  request.on('upgrade', (_response, socket, head) => {
    socket.setTimeout(0);
    resolve(createSocketChannel(socket, head));
  });
  request.on('response', (response) => {
    json(response, path).then(() => reject(new DaemonSilentError(`GET ${path}`)), reject);
  });
  request.on('error', (error: NodeJS.ErrnoException) => reject(connectionError(socketPath, error, `GET ${path}`)));
  request.end();
  return promise;
}

function connectionError(socketPath: string, error: NodeJS.ErrnoException, what: string): Error {
  if (error instanceof DaemonSilentError || error.name === 'AbortError') return error;
  if (error.code === 'ENOENT') return new NoDaemonError(socketPath, 'there is no such socket', error);
  if (error.code === 'ECONNREFUSED') return new NoDaemonError(socketPath, 'nobody listens on it any more', error);
  if (error.code === 'ENOTSOCK') return new NoDaemonError(socketPath, 'it is not a socket', error);
  if (error.code === 'EACCES' || error.code === 'EPERM') {
    return new SocketForbiddenError(socketPath, ownerOf(socketPath), error);
  }
  return new DaemonSilentError(`${what}: ${error.message}`, error);
}

/** The body as JSON; rejects with RefusedError when the answer is a problem. */
async function json(response: IncomingMessage, path: string): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > answerBytesMax) throw new Error(`more than ${answerBytesMax} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    throw new DaemonSilentError(`${path}: ${(error as Error).message}`, error);
  }
  const text = Buffer.concat(chunks).toString('utf8');
  const status = response.statusCode ?? 0;
  let value: unknown;
  try {
    value = text === '' ? undefined : JSON.parse(text);
  } catch (error) {
    throw new DaemonSilentError(`${path} answered ${status} with something that is not JSON`, error);
  }
  if (status >= 200 && status < 300) return value;
  const problem = (typeof value === 'object' && value !== null ? value : {}) as Partial<Problem>;
  throw refusal({ title: `${path} answered ${status}`, ...problem, status });
}

function refusal({
  type,
  title,
  status,
  detail,
  field,
  accepted,
  issues,
  action,
}: Partial<Problem> & { status: number }): RefusedError {
  // Refused manifests: the detail lists every issue with its field and accepted form already.
  const about = issues === undefined && field !== undefined && field !== '' ? `${field}: ` : '';
  const form = issues === undefined && accepted !== undefined && accepted !== '' ? `; accepted: ${accepted}` : '';
  return new RefusedError(`${about}${detail ?? title}${form}`, {
    type: type ?? 'about:blank',
    status,
    action: action ?? 'Look at the output of the daemon.',
    ...(issues !== undefined && { issues }),
  });
}

const brokeOff = 'the log broke off';

/** NDJSON as it comes; ends quietly when the signal aborts. */
async function* lines(response: IncomingMessage, signal: AbortSignal | undefined): AsyncGenerator<LogLine> {
  const reader = createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY });
  response.on('error', () => reader.close());
  // Told to whoever still reads by the end of the lines.
  reader.on('error', () => undefined);
  try {
    for await (const line of reader) {
      if (line.length === 0 || line.length > logLineBytesMax) continue;
      const value = JSON.parse(line) as LogLine | { problem: Problem };
      // What went wrong after the answer had begun comes as its last line.
      if ('problem' in value) throw refusal(value.problem);
      yield value;
    }
  } catch (error) {
    if (signal?.aborted !== true) throw error instanceof RefusedError ? error : new DaemonSilentError(brokeOff, error);
  } finally {
    // Also for who stops reading before the end.
    if (!response.complete) response.destroy();
  }
  if (signal?.aborted !== true && !response.complete) throw new DaemonSilentError(brokeOff);
}

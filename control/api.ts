// The API's routes: documents in, documents out. Called by the API server (a Unix socket now) and by tests. It must never reach an actor:
// what it does is what the injected functions do.

import { type Context, Hono } from 'hono';
import type { LogLine, LogQuery } from '../node-runtime/engine.ts';
import { addContentRoutes, type ContentFunctions } from './api-contents.ts';
import { addGatewayRoutes, type GatewayFunctions } from './api-gateways.ts';
import { addPolicyRoutes, type PolicyFunctions } from './api-policies.ts';
import {
  type ApproveRequest,
  applySchema,
  approveSchema,
  denySchema,
  downSchema,
  labelSchema,
  readBody,
  readFlag,
  readLimit,
  readLogQuery,
  refuseUnknownQueries,
  revokeSchema,
  stageRequestOf,
  stageSchema,
  type TokenRequest,
  tokenSchema,
  type WindowRequest,
  windowSchema,
} from './api-requests.ts';
import {
  NoLogError,
  NotAControllerError,
  NotFoundError,
  RequestRefusedError,
  RequestTooLargeError,
  TooManyFollowersError,
} from './errors.ts';
import { logFollowersMax, requestBytesMax } from './limits.ts';
import { logStream } from './log-stream.ts';
import type { LabelChange } from './node-labels.ts';
import { internalProblem, makeProblem, problemOf, problemType } from './problems.ts';
import type { ServiceView } from './services.ts';
import type { StageRequest } from './stage.ts';
import type { TopologyView } from './topology.ts';
import type { TraceView } from './trace.ts';
import type {
  ApplicationView,
  ApplyView,
  ApprovedView,
  EventView,
  GoneInstanceView,
  InstanceView,
  LabelledView,
  NodeView,
  PendingView,
  Problem,
  RevokedView,
  StageView,
  StatusView,
  TokenView,
  WindowView,
} from './views.ts';

/** What both kinds of node answer. */
export interface NodeFunctions {
  /** Name of this node. */
  node: string;
  /** Software version, for `ping`. */
  software: string;
  status(): Promise<StatusView>;
  /** On a controller the fabric's graph, on a worker what that node knows. */
  topology(): Promise<TopologyView>;
  /** Undefined when there is none; on a worker only its own. */
  instance(name: string): Promise<InstanceView | undefined>;
  /** An instance that was removed and whose last lines are kept; by its name or a part of it. */
  goneInstance(name: string): Promise<GoneInstanceView | undefined>;
  /** Lines of an instance that is on that node, or is gone from it; ends when the signal aborts. */
  logs(place: { name: string; node: string | undefined }, query: LogQuery, signal: AbortSignal): AsyncIterable<LogLine>;
  /** Begins to end the daemon, and its workloads when asked; called after the answer went out. */
  down(options: { workloads: boolean }): Promise<void>;
  /** Hears of errors that nobody described. */
  report(error: unknown): void;
}

/** What only a controller answers. */
export interface FabricFunctions extends ContentFunctions, PolicyFunctions, GatewayFunctions {
  nodes(): Promise<NodeView[]>;
  nodeNamed(name: string): Promise<NodeView | undefined>;
  /** Gives a node labels and takes some away. */
  labelNode(name: string, change: LabelChange): Promise<LabelledView>;
  /** Takes a node out of the fabric for good; again: nothing more happens. */
  revokeNode(name: string, reason: string): Promise<RevokedView>;
  /** The same, and forgets its record. */
  removeNode(name: string, reason: string): Promise<RevokedView>;
  applications(): Promise<ApplicationView[]>;
  application(project: string, name: string): Promise<ApplicationView | undefined>;
  services(): Promise<ServiceView[]>;
  /** The way of a call from an instance, a microservice or a node. */
  trace(from: string, service: string): Promise<TraceView>;
  deleteApplication(project: string, name: string): Promise<void>;
  apply(documents: readonly unknown[], options: { dryRun: boolean; source?: readonly string[] }): Promise<ApplyView>;
  /** Fetches ahead what applications need; what is asked for, as it is then. */
  stage(request: StageRequest): Promise<StageView[]>;
  staged(project: string, name: string): Promise<StageView | undefined>;
  createToken(request: TokenRequest): Promise<TokenView>;
  /** Boxes that wait for approval. */
  pending(): Promise<PendingView[]>;
  approve(request: ApproveRequest): Promise<ApprovedView>;
  /** By handle, name or peer id; what was denied. */
  deny(who: string): Promise<PendingView[]>;
  window(): Promise<WindowView>;
  openWindow(request: WindowRequest): Promise<WindowView>;
  closeWindow(): Promise<WindowView>;
  events(options: { after?: string; limit: number }): Promise<EventView[]>;
}

export type ApiOptions =
  | ({ kind: 'controller' } & NodeFunctions & FabricFunctions)
  | ({ kind: 'worker' } & NodeFunctions);

function sendProblem(problem: Problem): Response {
  return new Response(JSON.stringify(problem), { status: problem.status, headers: { 'content-type': problemType } });
}

/** The body as text. hono's own body-limit makes a new Request, which the server's light-weight one cannot be copied into. */
async function readText({ req }: Context): Promise<string> {
  if (Number(req.header('content-length') ?? 0) > requestBytesMax) throw new RequestTooLargeError(requestBytesMax);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of req.raw.body ?? []) {
    bytes += chunk.length;
    if (bytes > requestBytesMax) throw new RequestTooLargeError(requestBytesMax);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

async function readJson(context: Context): Promise<unknown> {
  const text = await readText(context);
  try {
    return JSON.parse(text === '' ? '{}' : text);
  } catch {
    throw new RequestRefusedError('the body is not JSON', { accepted: 'a JSON object' });
  }
}

function found<T>(value: T | undefined, what: string, name: string, action: string): T {
  if (value === undefined) throw new NotFoundError(what, name, action);
  return value;
}

const actions = {
  node: '`selvedge nodes list` lists those that there are.',
  application: '`selvedge apps` lists those that there are.',
  staged: 'It was applied or deleted meanwhile, or its day is over: `selvedge stage` asks again.',
  instance: '`selvedge status` lists those that there are.',
};

/** That its node knows nothing of it says less than what it is doing there. */
async function* logLines(
  lines: AsyncIterable<LogLine>,
  instance: InstanceView | GoneInstanceView,
): AsyncGenerator<LogLine> {
  let any = false;
  try {
    for await (const line of lines) {
      any = true;
      yield line;
    }
  } catch (error) {
    throw !any && (error as { id?: unknown }).id === 'instance-unknown' ? new NoLogError(instance) : error;
  }
}

/** Routes that only a controller answers; a worker refuses them before it reads a body. */
const fabricPaths = [
  '/v1/nodes',
  '/v1/applications',
  '/v1/services',
  '/v1/trace',
  '/v1/apply',
  '/v1/stage',
  '/v1/configs',
  '/v1/secrets',
  '/v1/policies',
  '/v1/gateways',
  '/v1/root-certificate',
  '/v1/tokens',
  '/v1/pending',
  '/v1/window',
  '/v1/events',
];

function addNodeRoutes(app: Hono, options: ApiOptions): void {
  let followers = 0;

  app.get('/v1/ping', (context) => {
    refuseUnknownQueries(context.req.query(), []);
    return context.json({ ok: true, kind: options.kind, node: options.node, software: options.software });
  });
  app.get('/v1/status', async (context) => {
    refuseUnknownQueries(context.req.query(), []);
    return context.json(await options.status());
  });
  app.get('/v1/topology', async (context) => {
    refuseUnknownQueries(context.req.query(), []);
    return context.json(await options.topology());
  });
  app.get('/v1/instances/:name', async (context) => {
    const name = context.req.param('name');
    return context.json(found(await options.instance(name), 'instance', name, actions.instance));
  });
  app.get('/v1/gone-instances/:name', async (context) => {
    const name = context.req.param('name');
    return context.json(found(await options.goneInstance(name), 'instance', name, actions.instance));
  });
  app.get('/v1/instances/:name/logs', async (context) => {
    const query = context.req.query();
    const asked = readLogQuery(query);
    const name = context.req.param('name');
    const known = (await options.instance(name)) ?? (await options.goneInstance(name));
    const one = found(known, 'instance', name, actions.instance);
    const headers = { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' };
    // hono answers HEAD by GET and drops the body, which nobody would end.
    if (context.req.raw.method === 'HEAD') return new Response(null, { headers });
    if (followers >= logFollowersMax) throw new TooManyFollowersError(logFollowersMax);
    followers += 1;
    const body = logStream({
      open: (signal) => logLines(options.logs({ name: one.name, node: one.node }, asked, signal), one),
      signal: context.req.raw.signal,
      onEnd: () => {
        followers -= 1;
      },
      report: options.report,
    });
    return new Response(body, { headers });
  });
  app.post('/v1/down', async (context) => {
    const { workloads } = readBody(downSchema, await readJson(context));
    // A task later: the server that stops waits for this very answer.
    setImmediate(() => {
      Promise.resolve(options.down({ workloads })).catch(options.report);
    });
    return context.json({ stopping: true, workloads }, 202);
  });
}

function addFabricRoutes(app: Hono, options: FabricFunctions): void {
  app.get('/v1/nodes', async (context) => context.json(await options.nodes()));
  app.get('/v1/nodes/:name', async (context) => {
    const name = context.req.param('name');
    return context.json(found(await options.nodeNamed(name), 'node', name, actions.node));
  });
  app.post('/v1/nodes/:name/labels', async (context) => {
    const change = readBody(labelSchema, await readJson(context));
    return context.json(await options.labelNode(context.req.param('name'), change));
  });
  app.post('/v1/nodes/:name/revoke', async (context) => {
    const { reason } = readBody(revokeSchema, await readJson(context));
    return context.json(await options.revokeNode(context.req.param('name'), reason));
  });
  app.post('/v1/nodes/:name/remove', async (context) => {
    const { reason } = readBody(revokeSchema, await readJson(context));
    return context.json(await options.removeNode(context.req.param('name'), reason));
  });
  app.get('/v1/services', async (context) => {
    refuseUnknownQueries(context.req.query(), []);
    return context.json(await options.services());
  });
  app.get('/v1/trace/:from/:service', async (context) => {
    refuseUnknownQueries(context.req.query(), []);
    const { from, service } = context.req.param();
    return context.json(await options.trace(from, service));
  });
  app.get('/v1/applications', async (context) => context.json(await options.applications()));
  app.get('/v1/applications/:project/:name', async (context) => {
    const { project, name } = context.req.param();
    return context.json(
      found(await options.application(project, name), 'application', `${project}/${name}`, actions.application),
    );
  });
  app.delete('/v1/applications/:project/:name', async (context) => {
    const { project, name } = context.req.param();
    await options.deleteApplication(project, name);
    return context.json({ deleted: { project, name } });
  });
  addContentRoutes(app, options, readJson);
  addPolicyRoutes(app, options);
  addGatewayRoutes(app, options, readJson);
  app.post('/v1/apply', async (context) => {
    const query = context.req.query();
    refuseUnknownQueries(query, ['dryRun']);
    const dryRun = readFlag('dryRun', query.dryRun);
    const { documents, source } = readBody(applySchema, await readJson(context));
    return context.json(await options.apply(documents, { dryRun, ...(source !== undefined && { source }) }));
  });
  app.post('/v1/stage', async (context) =>
    context.json(await options.stage(stageRequestOf(readBody(stageSchema, await readJson(context))))),
  );
  app.get('/v1/stage/:project/:name', async (context) => {
    const { project, name } = context.req.param();
    const staged = await options.staged(project, name);
    return context.json(found(staged, 'staged application', `${project}/${name}`, actions.staged));
  });
  app.post('/v1/tokens', async (context) => {
    const request = readBody(tokenSchema, await readJson(context));
    return context.json(await options.createToken(request), 201);
  });
  app.get('/v1/pending', async (context) => context.json(await options.pending()));
  // The code travels in the body: paths end up in logs.
  app.post('/v1/pending/approve', async (context) => {
    const request = readBody(approveSchema, await readJson(context));
    return context.json(await options.approve(request));
  });
  app.post('/v1/pending/deny', async (context) => {
    const { who } = readBody(denySchema, await readJson(context));
    return context.json({ denied: await options.deny(who) });
  });
  app.get('/v1/window', async (context) => context.json(await options.window()));
  app.post('/v1/window', async (context) => {
    const request = readBody(windowSchema, await readJson(context));
    return context.json(await options.openWindow(request), 201);
  });
  app.delete('/v1/window', async (context) => context.json(await options.closeWindow()));
  app.get('/v1/events', async (context) => {
    const query = context.req.query();
    refuseUnknownQueries(query, ['after', 'limit']);
    const limit = readLimit(query.limit);
    const events = await options.events({ limit, ...(query.after !== undefined && { after: query.after }) });
    return context.json({ events });
  });
}

/**
 * The hono app (`.fetch` is the handler). JSON everywhere; errors are RFC 9457 problems (`application/problem+json`); log lines are
 * newline-delimited JSON. On a worker the fabric's routes answer 403 `not-a-controller`.
 */
export function createApi(options: ApiOptions): Hono {
  const app = new Hono();
  app.onError((error) => {
    const problem = problemOf(error);
    if (problem === undefined) options.report(error);
    return sendProblem(problem ?? internalProblem);
  });
  app.notFound((context) =>
    sendProblem(
      makeProblem(
        'no-such-route',
        `there is no ${context.req.method} ${context.req.path}`,
        'Use a CLI of the same version as the daemon.',
      ),
    ),
  );
  if (options.kind === 'worker') {
    for (const path of fabricPaths) {
      for (const pattern of [path, `${path}/*`]) {
        app.all(pattern, () => {
          throw new NotAControllerError(options.node);
        });
      }
    }
  }
  addNodeRoutes(app, options);
  if (options.kind === 'controller') addFabricRoutes(app, options);
  return app;
}

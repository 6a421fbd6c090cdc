// The daemon: a node on real ports, and its API on a Unix socket in the data folder. Called by `selvedge up`. The only file
// that knows which adapter stands behind which port.

import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { type ApiOptions, createApi } from '../control/api.ts';
import { createApiServer } from '../control/api-server.ts';
import { type BoxOption, type BoxOptions, boxOptions, boxOptionsText } from '../control/box-options.ts';
import { createExecUpgrade } from '../control/exec-upgrade.ts';
import { createPouchStore } from '../control/pouch-store.ts';
import { replicate } from '../control/replicate.ts';
import { createOpenGateway } from '../mesh/gateway-listener.ts';
import { createLibp2pMesh } from '../mesh/libp2p-mesh.ts';
import { createTunnelNetwork } from '../mesh/tunnel-network.ts';
import { createNodeKeys } from '../pki/node-keys.ts';
import { deriveApprovalKey } from '../pki/scrypt.ts';
import type { TimerId } from './clock.ts';
import { letHeapGrow } from './dense-heap.ts';
import { createDockerEngine } from './docker-engine.ts';
import { defaultContainerRange } from './docker-network.ts';
import type { LogQuery } from './engine.ts';
import { createEngines } from './engines.ts';
import { NodeStartingError } from './errors.ts';
import { createExecRouting } from './exec-routing.ts';
import { createFileDisk } from './file-disk.ts';
import { closeNewFiles, closeOldFiles } from './file-modes.ts';
import { pickFreePort, portIfFree } from './free-port.ts';
import { createSystemHardware } from './hardware/system-hardware.ts';
import { createInstanceLogs } from './instance-logs.ts';
import { createKeptLogs } from './kept-logs.ts';
import { settleOptions } from './kept-options.ts';
import { denseHeapMs, tunnelPort } from './limits.ts';
import { isController, type SelvedgeNode, startNode } from './node.ts';
import type { NodeEvent, NodePorts, NodeSettings, Report } from './node-ports.ts';
import { policyOf } from './policy.ts';
import { runProbe } from './probe.ts';
import { createProcessEngine } from './process-engine.ts';
import { createPublishedPorts } from './published-ports.ts';
import { createPulledImages } from './pulled-images.ts';
import { createSystemBox } from './system-box.ts';
import { createSystemClock } from './system-clock.ts';
import { createSystemRandom } from './system-random.ts';
import { createWasmEngine } from './wasm-engine.ts';

export type DaemonEvent = NodeEvent;

export interface DaemonOptions extends NodeSettings {
  /** Absolute path. */
  dataFolder: string;
  /** For mesh links; 0 takes any, and so does one that is taken. */
  port: number;
  /** What holds on this box from now on, until it is said anew. */
  options?: BoxOptions;
  /** What of that an earlier start said, and holds no more. */
  forget?: readonly BoxOption[];
  /** What links cost routes, in milliseconds, by the name of the node at the other end; others cost what is measured. */
  linkCostsMs?: ReadonlyMap<string, number>;
  /** How long links are believed in although nothing is heard, in milliseconds, by the name of the node at the other end; `*` is all others. */
  keepAlivesMs?: ReadonlyMap<string, number>;
  /** The root below which devices are found, for tests; no option of the program and no variable sets it. */
  hardwareRoot?: string;
  onEvent?: (event: DaemonEvent) => void;
}

export interface Daemon {
  /** Stops the daemon; workloads go on. Idempotent. */
  stop(): Promise<void>;
  /** Resolves when it has stopped, rejects when the node cannot go on (a refused token). */
  closed: Promise<void>;
}

/** Both families; the tunnel is reached where the mesh is. */
const everywhere = ['0.0.0.0', '::'];

function softwareVersion(): string {
  const file = new URL('../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

/** `192.0.2.7` of `/ip4/192.0.2.7/tcp/7433`. */
const hostOf = (address: string): string => address.split('/')[2] ?? '';

type RealPorts = NodePorts & {
  mesh(): Promise<Awaited<ReturnType<typeof createLibp2pMesh>>>;
  /** What the box was told. */
  keepOptions(): Promise<void>;
};

async function realPorts({
  dataFolder,
  port,
  options: given = {},
  forget = [],
  linkCostsMs,
  keepAlivesMs,
  hardwareRoot = '/',
  onEvent,
}: DaemonOptions): Promise<RealPorts> {
  const clock = createSystemClock();
  const random = createSystemRandom();
  const disk = createFileDisk(dataFolder, { owned: true });
  const box = createSystemBox(dataFolder);
  const onProblem = (message: string) => onEvent?.({ at: clock.now(), type: 'problem', message });
  const keys = createNodeKeys();
  const { options, keep } = await settleOptions({ disk, keys, given, forget });
  const { containerRange, registryAuth, location } = options;
  const policy = policyOf(options);
  const published = createPublishedPorts();
  if (boxOptions.some((option) => options[option] !== undefined)) {
    onEvent?.({ at: clock.now(), type: 'options', message: `kept for this box: ${boxOptionsText(options)}`, options });
  }
  const listenPort = await portIfFree(port);
  const tunnelListenPort = await portIfFree(port === 0 ? 0 : tunnelPort);
  const made = Promise.withResolvers<Awaited<ReturnType<typeof createLibp2pMesh>>>();
  const silentMs = keepAlivesMs?.get('*');
  return {
    clock,
    random,
    keys,
    deriveKey: deriveApprovalKey,
    disk,
    box,
    engines: createEngines(
      [
        createProcessEngine({
          folder: join(dataFolder, 'instances'),
          volumesFolder: join(dataFolder, 'volumes'),
          hiddenFolder: dataFolder,
          standardUser: policy.processUser,
          networks: { range: containerRange ?? defaultContainerRange, published, onProblem },
          clock,
        }),
        createDockerEngine({
          folder: join(dataFolder, 'containers'),
          clock,
          dockerHost: process.env['DOCKER_HOST'],
          images: {
            pulled: createPulledImages({ disk, clock, onProblem }),
            onRemoved: (message) => onEvent?.({ at: clock.now(), type: 'removed', message }),
            onProblem,
          },
          ...(containerRange !== undefined && { range: containerRange }),
          ...(registryAuth !== undefined && { registryAuth }),
        }),
        createWasmEngine({ folder: join(dataFolder, 'wasm'), volumesFolder: join(dataFolder, 'volumes'), clock }),
      ],
      {
        policy,
        kept: createKeptLogs({ disk, clock, space: () => box.space(), onProblem }),
      },
    ),
    hardware: createSystemHardware({ clock, root: hardwareRoot, arch: process.arch, dataFolder }),
    probe: runProbe,
    freePort: (taken) => pickFreePort('127.0.0.1', taken),
    replicate,
    async openStore() {
      const folder = join(dataFolder, 'store');
      await closeOldFiles(folder);
      return createPouchStore({ clock, folder });
    },
    async createMesh(identity) {
      const mesh = await createLibp2pMesh({
        identityPem: identity.toPem(),
        clock,
        random,
        listen: { port: listenPort },
        discovery: true,
        ...(silentMs !== undefined && { keepAlive: { silentMsMax: silentMs, intervalMs: silentMs / 2 } }),
        onFlood: onProblem,
      });
      made.resolve(mesh);
      return mesh;
    },
    mesh: () => made.promise,
    keepOptions: keep,
    createServiceNetwork: (needs) =>
      createTunnelNetwork({
        ...needs,
        clock,
        random,
        node: needs.localPeerId,
        listen: { hosts: everywhere, port: tunnelListenPort },
        advertisedHosts: () => [...new Set(needs.advertisedAddresses().map(hostOf))],
      }),
    openGateway: published.following(createOpenGateway({ clock })),
    createController: async (dependencies) => (await import('./controller.ts')).createController(dependencies),
    platform: { arch: process.arch, os: process.platform },
    hostName: hostname(),
    ...(location !== undefined && { location }),
    ...(linkCostsMs !== undefined && { linkCostsMs }),
    ...(keepAlivesMs !== undefined && { keepAlivesMs }),
    software: softwareVersion(),
  };
}

function apiOptions(input: {
  node: SelvedgeNode;
  ports: RealPorts;
  controller: boolean;
  down: (workloads: boolean) => void;
  report: Report;
}): ApiOptions {
  const { node, ports, down, report } = input;
  const instance = async (name: string) => {
    const controller = node.member()?.controller;
    if (controller !== undefined) return controller.status.instance(name);
    if (node.member() === undefined) throw new NodeStartingError();
    const { nodes } = await node.status();
    return nodes.flatMap(({ instances }) => instances).find((one) => one.name === name);
  };
  const logs = createInstanceLogs({
    clock: ports.clock,
    self: () => node.name(),
    engines: ports.engines,
    mesh: ports.mesh,
    controller: () => node.member()?.controller,
  });
  const functions = {
    node: node.name(),
    software: ports.software,
    status: () => node.status(),
    async topology() {
      const member = node.member();
      if (member === undefined) throw new NodeStartingError();
      return (member.controller?.status ?? member).topology();
    },
    instance,
    logs: (place: { name: string; node: string | undefined }, query: LogQuery, signal: AbortSignal) =>
      logs.read(place.name, place.node, query, signal),
    goneInstance: (name: string) => logs.gone(name),
    async down({ workloads }: { workloads: boolean }) {
      down(workloads);
    },
    report: (error: unknown) =>
      report('problem', `a request failed: ${error instanceof Error ? error.message : String(error)}`),
  };
  if (!input.controller) return { kind: 'worker', ...functions };
  const controller = () => {
    const found = node.member()?.controller;
    if (found === undefined) throw new NodeStartingError();
    return found;
  };
  return {
    kind: 'controller',
    ...functions,
    nodes: () => controller().status.nodes(),
    nodeNamed: (name) => controller().status.node(name),
    labelNode: (name, change) => controller().labels.change(name, change),
    revokeNode: (name, reason) => controller().revoking.revoke(name, reason),
    removeNode: (name, reason) => controller().revoking.remove(name, reason),
    trace: (from, service) => controller().status.trace(from, service),
    services: () => controller().status.services(),
    applications: () => controller().status.applications(),
    application: (project, name) => controller().status.application(project, name),
    deleteApplication: (project, name) => controller().apply.deleteApplication(project, name),
    apply: (documents, options) => controller().apply.apply(documents, options),
    async stage(request) {
      const { stage, status } = controller();
      const asked = await stage.ask(request);
      const views = await Promise.all(asked.map(({ project, name }) => status.stage(project, name)));
      return views.filter((view) => view !== undefined);
    },
    staged: (project, name) => controller().status.stage(project, name),
    contents: (kind) => controller().contents.list(kind),
    content: (kind, project, name) => controller().contents.describe(kind, project, name),
    deleteContent: (kind, project, name) => controller().contents.remove(kind, project, name),
    setSecret: (project, name, change) => controller().contents.setSecret(project, name, change),
    policies: () => controller().policies.list(),
    policy: (project, name) => controller().policies.describe(project, name),
    deletePolicy: (project, name) => controller().policies.remove(project, name),
    gateways: () => controller().gateways.list(),
    rootCertificate: async () => controller().rootCertificate(),
    gateway: (project, name) => controller().gateways.describe(project, name),
    deleteGateway: (project, name) => controller().gateways.remove(project, name),
    createGrant: (project, name, request) => controller().gateways.grant(project, name, request),
    revokeGrant: (project, name, grant) => controller().gateways.revoke(project, name, grant),
    createToken: (request) => controller().createToken(request),
    pending: async () => controller().admissions.pending(),
    approve: (request) => controller().admissions.approve(request),
    deny: (who) => controller().admissions.deny(who),
    window: async () => controller().admissions.window(),
    openWindow: (request) => controller().admissions.openWindow(request),
    closeWindow: async () => controller().admissions.closeWindow(),
    events: (options) => controller().ledger.list(options),
  };
}

/** Resolves once the node is on the network and its socket answers; `closed` tells how it ends. */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  closeNewFiles();
  const ports = await realPorts(options);
  const { clock } = ports;
  const report: Report = (type, message, detail = {}) =>
    options.onEvent?.({ ...detail, at: clock.now(), type, message });
  const controller = await isController(ports, options);
  const node = await startNode(ports, options, report);
  const { promise: closed, resolve, reject } = Promise.withResolvers<void>();
  let ending: Promise<void> | undefined;
  let dense: TimerId;

  const end = (workloads: boolean, failure?: unknown): Promise<void> => {
    if (ending === undefined) {
      clock.clearTimeout(dense);
      // The socket goes last: who waits for its end knows that everything has ended.
      ending = node.stop({ workloads }).finally(() => server.stop());
      ending.then(() => (failure === undefined ? resolve() : reject(failure)), reject);
    }
    return ending;
  };

  const functions = apiOptions({ node, ports, controller, down: (workloads) => void end(workloads), report });
  const api = createApi(functions);
  const upgrade = createExecUpgrade({
    instance: functions.instance,
    report: functions.report,
    exec: createExecRouting({
      clock,
      engines: ports.engines,
      mesh: ports.mesh,
      self: { name: node.name(), peerId: node.peerId },
      controller: () => node.member()?.controller,
      report,
    }),
  });
  const server = createApiServer({ fetch: api.fetch, upgrade, path: join(options.dataFolder, 'selvedge.sock'), clock });
  try {
    await ports.keepOptions();
    // A controller's socket is there once the fabric is; a worker's tells how joining goes.
    if (controller) await node.joined;
    // Set before anybody can ask for its end.
    dense = clock.setTimeout(letHeapGrow, denseHeapMs);
    await server.start();
  } catch (error) {
    clock.clearTimeout(dense);
    await node.stop({ workloads: false });
    throw error;
  }
  node.joined.catch((error: unknown) => end(false, error).catch(() => undefined));
  // Seen by whoever waits for it.
  closed.catch(() => undefined);
  return { stop: () => end(false), closed };
}

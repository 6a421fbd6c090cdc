// Reads what the views are made of: the fabric's records and every mailbox. Called by the composition for the API. It must never write,
// and a mailbox that cannot be read is a node of which nothing is known, not a failed answer.

import type { CallPolicy } from './call-policy.ts';
import { listRecords } from './documents.ts';
import { plannerWritersMax } from './limits.ts';
import { readObservedInstance, readObservedNode } from './observed-documents.ts';
import { asPlan, decodePayload } from './plan-version.ts';
import { type ServiceView, servicesOf } from './services.ts';
import { type FabricFacts, fabricStatus, fabricViews, type MailboxFacts } from './status.ts';
import type { Database } from './store.ts';
import { type TopologyView, topologyOf } from './topology.ts';
import { type IsAllowed, type TraceView, traceOf } from './trace.ts';
import type { ApplicationView, InstanceView, NodeView, StageView, StatusView } from './views.ts';
import { createSpecCompiler } from './workload-spec.ts';

/** What one mailbox says; malformed observations are left out. */
export async function readMailbox(database: Database): Promise<MailboxFacts> {
  const [node, instances] = await Promise.all([database.get('observed/node'), database.list('observed/instance/')]);
  // After what answers it: a plan that was written and obeyed in between must not look newer than what was written.
  const plan = await database.get('desired/plan');
  return {
    plan: typeof plan?.jws === 'string' ? asPlan(decodePayload(plan.jws)) : undefined,
    node: readObservedNode(node),
    instances: instances.flatMap((document) => readObservedInstance(document) ?? []),
  };
}

export interface StatusReader {
  status(): Promise<StatusView>;
  nodes(): Promise<NodeView[]>;
  /** Undefined when there is none of that name; the same for the others. */
  node(name: string): Promise<NodeView | undefined>;
  applications(): Promise<ApplicationView[]>;
  application(project: string, name: string): Promise<ApplicationView | undefined>;
  instance(name: string): Promise<InstanceView | undefined>;
  /** The graph of nodes and links. */
  topology(): Promise<TopologyView>;
  /** What can be called, and who answers. */
  services(): Promise<ServiceView[]>;
  /** The way of a call; rejects for names that nothing has. */
  trace(from: string, service: string): Promise<TraceView>;
  /** What is fetched ahead of an application. */
  stage(project: string, name: string): Promise<StageView | undefined>;
}

export function createStatusReader({
  fabric,
  mailbox,
  identity,
  self,
  linked,
  conditionsOf,
  lastSeenAt,
  authorization,
}: {
  fabric: Database;
  mailbox: (node: string) => Promise<Database>;
  identity: { id: string; name: string };
  /** Name of this node. */
  self: string;
  /** Whether the mesh is linked to a peer now. */
  linked: (peerId: string) => boolean;
  /** What stands in the way of a node on its box now. */
  conditionsOf?: (peerId: string) => string[];
  lastSeenAt?: (peerId: string) => number | undefined;
  /** Who may call whom by these policies, as nodes judge it. */
  authorization?: (policies: readonly CallPolicy[]) => IsAllowed;
}): StatusReader {
  const specs = createSpecCompiler();

  const read = async (): Promise<FabricFacts> => {
    const [nodes, applications, configs, secrets, placements, stages] = await Promise.all([
      listRecords(fabric, 'node'),
      listRecords(fabric, 'application'),
      listRecords(fabric, 'config'),
      listRecords(fabric, 'secret'),
      listRecords(fabric, 'placement'),
      listRecords(fabric, 'stage'),
    ]);
    const mailboxes = new Map<string, MailboxFacts>();
    // A revoked node has none, and reading it would make one.
    const queue = nodes.flatMap(({ name, revoked }) => (revoked === undefined ? [name] : []));
    const worker = async (): Promise<void> => {
      for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
        const nothing: MailboxFacts = { plan: undefined, node: undefined, instances: [] };
        mailboxes.set(
          name,
          await mailbox(name)
            .then(readMailbox)
            .catch(() => nothing),
        );
      }
    };
    await Promise.all(Array.from({ length: plannerWritersMax }, worker));
    const records = { nodes, applications, configs, secrets, placements, stages, mailboxes };
    return { fabric: identity, self, ...records, linked, conditionsOf, lastSeenAt, specs };
  };
  const views = async () => fabricViews(await read());

  return {
    status: async () => fabricStatus(await read()),
    nodes: async () => (await views()).nodes,
    node: async (name) => (await views()).nodes.find((node) => node.name === name),
    applications: async () => (await views()).applications,
    application: async (project, name) =>
      (await views()).applications.find((application) => application.project === project && application.name === name),
    async services() {
      const facts = await read();
      return servicesOf(facts, fabricViews(facts).applications);
    },
    async trace(from, service) {
      const facts = await read();
      const { applications } = fabricViews(facts);
      const { mailboxes } = facts;
      const isAllowed = authorization?.(await listRecords(fabric, 'policy'));
      const services = servicesOf(facts, applications);
      return traceOf(from, service, { topology: topologyOf(facts), services, applications, mailboxes, isAllowed });
    },
    topology: async () => topologyOf(await read()),
    stage: async (project, name) => (await views()).stages.get(`${project}/${name}`),
    async instance(name) {
      const { nodes, applications } = await views();
      const wanted = applications.flatMap(({ instances }) => instances);
      return [...wanted, ...nodes.flatMap(({ instances }) => instances)].find((instance) => instance.name === name);
    },
  };
}

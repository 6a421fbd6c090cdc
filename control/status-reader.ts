// Reads what the views are made of: the fabric's records and every mailbox. Called by the composition for the API. It must never write,
// and a mailbox that cannot be read is a node of which nothing is known, not a failed answer.

import { z } from 'zod';
import { listRecords } from './documents.ts';
import type { ObservedInstance, ObservedNode } from './fabric.ts';
import { plannerWritersMax } from './limits.ts';
import { probeKinds } from './plan.ts';
import { asPlan, decodePayload, isVersion } from './plan-version.ts';
import { type FabricFacts, fabricStatus, fabricViews, type MailboxFacts } from './status.ts';
import type { Database, StoredDocument } from './store.ts';
import type { ApplicationView, InstanceView, NodeView, StatusView } from './views.ts';
import { createSpecCompiler } from './workload-spec.ts';

const text = z.string();
const time = z.number();
const probe = z.looseObject({ judgement: z.enum(['passing', 'failing', 'failed']), reason: text, since: time });
/** What the views read of it; a node may say more than this version knows. */
const observedInstance = z.looseObject({
  instance: text,
  state: text,
  ready: z.boolean(),
  reason: text,
  since: time.optional(),
  restarts: z.number(),
  specHash: text,
  content: text.optional(),
  pid: z.number().optional(),
  nextTryAt: time.optional(),
  failures: z.number().optional(),
  history: z.array(z.looseObject({ at: time, state: text, ready: z.boolean(), reason: text })).optional(),
  probes: z.partialRecord(z.enum(probeKinds), probe).optional(),
  exit: z.looseObject({ at: time, status: z.number().optional(), signal: text.optional() }).optional(),
  addresses: z.array(z.looseObject({ port: text, host: text, hostPort: z.number() })).optional(),
});

function isObservedInstance(document: StoredDocument): boolean {
  const read = observedInstance.safeParse(document);
  return read.success && document._id === `observed/instance/${read.data.instance}`;
}

function asObservedNode(document: StoredDocument | undefined): ObservedNode | undefined {
  if (document === undefined || (document.version !== undefined && !isVersion(document.version))) return undefined;
  const lists = [document.links, document.addresses, document.problems].every(Array.isArray);
  return lists ? (document as unknown as ObservedNode) : undefined;
}

/** What one mailbox says; malformed observations are left out. */
export async function readMailbox(database: Database): Promise<MailboxFacts> {
  const [node, instances] = await Promise.all([database.get('observed/node'), database.list('observed/instance/')]);
  // After what answers it: a plan that was written and obeyed in between must not look newer than what was written.
  const plan = await database.get('desired/plan');
  return {
    plan: typeof plan?.jws === 'string' ? asPlan(decodePayload(plan.jws)) : undefined,
    node: asObservedNode(node),
    instances: instances.filter(isObservedInstance) as unknown as ObservedInstance[],
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
}

export function createStatusReader({
  fabric,
  mailbox,
  identity,
  self,
  linked,
  conditionsOf,
  lastSeenAt,
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
}): StatusReader {
  const specs = createSpecCompiler();

  const read = async (): Promise<FabricFacts> => {
    const [nodes, applications, configs, secrets, placements] = await Promise.all([
      listRecords(fabric, 'node'),
      listRecords(fabric, 'application'),
      listRecords(fabric, 'config'),
      listRecords(fabric, 'secret'),
      listRecords(fabric, 'placement'),
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
    const records = { nodes, applications, configs, secrets, placements, mailboxes };
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
    async instance(name) {
      const { nodes, applications } = await views();
      const wanted = applications.flatMap(({ instances }) => instances);
      return [...wanted, ...nodes.flatMap(({ instances }) => instances)].find((instance) => instance.name === name);
    },
  };
}

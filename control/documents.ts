// Documents of the fabric database as they are read back: what replication brought is checked again here, so that a malformed one is a
// reason and never an exception in the middle of planning. Called by the planner and the views; it must never write.

import { z } from 'zod';
import { storedBalancing } from './balancing.ts';
import { callRules, storedCall } from './call-schema.ts';
import { deviceNeeds } from './devices.ts';
import { dockerFields, volume } from './docker-options.ts';
import type {
  ApplicationRecord,
  ConfigRecord,
  GatewayRecord,
  NodeRecord,
  PlacementRecord,
  PolicyRecord,
  SecretRecord,
  StageRecord,
} from './fabric.ts';
import { storedGateway, storedGrant } from './gateway-schema.ts';
import { microservicesMax, replicasMax } from './limits.ts';
import { dnsLabelPattern, isConfigPath, isSecretKey } from './names.ts';
import { storedProtocol } from './ports.ts';
import { memoryBytes } from './quantity.ts';
import { isSalted } from './salted-content.ts';
import type { Database, StoredDocument } from './store.ts';
import { wasmFields, wholeModule } from './wasm-options.ts';

const label = z.string().regex(dnsLabelPattern);
const count = z.int().min(0);
const texts = z.record(z.string(), z.string());

const node = z.looseObject({
  name: label,
  peerId: z.string().min(1).max(128),
  router: z.enum(['interior', 'edge']),
  controller: z.boolean(),
  labels: texts,
  engines: z.array(z.string()),
  unavailableEngines: texts.optional(),
  placementHardware: z
    .looseObject({
      arch: z.string(),
      memoryBytes: count,
      devices: z.array(z.looseObject({ id: z.string(), kind: z.string(), paths: z.array(z.string()) })),
      devicesAllowed: z.boolean(),
    })
    .optional(),
  authorityPublicKey: z.string(),
  issueNumber: count,
  admittedAt: z.number(),
  admittedBy: z.enum(['founding', 'token', 'approval', 'window']),
  revoked: z.looseObject({ at: z.number(), reason: z.string() }).optional(),
});

const port = z.looseObject({ name: label, port: z.int().min(1).max(65_535), protocol: storedProtocol });
const command = z.array(z.string()).min(1);
const workingDirectory = z.string().optional();
const engine = z.discriminatedUnion('engine', [
  z.looseObject({
    engine: z.literal('process'),
    command,
    user: dockerFields.user,
    hostNetwork: dockerFields.hostNetwork,
    workingDirectory,
  }),
  z.looseObject({
    engine: z.literal('docker'),
    image: z.string().min(1),
    command: command.optional(),
    args: z.array(z.string()).optional(),
    ...dockerFields,
    workingDirectory,
  }),
  z.looseObject({
    engine: z.literal('wasm'),
    module: wholeModule,
    args: z.array(z.string()).optional(),
    ...wasmFields,
  }),
]);
const onChange = z.literal('restart').optional();
const mounts = z.array(z.union([label, z.looseObject({ name: label, onChange })]));
const source = z.union([z.looseObject({ config: label }), z.looseObject({ secret: label })]);
const probe = z.looseObject({ periodMs: z.number() });
const common = z.looseObject({
  name: label,
  env: texts,
  ports: z.array(port),
  configs: mounts,
  secrets: mounts.optional(),
  envFrom: z.record(z.string(), z.intersection(z.looseObject({ key: z.string(), onChange }), source)).optional(),
  resources: z
    .looseObject({
      memory: z
        .string()
        .refine((text) => memoryBytes(text) !== undefined)
        .optional(),
      cpus: z.number().positive().optional(),
      pids: z.int().positive().optional(),
    })
    .optional(),
  calls: z.array(storedCall).optional(),
  replicas: count.max(replicasMax),
  balancing: storedBalancing.optional(),
  placement: z.looseObject({
    node: label.optional(),
    labels: texts.optional(),
    arch: z.string().optional(),
    devices: deviceNeeds.optional(),
  }),
  volumes: z.array(volume).optional(),
  startup: probe.optional(),
  readiness: probe.optional(),
  liveness: probe.optional(),
  healthyAfterMs: count.optional(),
  dependsOn: z.array(label),
  restart: z.enum(['always', 'on-failure', 'never']),
  stopTimeoutMs: count,
});
const microservice = z.intersection(engine, common);

const application = z.looseObject({
  project: label,
  name: label,
  generation: count,
  microservices: z.array(microservice).max(microservicesMax),
  appliedAt: z.number(),
});

const stage = z.looseObject({
  project: label,
  name: label,
  microservices: z.array(microservice).max(microservicesMax),
  askedAt: z.number(),
  expiresAt: z.number(),
});

const config = z.looseObject({
  project: label,
  name: label,
  generation: count,
  files: z.record(z.string().refine(isConfigPath), z.string()),
});

const secret = z.looseObject({
  project: label,
  name: label,
  generation: count,
  data: z.record(z.string().refine(isSecretKey), z.string().refine(isSalted)),
});

const policy = z.looseObject({ project: label, name: label, generation: count, allow: callRules });

const gateway = z.looseObject({
  project: label,
  name: label,
  generation: count,
  spec: storedGateway,
  grants: z.array(storedGrant),
  added: z.array(storedGrant),
});

const stopOrder = z.looseObject({ dependsOn: z.array(z.string()), stopTimeoutMs: count });
const placement = z.looseObject({
  instances: z.record(z.string(), z.looseObject({ node: z.string() })),
  unplaced: z.record(z.string(), texts),
  order: z.record(z.string(), stopOrder).optional(),
  leaving: z.record(z.string(), stopOrder.extend({ node: z.string(), endingSince: z.number().optional() })).optional(),
});

export interface FabricRecords {
  node: NodeRecord;
  application: ApplicationRecord;
  config: ConfigRecord;
  secret: SecretRecord;
  placement: PlacementRecord;
  stage: StageRecord;
  policy: PolicyRecord;
  gateway: GatewayRecord;
}
export type FabricKind = keyof FabricRecords;

const schemas: Record<FabricKind, z.ZodType> = { node, application, config, secret, placement, stage, policy, gateway };
export const fabricKinds = Object.keys(schemas) as FabricKind[];

/** `application/shop/web` → `application`; undefined for other documents. */
export function kindOfId(id: string): FabricKind | undefined {
  return fabricKinds.find((kind) => id.startsWith(`${kind}/`));
}

function idOf(kind: FabricKind, document: StoredDocument): string {
  if (kind === 'placement') return document._id;
  return kind === 'node' ? `node/${document.name}` : `${kind}/${document.project}/${document.name}`;
}

export type ReadRecord<K extends FabricKind> = { record: FabricRecords[K] } | { malformed: string };

/** The document as a record of its kind, or what is wrong with it. */
export function readRecord<K extends FabricKind>(kind: K, document: StoredDocument): ReadRecord<K> {
  const parsed = schemas[kind].safeParse(document);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    return { malformed: `${document._id}: ${issue?.path.join('.') ?? ''} ${issue?.message ?? 'malformed'}` };
  }
  if (idOf(kind, document) !== document._id) return { malformed: `${document._id}: its name is another` };
  return { record: document as unknown as FabricRecords[K] };
}

/** All well-formed records of a kind, in order of id; `onMalformed` hears of the others. */
export async function listRecords<K extends FabricKind>(
  fabric: Database,
  kind: K,
  onMalformed: (reason: string) => void = () => undefined,
): Promise<FabricRecords[K][]> {
  const records: FabricRecords[K][] = [];
  for (const document of await fabric.list(`${kind}/`)) {
    const read = readRecord(kind, document);
    if ('record' in read) records.push(read.record);
    else onMalformed(read.malformed);
  }
  return records;
}

/** One record, undefined when there is none or it is malformed. */
export async function getRecord<K extends FabricKind>(
  fabric: Database,
  kind: K,
  id: string,
): Promise<FabricRecords[K] | undefined> {
  const document = await fabric.get(`${kind}/${id}`);
  const read = document === undefined ? undefined : readRecord(kind, document);
  return read !== undefined && 'record' in read ? read.record : undefined;
}

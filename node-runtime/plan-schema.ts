// The form of a plan's payload. Called by plan-follower.ts before a plan is obeyed: what is stored as obeyed is started at
// every boot, so nothing may get there that a later reader stumbles over. Fields that this version does not know are let be.

import { z } from 'zod';
import { storedBalancing } from '../control/balancing.ts';
import { deviceNeeds } from '../control/devices.ts';
import { dockerFields, volume } from '../control/docker-options.ts';
import { storedGrant } from '../control/gateway-schema.ts';
import type { Plan } from '../control/plan.ts';
import { storedProtocol } from '../control/ports.ts';
import { memoryBytes } from '../control/quantity.ts';
import { wasmFields, wholeModule } from '../control/wasm-options.ts';
import { planFilesMax, planGatewaysMax, planInstancesMax, planStageItemsMax } from './limits.ts';

const count = z.number().int().nonnegative();
const duration = z.number().nonnegative();
const text = z.string();
const name = text.min(1);
const sha256 = text.regex(/^[0-9a-f]{64}$/);
const microservice = { project: name, application: name, microservice: name };

const command = z.array(text).min(1);

const probe = z.intersection(
  z.looseObject({
    periodMs: duration,
    timeoutMs: duration,
    failureThreshold: count,
    successThreshold: count,
    initialDelayMs: duration,
  }),
  z.union([
    z.looseObject({ http: z.looseObject({ path: text, port: name }) }),
    z.looseObject({ tcp: z.looseObject({ port: name }) }),
    z.looseObject({ exec: z.looseObject({ command }) }),
  ]),
);

/** Of an engine that this version does not have the instance says so; the others of the plan run. */
const engine = z.discriminatedUnion('engine', [
  z.looseObject({ engine: z.literal('process'), command, user: dockerFields.user }),
  z.looseObject({
    engine: z.literal('docker'),
    image: name,
    command: command.optional(),
    args: z.array(text).optional(),
    ...dockerFields,
  }),
  z.looseObject({
    engine: z.literal('wasm'),
    module: wholeModule,
    args: z.array(text).optional(),
    ...wasmFields,
  }),
]);
const engineNames: unknown[] = ['process', 'docker', 'wasm'];
const otherEngine = z.looseObject({ engine: name.refine((value) => !engineNames.includes(value)) });

const mounts = z.array(z.looseObject({ name, files: z.array(z.looseObject({ path: name, slot: name, sha256 })) }));
const source = z.intersection(
  z.looseObject({ key: name, slot: name, sha256 }),
  z.union([z.looseObject({ config: name }), z.looseObject({ secret: name })]),
);

const common = z.looseObject({
  env: z.record(text, text),
  envFrom: z.record(text, source).optional(),
  workingDirectory: text.optional(),
  ports: z.array(z.looseObject({ name, port: count, protocol: storedProtocol })),
  configs: mounts,
  secrets: mounts.optional(),
  resources: z
    .looseObject({
      memory: text.refine((value) => memoryBytes(value) !== undefined, 'no quantity of memory').optional(),
      cpus: z.number().positive().optional(),
      pids: z.number().int().positive().optional(),
    })
    .optional(),
  volumes: z.array(volume).optional(),
  deviceNeeds: deviceNeeds.optional(),
  startup: probe.optional(),
  readiness: probe.optional(),
  liveness: probe.optional(),
  healthyAfterMs: duration.optional(),
  restart: z.enum(['always', 'on-failure', 'never']),
  stopTimeoutMs: duration,
});
const spec = z.intersection(common, z.union([engine, otherEngine]));

const instance = z.looseObject({
  ...microservice,
  name,
  index: count,
  spec,
  specHash: text,
  calls: z.array(
    z.looseObject({ ...microservice, port: count, protocol: storedProtocol, balancing: storedBalancing.optional() }),
  ),
  dependsOn: z.array(name),
  ticket: text,
});

/** Fetched ahead: an engine that cannot fetch it says so. */
const stageItem = z.looseObject({
  id: name,
  askedAt: z.number(),
  spec: z.looseObject({ engine: name, volumes: z.array(volume).optional(), deviceNeeds: deviceNeeds.optional() }),
});

const fileReference = z.looseObject({ slot: name, sha256 });
/** Of a protocol that this version does not have the gateway says so. */
const gateway = z.looseObject({
  project: name,
  name,
  generation: count,
  address: text.optional(),
  port: count,
  protocol: name,
  tls: z
    .union([
      z.looseObject({ names: z.array(name) }),
      z.looseObject({ certificate: fileReference, key: fileReference }),
      z.looseObject({ missing: text }),
    ])
    .optional(),
  routes: z.array(
    z.looseObject({
      host: text.optional(),
      path: text.optional(),
      to: z.looseObject({ ...microservice, port: count, balancing: storedBalancing.optional() }),
    }),
  ),
  grants: z.array(storedGrant),
});

const plan = z.looseObject({
  epoch: count,
  term: count,
  generation: count,
  fabricId: text,
  node: text,
  peerId: text,
  instances: z
    .array(instance)
    .max(planInstancesMax)
    .refine(
      (instances) => new Set(instances.map((one) => one.name)).size === instances.length,
      'a name is there twice',
    ),
  files: z.array(z.looseObject({ slot: name, sha256 })).max(planFilesMax),
  stage: z.array(stageItem).max(planStageItemsMax).optional(),
  gateways: z.array(gateway).max(planGatewaysMax).optional(),
});

/** The payload as a plan, or where it has not the form of one. */
export function readPlan(payload: unknown): { plan: Plan } | { malformed: string } {
  const parsed = plan.safeParse(payload);
  // The payload itself, not zod's copy: its fields keep their order and what is unknown.
  if (parsed.success) return { plan: payload as Plan };
  const [issue] = parsed.error.issues;
  return { malformed: `${issue?.path.join('.') || 'its top'}: ${issue?.message ?? 'malformed'}` };
}

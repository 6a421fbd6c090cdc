// The form of manifests, as zod schemas: called by manifest.ts, and published to editors as JSON Schema. Each description is the
// accepted form that a refusal repeats. What concerns more than one field is in manifest-checks.ts, never here.

import { z } from 'zod';
import { balancingField } from './balancing.ts';
import { declaredCalls, policySpec } from './call-schema.ts';
import { deviceNeeds } from './devices.ts';
import { dockerFields, volume } from './docker-options.ts';
import { gatewaySpec } from './gateway-schema.ts';
import {
  commandWordCharactersMax,
  commandWordsMax,
  configFilesMax,
  configPathCharactersMax,
  configsMax,
  cpusMax,
  cpusMin,
  envNameCharactersMax,
  envValueCharactersMax,
  healthyAfterMsMax,
  imageCharactersMax,
  labelValueCharactersMax,
  microservicesMax,
  pidsMax,
  portsMax,
  probePeriodMsMax,
  probeThresholdMax,
  replicasMax,
  secretKeysMax,
  stopTimeoutMsMax,
  volumesMax,
} from './limits.ts';
import {
  configPathForm,
  dnsLabelForm,
  dnsLabelPattern,
  isConfigPath,
  isLabelKey,
  isLabelValue,
  isSecretKey,
  labelKeyForm,
  labelValueForm,
  secretKeyForm,
} from './names.ts';
import type { ProbeKind } from './plan.ts';
import { protocolField } from './ports.ts';
import { memoryBytes, memoryForm } from './quantity.ts';
import { moduleField, wasmFields } from './wasm-options.ts';

export const apiVersion = 'selvedge/v1';

const label = z.string().regex(dnsLabelPattern).describe(dnsLabelForm);
/** No NUL: the kernel ends arguments, environment and paths at one. */
const withoutNul = /^[^\0]*$/;
const whole = (minimum: number, maximum: number, unit: string) =>
  z.int().min(minimum).max(maximum).describe(`a whole number from ${minimum} to ${maximum}${unit}`);

const envName = z
  .string()
  .max(envNameCharactersMax)
  .regex(/^[A-Za-z_][A-Za-z0-9_]*$/)
  .describe('letters, digits and _, not beginning with a digit');
const envValue = z
  .string()
  .max(envValueCharactersMax)
  .regex(withoutNul)
  .describe(`a string of at most ${envValueCharactersMax} characters; put numbers and true/false in quotes`);
const onChangeForm = "'update' (a running instance gets the new files) or 'restart' (it is replaced)";
const onChange = z.enum(['update', 'restart']).default('update').describe(onChangeForm);
const envForm =
  'a string (numbers and true/false in quotes), {secret: db, key: password} or {config: app, key: site.json}';
const envSource = z.strictObject({
  secret: label.optional(),
  config: label.optional(),
  key: z
    .string()
    .max(configPathCharactersMax)
    .refine(isConfigPath)
    .describe("a key of the Secret, or a file's path in the Config"),
  onChange,
});
const mountOf = (kind: string) =>
  z
    .union([label, z.strictObject({ name: label, onChange })])
    .describe(`the name of a ${kind} of the same project, or {name: …, onChange: restart}`);
const labelKey = z.string().refine(isLabelKey).describe(labelKeyForm);
const labelValue = z.string().max(labelValueCharactersMax).refine(isLabelValue).describe(`a string: ${labelValueForm}`);

const words = z
  .array(
    z
      .string()
      .max(commandWordCharactersMax)
      .regex(withoutNul)
      .describe('a string; put numbers and true/false in quotes'),
  )
  .min(1)
  .max(commandWordsMax);

/** As Node.js calls them, and as `nodes describe` prints them. */
const architectures = [
  'x64',
  'arm64',
  'arm',
  'ia32',
  'riscv64',
  'loong64',
  'ppc64',
  's390x',
  'mips',
  'mipsel',
] as const;
const architectureForm = 'x64 (others say amd64), arm64 (aarch64), arm, ia32, riscv64, … as `nodes describe` says';

export const commandForm = 'a list of strings, the program first: [node, server.js]';
export const probeForm = '{http: {path: /health, port: http}}, {tcp: {port: http}} or {exec: {command: [check]}}';

const probesForm = `${probeForm}, with periodMs, timeoutMs, … as wanted`;

/** How often a probe is asked, and how many failures in a row count. */
const probe = (periodMs: number, failureThreshold: number) =>
  z
    .strictObject({
      http: z
        .strictObject({
          path: z
            .string()
            .max(1024)
            .regex(/^\/[\x21-\x7e]*$/)
            .describe("a path that begins with '/', such as /health"),
          port: label.describe('the name of one of the ports'),
        })
        .optional(),
      tcp: z.strictObject({ port: label.describe('the name of one of the ports') }).optional(),
      exec: z.strictObject({ command: words.describe(commandForm) }).optional(),
      periodMs: whole(10, probePeriodMsMax, ' (milliseconds)').default(periodMs),
      timeoutMs: whole(1, probePeriodMsMax, ' (milliseconds)').default(1000),
      failureThreshold: whole(1, probeThresholdMax, '').default(failureThreshold),
      initialDelayMs: whole(0, probePeriodMsMax, ' (milliseconds)').default(0),
    })
    .describe(probesForm);

/** A start may take a minute; unready is said soon, since it costs nothing; a restart is not made lightly. */
const probes = z.strictObject({
  startup: probe(1_000, 60).optional(),
  readiness: probe(1_000, 3)
    .extend({ successThreshold: whole(1, probeThresholdMax, '').default(1) })
    .describe(probesForm)
    .optional(),
  liveness: probe(10_000, 3).optional(),
});

const resources = z
  .strictObject({
    memory: z
      .string()
      .refine((text) => memoryBytes(text) !== undefined)
      .describe(memoryForm)
      .optional(),
    cpus: z
      .number()
      .min(cpusMin)
      .max(cpusMax)
      .describe(`a number from ${cpusMin} to ${cpusMax}: 0.5 is half of one core`)
      .optional(),
    pids: whole(1, pidsMax, '').optional(),
  })
  .describe('{memory: 128Mi, cpus: 0.5, pids: 100}, each as wanted');

export const imageForm = 'an image as `docker run` takes it: registry.example/shop/web:1.2, or …@sha256:…';

/** One object for all engines, so that a refusal names the field; manifest-checks.ts holds what each engine takes. */
const microservice = z
  .strictObject({
    name: label,
    engine: z.enum(['process', 'docker', 'wasm']).describe("'process', 'docker' or 'wasm'"),
    command: words.describe(commandForm).optional(),
    image: z
      .string()
      .max(imageCharactersMax)
      .regex(/^[a-zA-Z0-9][a-zA-Z0-9._\-/:]*(@sha256:[0-9a-f]{64})?$/)
      .describe(imageForm)
      .optional(),
    module: moduleField.optional(),
    ...wasmFields,
    args: words.describe("a list of strings: in place of the image's CMD, or the module's arguments").optional(),
    ...dockerFields,
    env: z
      .record(envName, z.union([envValue, envSource]).describe(envForm))
      .default({})
      .describe('an object: {KEY: value}, or {KEY: {secret: db, key: password}}'),
    workingDirectory: z
      .string()
      .max(4096)
      .regex(/^\/[^\0]*$/)
      .describe('an absolute path')
      .optional(),
    ports: z
      .array(
        z
          .strictObject({ name: label, port: whole(1, 65_535, ''), protocol: protocolField })
          .describe('{name: http, port: 8080}'),
      )
      .max(portsMax)
      .default([])
      .describe('a list: [{name: http, port: 8080}]'),
    configs: z
      .array(mountOf('Config'))
      .max(configsMax)
      .default([])
      .describe('a list of names of Configs of the same project'),
    secrets: z
      .array(mountOf('Secret'))
      .max(configsMax)
      .default([])
      .describe('a list of names of Secrets of the same project'),
    calls: declaredCalls.optional(),
    replicas: whole(0, replicasMax, '').default(1),
    balancing: balancingField.optional(),
    placement: z
      .strictObject({
        node: label.optional(),
        labels: z.record(labelKey, labelValue).describe('an object of strings: {site: north}').optional(),
        arch: z.enum(architectures).describe(architectureForm).optional(),
        devices: deviceNeeds.optional(),
      })
      .default({})
      .describe('{node: box2}, {labels: {selvedge/router: edge}}, arch or devices, each as wanted'),
    resources: resources.optional(),
    volumes: z.array(volume).max(volumesMax).describe('a list: [{name: data, path: /var/lib/data}]').optional(),
    probes: probes.default({}).describe('{startup: {…}, readiness: {…}, liveness: {…}}, each as wanted'),
    dependsOn: z
      .array(label)
      .max(microservicesMax)
      .default([])
      .describe('a list of names of microservices of the same application'),
    restart: z.enum(['always', 'on-failure', 'never']).default('always').describe("'always', 'on-failure' or 'never'"),
    healthyAfterMs: whole(
      0,
      healthyAfterMsMax,
      ' (milliseconds): after so long a failure waits the first wait again',
    ).optional(),
    stopTimeoutMs: whole(0, stopTimeoutMsMax, ' (milliseconds)').default(10_000),
  })
  .describe('an object with name, engine, and command, image or module');

const metadata = z
  .strictObject({ name: label, project: label.default('default') })
  .describe('{name: cold-chain, project: default}');

export const applicationSchema = z
  .strictObject({
    apiVersion: z.literal(apiVersion).describe(`'${apiVersion}'`),
    kind: z.literal('Application'),
    metadata,
    spec: z
      .strictObject({
        microservices: z
          .array(microservice)
          .min(1)
          .max(microservicesMax)
          .describe('a list of at least one microservice'),
      })
      .describe('{microservices: […]}'),
  })
  .describe('an Application');

const configFile = z
  .strictObject({
    text: z.string().describe('a string').optional(),
    base64: z.string().describe('base64 with padding (RFC 4648, section 4)').optional(),
  })
  .describe('{text: "…"} or {base64: "…"} (in a file for `selvedge apply` also {fromFile: ./path})');

export const configSchema = z
  .strictObject({
    apiVersion: z.literal(apiVersion).describe(`'${apiVersion}'`),
    kind: z.literal('Config'),
    metadata,
    spec: z
      .strictObject({
        files: z
          .record(z.string().max(configPathCharactersMax).refine(isConfigPath).describe(configPathForm), configFile)
          .refine((files) => Object.keys(files).length <= configFilesMax, `has more than ${configFilesMax} files`)
          .describe('an object: {sensor.js: {text: "…"}}'),
      })
      .describe('{files: {…}}'),
  })
  .describe('a Config');

const secretValue = z
  .strictObject({
    text: z.string().describe('a string').optional(),
    base64: z.string().describe('base64 with padding (RFC 4648, section 4)').optional(),
  })
  .describe('{text: "…"} or {base64: "…"} (in a file for `selvedge apply` also {fromFile: ./path})');

export const secretSchema = z
  .strictObject({
    apiVersion: z.literal(apiVersion).describe(`'${apiVersion}'`),
    kind: z.literal('Secret'),
    metadata,
    spec: z
      .strictObject({
        data: z
          .record(z.string().refine(isSecretKey).describe(secretKeyForm), secretValue)
          .refine((data) => Object.keys(data).length <= secretKeysMax, `has more than ${secretKeysMax} keys`)
          .describe('an object: {password: {text: "…"}}'),
      })
      .describe('{data: {…}}'),
  })
  .describe('a Secret');

export const policySchema = z
  .strictObject({
    apiVersion: z.literal(apiVersion).describe(`'${apiVersion}'`),
    kind: z.literal('Policy'),
    metadata,
    spec: policySpec,
  })
  .describe('a Policy');

export const gatewaySchema = z
  .strictObject({
    apiVersion: z.literal(apiVersion).describe(`'${apiVersion}'`),
    kind: z.literal('Gateway'),
    metadata,
    spec: gatewaySpec,
  })
  .describe('a Gateway');

export const manifestSchemas = {
  Application: applicationSchema,
  Config: configSchema,
  Secret: secretSchema,
  Policy: policySchema,
  Gateway: gatewaySchema,
} as const;
export type ManifestKind = keyof typeof manifestSchemas;
export type ParsedApplication = z.infer<typeof applicationSchema>;
export type ParsedConfig = z.infer<typeof configSchema>;
export type ParsedSecret = z.infer<typeof secretSchema>;
export type ParsedProbe = NonNullable<ParsedMicroservice['probes'][ProbeKind]>;
export type ParsedMicroservice = ParsedApplication['spec']['microservices'][number];

/** JSON Schema (draft 2020-12) of what a manifest file may hold; what concerns several fields is checked beyond it. */
export function manifestJsonSchema(): Record<string, unknown> {
  const schemas = Object.values(manifestSchemas).map((schema) => z.toJSONSchema(schema, { io: 'input' }));
  const $schema = schemas[0]?.$schema;
  const oneOf = schemas.map(({ $schema: _, ...schema }) => schema);
  return { $schema, title: `Selvedge manifest (${apiVersion})`, oneOf };
}

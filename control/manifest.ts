// Manifests: what operators declare, checked and turned into specs. Called by apply.ts (and by the CLI before it sends anything).
// Everything is checked before anything is returned; it must never read or write the fabric.

import { toBalancing } from './balancing.ts';
import type { CallPolicy } from './call-policy.ts';
import { checkPolicy } from './call-schema.ts';
import { toNeed } from './devices.ts';
import { dockerFieldNames, dockerOptionsOf } from './docker-options.ts';
import { ManifestError } from './errors.ts';
import type { EnvironmentReference, MicroserviceSpec, MountReference } from './fabric.ts';
import { type GatewayGrant, type GatewaySpec, gatewayPolicyPrefix } from './gateway.ts';
import { checkGateway, toGatewaySpec, toGrant } from './gateway-schema.ts';
import { manifestDepthMax, manifestDocumentsMax, manifestIssuesMax, manifestValuesMax } from './limits.ts';
import { checkApplication } from './manifest-checks.ts';
import { readConfigFiles, readSecretData } from './manifest-contents.ts';
import { describeIssues, type FieldIssue, issueText, type ManifestIssue, pathText } from './manifest-issues.ts';
import {
  apiVersion,
  applicationSchema,
  configSchema,
  gatewaySchema,
  manifestJsonSchema,
  manifestSchemas,
  type ParsedMicroservice,
  type ParsedProbe,
  policySchema,
  secretSchema,
} from './manifest-schema.ts';
import {
  type DockerOptions,
  type EngineSpec,
  type ProbeSpec,
  type Probes,
  probeKinds,
  type Resources,
  type VolumeSpec,
  type WasmModule,
  type WasmOptions,
} from './plan.ts';
import { toPort } from './ports.ts';
import { didYouMean } from './suggestion.ts';
import { readModule, wasmFieldNames, wasmOptionsOf } from './wasm-options.ts';

export type { ManifestIssue };
export { manifestJsonSchema };

export interface ManifestApplication {
  /** Index of the document it came from. */
  document: number;
  project: string;
  name: string;
  microservices: MicroserviceSpec[];
}

export interface ManifestConfig {
  document: number;
  project: string;
  name: string;
  /** Path inside the config's folder to base64 content. */
  files: Record<string, string>;
}

export interface ManifestSecret {
  document: number;
  project: string;
  name: string;
  /** Key to value in base64. */
  data: Record<string, string>;
}

export interface ManifestPolicy extends CallPolicy {
  document: number;
}

export interface ManifestGateway {
  document: number;
  project: string;
  name: string;
  spec: GatewaySpec;
  grants: GatewayGrant[];
}

export interface Manifests {
  applications: ManifestApplication[];
  configs: ManifestConfig[];
  secrets: ManifestSecret[];
  policies: ManifestPolicy[];
  gateways: ManifestGateway[];
}

/** Throws ManifestError when there are issues; the message lists them, one a line. */
export function refuseIssues(issues: readonly ManifestIssue[]): void {
  if (issues.length === 0) return;
  const shown = issues.slice(0, manifestIssuesMax);
  const lines = shown.map(issueText);
  if (issues.length > shown.length) lines.push(`and ${issues.length - shown.length} more`);
  throw new ManifestError(shown, lines.join('\n'));
}

/** Bounds of depth and size, and plain JSON values alone, before anything recursive looks at the value. */
function shapeIssue(root: unknown): FieldIssue | undefined {
  const waiting: { value: unknown; path: (string | number)[] }[] = [{ value: root, path: [] }];
  let values = 0;
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { value, path } = next;
    values += 1;
    if (values > manifestValuesMax)
      return { path: [], reason: `has more than ${manifestValuesMax} values`, accepted: '' };
    if (typeof value === 'function' || typeof value === 'bigint' || typeof value === 'symbol') {
      return { path, reason: `is a ${typeof value}`, accepted: 'plain JSON or YAML values' };
    }
    if (typeof value !== 'object' || value === null) continue;
    if (path.length >= manifestDepthMax) {
      return { path, reason: `is nested deeper than ${manifestDepthMax} levels`, accepted: '' };
    }
    const prototype: unknown = Object.getPrototypeOf(value);
    if (!Array.isArray(value) && prototype !== Object.prototype && prototype !== null) {
      return { path, reason: 'is not a plain value', accepted: 'plain JSON or YAML values' };
    }
    const keys = Object.keys(value);
    if (values + keys.length > manifestValuesMax) {
      return { path, reason: `the document has more than ${manifestValuesMax} values`, accepted: '' };
    }
    for (const key of keys) {
      if (key === '__proto__') return { path: [...path, key], reason: 'is not a usable name', accepted: '' };
      const part = Array.isArray(value) ? Number(key) : key;
      waiting.push({ value: (value as Record<string, unknown>)[key], path: [...path, part] });
    }
  }
  return undefined;
}

function envelopeIssues(object: unknown): FieldIssue[] {
  if (typeof object !== 'object' || object === null || Array.isArray(object)) {
    const accepted = `an object with apiVersion: ${apiVersion}, kind, metadata and spec`;
    return [{ path: [], reason: object === null || object === undefined ? 'is empty' : 'is not an object', accepted }];
  }
  const { apiVersion: version, kind } = object as Record<string, unknown>;
  const kinds = Object.keys(manifestSchemas);
  const issues: FieldIssue[] = [];
  if (version !== apiVersion) {
    const reason = version === undefined ? 'is missing' : 'is not a version that is known';
    issues.push({ path: ['apiVersion'], reason, accepted: apiVersion });
  }
  if (typeof kind !== 'string' || !kinds.includes(kind)) {
    const guess = typeof kind === 'string' ? didYouMean(kind, kinds) : undefined;
    const reason = kind === undefined ? 'is missing' : 'is not a kind that can be applied';
    issues.push({ path: ['kind'], reason, accepted: kinds.join(' or '), ...(guess && { didYouMean: guess }) });
  }
  return issues;
}

function toProbe(probe: ParsedProbe): ProbeSpec {
  const { http, tcp, exec, ...rest } = probe;
  const times = { successThreshold: 1, ...rest };
  if (http !== undefined) return { ...times, http };
  // manifest-checks.ts has seen to it that one of them is there.
  return exec === undefined ? { ...times, tcp: tcp ?? { port: '' } } : { ...times, exec };
}

function toProbes(probes: ParsedMicroservice['probes']): Probes {
  const declared = probeKinds.flatMap((kind) => {
    const probe = probes[kind];
    return probe === undefined ? [] : [[kind, toProbe(probe)]];
  });
  return Object.fromEntries(declared) as Probes;
}

function toVolume({ name, path, hostPath, readOnly }: NonNullable<ParsedMicroservice['volumes']>[number]): VolumeSpec {
  return {
    name,
    ...(path !== undefined && { path }),
    ...(hostPath !== undefined && { hostPath }),
    ...(readOnly !== undefined && { readOnly }),
  };
}

function toResources({ memory, cpus, pids }: NonNullable<ParsedMicroservice['resources']> = {}): {
  resources?: Resources;
} {
  const resources: Resources = {
    ...(memory !== undefined && { memory }),
    ...(cpus !== undefined && { cpus }),
    ...(pids !== undefined && { pids }),
  };
  return Object.keys(resources).length === 0 ? {} : { resources };
}

/** They are the engine's, and there only where they are said. */
function withoutEngineOptions<Rest extends object>(rest: Rest): Omit<Rest, keyof (DockerOptions & WasmOptions)> {
  const names: string[] = [...dockerFieldNames, ...wasmFieldNames];
  return Object.fromEntries(Object.entries(rest).filter(([name]) => !names.includes(name))) as typeof rest;
}

/** manifest-checks.ts has seen to it that each engine's own fields are there. */
function toEngineSpec(parsed: ParsedMicroservice): EngineSpec {
  const { engine, command, image, module, args, user, hostNetwork, workingDirectory } = parsed;
  const folder = workingDirectory === undefined ? {} : { workingDirectory };
  if (engine === 'process') {
    const own = { ...(user !== undefined && { user }), ...(hostNetwork !== undefined && { hostNetwork }) };
    return { engine, command: command ?? [], ...own, ...folder };
  }
  if (engine === 'wasm')
    return {
      engine,
      module: readModule(module ?? {}) as WasmModule,
      ...(args && { args }),
      ...wasmOptionsOf(parsed),
    };
  return {
    engine,
    image: image ?? '',
    ...(command && { command }),
    ...(args && { args }),
    ...dockerOptionsOf(parsed),
    ...folder,
  };
}

/** Its name alone where nothing more is said: the stored application stays as it was. */
function toReference(mount: ParsedMicroservice['configs'][number]): MountReference {
  if (typeof mount === 'string') return mount;
  return mount.onChange === 'restart' ? { name: mount.name, onChange: mount.onChange } : mount.name;
}

function toEnvironment(env: ParsedMicroservice['env']): Pick<MicroserviceSpec, 'env' | 'envFrom'> {
  const values: Record<string, string> = {};
  const sources: Record<string, EnvironmentReference> = {};
  for (const [name, value] of Object.entries(env)) {
    if (typeof value === 'string') {
      values[name] = value;
      continue;
    }
    const { secret, config, key, onChange } = value;
    const options = { key, ...(onChange === 'restart' && { onChange }) };
    // manifest-checks.ts has seen to it that one of them is there.
    sources[name] = secret === undefined ? { config: config ?? '', ...options } : { secret, ...options };
  }
  return { env: values, ...(Object.keys(sources).length > 0 && { envFrom: sources }) };
}

function toSpec(parsed: ParsedMicroservice): MicroserviceSpec {
  const {
    probes,
    placement,
    workingDirectory,
    healthyAfterMs,
    resources,
    volumes,
    engine,
    command,
    image,
    module,
    args,
    env,
    configs,
    secrets,
    balancing,
    ports,
    calls = [],
    ...rest
  } = parsed;
  const workload = toEngineSpec(parsed);
  return {
    ...withoutEngineOptions(rest),
    ...workload,
    ...toEnvironment(env),
    ports: ports.map(toPort),
    configs: configs.map(toReference),
    ...(secrets.length > 0 && { secrets: secrets.map(toReference) }),
    ...toBalancing(balancing),
    ...(calls.length > 0 && { calls: calls.map(toPort) }),
    placement: {
      ...(placement.node !== undefined && { node: placement.node }),
      ...(placement.labels !== undefined && { labels: placement.labels }),
      ...(placement.arch !== undefined && { arch: placement.arch }),
      ...(placement.devices !== undefined &&
        placement.devices.length > 0 && { devices: placement.devices.map(toNeed) }),
    },
    ...toProbes(probes),
    // An empty one limits nothing, and says nothing.
    ...toResources(resources),
    ...(volumes !== undefined && volumes.length > 0 && { volumes: volumes.map(toVolume) }),
    ...(healthyAfterMs !== undefined && { healthyAfterMs }),
  };
}

type Read =
  | { issues: FieldIssue[] }
  | { application: ManifestApplication }
  | { config: ManifestConfig }
  | { secret: ManifestSecret }
  | { policy: ManifestPolicy }
  | { gateway: ManifestGateway };

function readPolicy(object: unknown, document: number): Read {
  const parsed = policySchema.safeParse(object);
  if (!parsed.success) return { issues: describeIssues(policySchema, object, parsed.error.issues) };
  const { metadata, spec } = parsed.data;
  const { project } = metadata;
  const issues = checkPolicy(project, spec);
  if (metadata.name.startsWith(gatewayPolicyPrefix)) {
    const reason = `begins with ${gatewayPolicyPrefix}, as the rules of Gateways do`;
    issues.push({ path: ['metadata', 'name'], reason, accepted: 'another name' });
  }
  const allow = spec.allow.map(({ from, to }) => ({ from: { project, ...from }, to }));
  return issues.length > 0 ? { issues } : { policy: { document, ...metadata, allow } };
}

function readGateway(object: unknown, document: number): Read {
  const parsed = gatewaySchema.safeParse(object);
  if (!parsed.success) return { issues: describeIssues(gatewaySchema, object, parsed.error.issues) };
  const { metadata, spec } = parsed.data;
  const issues = checkGateway(metadata.name, spec);
  if (issues.length > 0) return { issues };
  return { gateway: { document, ...metadata, spec: toGatewaySpec(spec), grants: spec.grants.map(toGrant) } };
}

function readDocument(object: unknown, document: number): Read {
  const shape = shapeIssue(object);
  if (shape !== undefined) return { issues: [shape] };
  const envelope = envelopeIssues(object);
  if (envelope.length > 0) return { issues: envelope };
  const { kind } = object as { kind: string };
  if (kind === 'Secret') {
    const parsed = secretSchema.safeParse(object);
    if (!parsed.success) return { issues: describeIssues(secretSchema, object, parsed.error.issues) };
    const { data, issues } = readSecretData(parsed.data);
    return issues.length > 0 ? { issues } : { secret: { document, ...parsed.data.metadata, data } };
  }
  if (kind === 'Application') {
    const parsed = applicationSchema.safeParse(object);
    if (!parsed.success) return { issues: describeIssues(applicationSchema, object, parsed.error.issues) };
    const issues = checkApplication(parsed.data);
    const { metadata, spec } = parsed.data;
    return issues.length > 0
      ? { issues }
      : { application: { document, ...metadata, microservices: spec.microservices.map(toSpec) } };
  }
  if (kind === 'Policy') return readPolicy(object, document);
  if (kind === 'Gateway') return readGateway(object, document);
  const parsed = configSchema.safeParse(object);
  if (!parsed.success) return { issues: describeIssues(configSchema, object, parsed.error.issues) };
  const { files, issues } = readConfigFiles(parsed.data);
  return issues.length > 0 ? { issues } : { config: { document, ...parsed.data.metadata, files } };
}

/**
 * Checks parsed YAML or JSON documents (`selvedge/v1`, kinds Application, Config, Secret, Policy and Gateway) and fills in the defaults. `source` names
 * where each came from. Throws ManifestError with every issue that was found, at most `manifestIssuesMax`.
 */
export function validateManifests(
  objects: readonly unknown[],
  { source }: { source?: readonly string[] } = {},
): Manifests {
  const issues: ManifestIssue[] = [];
  const add = (document: number, { path, ...rest }: FieldIssue): void => {
    const from = source?.[document];
    issues.push({ document, ...(from !== undefined && { source: from }), path: pathText(path), ...rest });
  };
  if (objects.length === 0) add(0, { path: [], reason: 'there is no document', accepted: 'at least one manifest' });
  if (objects.length > manifestDocumentsMax) {
    add(manifestDocumentsMax, {
      path: [],
      reason: `there are more than ${manifestDocumentsMax} documents`,
      accepted: '',
    });
    refuseIssues(issues);
  }
  const manifests: Manifests = { applications: [], configs: [], secrets: [], policies: [], gateways: [] };
  const seen = new Map<string, number>();
  const once = (kind: string, item: { document: number; project: string; name: string }): void => {
    const key = `${kind}/${item.project}/${item.name}`;
    const before = seen.get(key);
    seen.set(key, before ?? item.document);
    if (before === undefined) return;
    const reason = `${kind} ${JSON.stringify(item.name)} of project ${item.project} is already in document ${before + 1}`;
    add(item.document, { path: ['metadata', 'name'], reason, accepted: '' });
  };
  for (const [document, object] of objects.entries()) {
    const read = readDocument(object, document);
    if ('issues' in read) for (const issue of read.issues) add(document, issue);
    else if ('application' in read) {
      once('Application', read.application);
      manifests.applications.push(read.application);
    } else if ('secret' in read) {
      once('Secret', read.secret);
      manifests.secrets.push(read.secret);
    } else if ('policy' in read) {
      once('Policy', read.policy);
      manifests.policies.push(read.policy);
    } else if ('gateway' in read) {
      once('Gateway', read.gateway);
      manifests.gateways.push(read.gateway);
    } else {
      once('Config', read.config);
      manifests.configs.push(read.config);
    }
  }
  refuseIssues(issues);
  return manifests;
}

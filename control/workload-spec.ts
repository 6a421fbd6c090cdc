// A microservice of an application as an engine gets it, with the hash that says "replace me". Called by the plan compiler and by
// the views (which must know what is wanted before any plan says so). Pure but for a bounded memory of file hashes.

import { canonicalJson, sha256 } from './canonical-json.ts';
import { dockerOptionsOf } from './docker-options.ts';
import type { ConfigRecord, EnvironmentReference, MicroserviceSpec, MountReference, SecretRecord } from './fabric.ts';
import { hashedConfigsMax, slotPathCharactersMax } from './limits.ts';
import type { ConfigMount, EngineSpec, EnvironmentSource, FileDocument, FileReference, WorkloadSpec } from './plan.ts';
import { wasmOptionsOf } from './wasm-options.ts';

/**
 * The slot of a config's file: `config.<project>.<config>.<path>`. No two paths share one: a path with a '/', or a long one, gets
 * '~' and 16 hex digits of its SHA-256, and '~' is in no path.
 */
export function fileSlot(project: string, config: string, path: string): string {
  const plain = !path.includes('/') && path.length <= slotPathCharactersMax;
  const part = plain
    ? path
    : `${path.replaceAll('/', '.').slice(0, slotPathCharactersMax)}~${sha256(path).slice(0, 16)}`;
  return `config.${project}.${config}.${part}`;
}

/** The engine's part alone. */
function engineSpec(microservice: MicroserviceSpec): EngineSpec {
  if (microservice.engine === 'wasm') {
    const { engine, module, args } = microservice;
    return { engine, module, ...(args && { args }), ...wasmOptionsOf(microservice) };
  }
  const { workingDirectory } = microservice;
  const folder = workingDirectory === undefined ? {} : { workingDirectory };
  if (microservice.engine === 'process') {
    const { command, user, hostNetwork } = microservice;
    const own = { ...(user !== undefined && { user }), ...(hostNetwork !== undefined && { hostNetwork }) };
    return { engine: 'process', command, ...own, ...folder };
  }
  const { image, command, args } = microservice;
  return {
    engine: 'docker',
    image,
    ...(command && { command }),
    ...(args && { args }),
    ...dockerOptionsOf(microservice),
    ...folder,
  };
}

export interface WorkloadFiles {
  spec: WorkloadSpec;
  specHash: string;
}

/** By `<project>/<name>`. */
export interface ContentRecords {
  configs: ReadonlyMap<string, ConfigRecord>;
  secrets: ReadonlyMap<string, SecretRecord>;
}

export function recordsByName({
  configs,
  secrets,
}: {
  configs: readonly ConfigRecord[];
  secrets: readonly SecretRecord[];
}): ContentRecords {
  const byName = <R extends { project: string; name: string }>(records: readonly R[]): Map<string, R> =>
    new Map(records.map((record) => [`${record.project}/${record.name}`, record]));
  return { configs: byName(configs), secrets: byName(secrets) };
}

/** A module that is a file of a Config is what runs: another one is another workload. */
function configReferences(microservice: MicroserviceSpec): readonly MountReference[] {
  if (microservice.engine !== 'wasm' || !('config' in microservice.module)) return microservice.configs;
  const { config } = microservice.module;
  return microservice.configs.map((reference) =>
    reference === config ? { name: config, onChange: 'restart' as const } : reference,
  );
}

export interface SpecCompiler {
  /** `missing` says what the microservice names and is not there: `Config app`. */
  compile(
    microservice: MicroserviceSpec,
    project: string,
    records: ContentRecords,
  ): WorkloadFiles | { missing: string };
  /** Where a record's files are delivered. */
  references(record: ConfigRecord | SecretRecord): ConfigMount['files'];
  /** The documents of a record's files; made again at each call, since contents are large. */
  files(record: ConfigRecord | SecretRecord): FileDocument[];
}

/** What a record of either kind holds: path to base64. */
const contentsOf = (record: ConfigRecord | SecretRecord): Record<string, string> =>
  'data' in record ? record.data : record.files;

/** The slot of one of its files. */
function slotOf(record: ConfigRecord | SecretRecord, path: string): string {
  return 'data' in record
    ? `secret.${record.project}.${record.name}.${path}`
    : fileSlot(record.project, record.name, path);
}

/**
 * The hash that says "replace me". What a running instance can be given is not in it: the content of what is mounted, and of variables,
 * unless the manifest asks for a restart.
 */
export function workloadHash(spec: WorkloadSpec): string {
  const withoutContent = (mount: ConfigMount): unknown => (mount.onChange === 'restart' ? mount : { name: mount.name });
  const { configs, secrets, envFrom } = spec;
  const variables = Object.entries(envFrom ?? {}).map(([name, { slot, sha256: content, ...source }]) => [
    name,
    source.onChange === 'restart' ? { ...source, slot, sha256: content } : source,
  ]);
  return sha256(
    canonicalJson({
      ...spec,
      configs: configs.map(withoutContent),
      ...(secrets !== undefined && { secrets: secrets.map(withoutContent) }),
      ...(envFrom !== undefined && { envFrom: Object.fromEntries(variables) }),
    }),
  );
}

/** Whether the instance that was planned is what `hash` wants: also one planned by a version that hashed the content with it. */
export function isWorkload({ spec, specHash }: WorkloadFiles, hash: string): boolean {
  return specHash === hash || workloadHash(spec) === hash;
}

/** Every delivered file that the spec names. */
export function filesOf({ configs, secrets = [], envFrom = {} }: WorkloadSpec): FileReference[] {
  return [...[...configs, ...secrets].flatMap(({ files }) => files), ...Object.values(envFrom)];
}

const contentKeys = new WeakMap<WorkloadSpec, string>();

/** Equal for equal content of what is mounted; empty when nothing is. Nodes and controllers compare it, over versions of the program. */
export function contentKey(spec: WorkloadSpec): string {
  const { configs, secrets = [] } = spec;
  if (configs.length === 0 && secrets.length === 0) return '';
  const known = contentKeys.get(spec) ?? sha256(canonicalJson([...configs, ...secrets].map(({ files }) => files)));
  contentKeys.set(spec, known);
  return known;
}

/** Hashes are remembered by revision, at most `hashedConfigsMax` records. */
export function createSpecCompiler(): SpecCompiler {
  const hashed = new Map<string, ConfigMount['files']>();

  const hashesOf = (record: ConfigRecord | SecretRecord): ConfigMount['files'] => {
    const key = record._rev === undefined ? undefined : `${record._id}@${record._rev}`;
    const known = key === undefined ? undefined : hashed.get(key);
    if (known !== undefined) return known;
    const files = Object.entries(contentsOf(record))
      .sort(([left], [right]) => (left < right ? -1 : 1))
      .map(([path, content]) => ({
        path,
        slot: slotOf(record, path),
        sha256: sha256(Buffer.from(content, 'base64')),
      }));
    if (key !== undefined) {
      const oldest = hashed.keys().next().value;
      if (hashed.size >= hashedConfigsMax && oldest !== undefined) hashed.delete(oldest);
      hashed.set(key, files);
    }
    return files;
  };

  const mountsOf = (
    kind: 'Config' | 'Secret',
    references: readonly MountReference[],
    find: (name: string) => ConfigRecord | SecretRecord | undefined,
  ): ConfigMount[] | { missing: string } => {
    const mounts: ConfigMount[] = [];
    for (const reference of references) {
      const { name, ...options } = typeof reference === 'string' ? { name: reference } : reference;
      const record = find(name);
      if (record === undefined) return { missing: `${kind} ${name}` };
      mounts.push({ name, files: hashesOf(record), ...options });
    }
    return mounts;
  };

  const variablesOf = (
    references: Record<string, EnvironmentReference>,
    find: (reference: EnvironmentReference) => ConfigRecord | SecretRecord | undefined,
  ): Record<string, EnvironmentSource> | { missing: string } => {
    const variables: Record<string, EnvironmentSource> = {};
    for (const [variable, reference] of Object.entries(references)) {
      const what = 'secret' in reference ? `Secret ${reference.secret}` : `Config ${reference.config}`;
      const record = find(reference);
      if (record === undefined) return { missing: what };
      const file = hashesOf(record).find(({ path }) => path === reference.key);
      if (file === undefined) return { missing: `${reference.key} in ${what}` };
      variables[variable] = { ...reference, slot: file.slot, sha256: file.sha256 };
    }
    return variables;
  };

  return {
    compile(microservice, project, { configs, secrets }) {
      const config = (name: string): ConfigRecord | undefined => configs.get(`${project}/${name}`);
      const secret = (name: string): SecretRecord | undefined => secrets.get(`${project}/${name}`);
      const mounts = mountsOf('Config', configReferences(microservice), config);
      const secretMounts = mountsOf('Secret', microservice.secrets ?? [], secret);
      const variables = variablesOf(microservice.envFrom ?? {}, (reference) =>
        'secret' in reference ? secret(reference.secret) : config(reference.config),
      );
      if (!Array.isArray(mounts)) return mounts;
      if (!Array.isArray(secretMounts)) return secretMounts;
      if (typeof variables['missing'] === 'string') return { missing: variables['missing'] };
      const { env, ports, resources, volumes, startup, readiness, liveness, restart, healthyAfterMs, stopTimeoutMs } =
        microservice;
      const { devices: deviceNeeds = [] } = microservice.placement;
      const spec: WorkloadSpec = {
        ...engineSpec(microservice),
        env,
        ports,
        configs: mounts,
        // What is not said is left out: the hash of what runs must not change with a version that knows more.
        ...(secretMounts.length > 0 && { secrets: secretMounts }),
        ...(microservice.envFrom !== undefined && { envFrom: variables as Record<string, EnvironmentSource> }),
        ...(resources !== undefined && { resources }),
        ...(volumes !== undefined && { volumes }),
        ...(deviceNeeds.length > 0 && { deviceNeeds }),
        ...(startup !== undefined && { startup }),
        ...(readiness !== undefined && { readiness }),
        ...(liveness !== undefined && { liveness }),
        restart,
        ...(healthyAfterMs !== undefined && { healthyAfterMs }),
        stopTimeoutMs,
      };
      return { spec, specHash: workloadHash(spec) };
    },
    references: hashesOf,
    files(record) {
      return Object.entries(contentsOf(record)).map(([path, contentBase64]) => ({
        _id: `desired/file/${slotOf(record, path)}`,
        contentBase64,
      }));
    },
  };
}

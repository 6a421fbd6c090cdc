// A microservice of an application as an engine gets it, with the hash that says "replace me". Called by the plan compiler and by
// the views (which must know what is wanted before any plan says so). Pure but for a bounded memory of file hashes.

import { canonicalJson, sha256 } from './canonical-json.ts';
import { dockerOptionsOf } from './docker-options.ts';
import type { ConfigRecord, MicroserviceSpec } from './fabric.ts';
import { hashedConfigsMax, slotPathCharactersMax } from './limits.ts';
import type { ConfigMount, EngineSpec, FileDocument, WorkloadSpec } from './plan.ts';

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
  const { workingDirectory } = microservice;
  const folder = workingDirectory === undefined ? {} : { workingDirectory };
  if (microservice.engine === 'process') {
    const { command, user } = microservice;
    return { engine: 'process', command, ...(user !== undefined && { user }), ...folder };
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

export interface SpecCompiler {
  /** Undefined with the missing config's name when one is not there. */
  compile(
    microservice: MicroserviceSpec,
    project: string,
    configs: ReadonlyMap<string, ConfigRecord>,
  ): WorkloadFiles | { missingConfig: string };
  /** The documents of a config's files; made again at each call, since contents are large. */
  files(config: ConfigRecord): FileDocument[];
}

/** `configs` are by `<project>/<name>`. Hashes are remembered by revision, at most `hashedConfigsMax` configs. */
export function createSpecCompiler(): SpecCompiler {
  const hashed = new Map<string, ConfigMount['files']>();

  const hashesOf = (config: ConfigRecord): ConfigMount['files'] => {
    const key = config._rev === undefined ? undefined : `${config._id}@${config._rev}`;
    const known = key === undefined ? undefined : hashed.get(key);
    if (known !== undefined) return known;
    const files = Object.entries(config.files)
      .sort(([left], [right]) => (left < right ? -1 : 1))
      .map(([path, content]) => ({
        path,
        slot: fileSlot(config.project, config.name, path),
        sha256: sha256(Buffer.from(content, 'base64')),
      }));
    if (key !== undefined) {
      const oldest = hashed.keys().next().value;
      if (hashed.size >= hashedConfigsMax && oldest !== undefined) hashed.delete(oldest);
      hashed.set(key, files);
    }
    return files;
  };

  return {
    compile(microservice, project, configs) {
      const mounts: ConfigMount[] = [];
      for (const name of microservice.configs) {
        const config = configs.get(`${project}/${name}`);
        if (config === undefined) return { missingConfig: name };
        mounts.push({ name, files: hashesOf(config) });
      }
      const { env, ports, resources, volumes, startup, readiness, liveness, restart, healthyAfterMs, stopTimeoutMs } =
        microservice;
      const spec: WorkloadSpec = {
        ...engineSpec(microservice),
        env,
        ports,
        configs: mounts,
        // What is not said is left out: the hash of what runs must not change with a version that knows more.
        ...(resources !== undefined && { resources }),
        ...(volumes !== undefined && { volumes }),
        ...(startup !== undefined && { startup }),
        ...(readiness !== undefined && { readiness }),
        ...(liveness !== undefined && { liveness }),
        restart,
        ...(healthyAfterMs !== undefined && { healthyAfterMs }),
        stopTimeoutMs,
      };
      return { spec, specHash: sha256(canonicalJson(spec)) };
    },
    files(config) {
      return Object.entries(config.files).map(([path, contentBase64]) => ({
        _id: `desired/file/${fileSlot(config.project, config.name, path)}`,
        contentBase64,
      }));
    },
  };
}

// The configs and secrets of a planned instance, from the files of the plan: what is laid down for it, and its variables. Pure. Called by
// launch.ts, and by instances.ts when content changes. Errors name what is missing or unusable, never a value.

import { isUtf8 } from 'node:buffer';
import type { FileReference, WorkloadSpec } from '../control/plan.ts';
import { unsaltContent } from '../control/salted-content.ts';
import type { FileMount } from './engine.ts';
import { ContentUnusableError } from './errors.ts';
import { ENVIRONMENT_VARIABLE_BYTES_MAX } from './limits.ts';

/** Content by SHA-256 (hex). */
export type PlanFiles = ReadonlyMap<string, Uint8Array>;

function contentOf(files: PlanFiles, { sha256 }: FileReference, what: string): Uint8Array {
  const content = files.get(sha256);
  if (content === undefined) throw new ContentUnusableError(`${what} is not in the plan`);
  return content;
}

export function mountsOf({ configs, secrets = [] }: WorkloadSpec, files: PlanFiles): FileMount[] {
  return [
    ...configs.map(
      ({ name, files: named }): FileMount => ({
        kind: 'configs',
        name,
        files: named.map((file) => ({
          path: file.path,
          content: contentOf(files, file, `${file.path} of Config ${name}`),
        })),
      }),
    ),
    ...secrets.map(
      ({ name, files: named }): FileMount => ({
        kind: 'secrets',
        name,
        files: named.map((file) => ({
          path: file.path,
          content: unsaltContent(contentOf(files, file, `${file.path} of Secret ${name}`)),
        })),
      }),
    ),
  ];
}

export interface ContentVariables {
  /** From Configs. */
  env: Record<string, string>;
  /** From Secrets: never written down beside the launch. */
  secretEnv: Record<string, string>;
}

export function variablesOf({ envFrom = {} }: WorkloadSpec, files: PlanFiles): ContentVariables {
  const variables: ContentVariables = { env: {}, secretEnv: {} };
  for (const [variable, source] of Object.entries(envFrom)) {
    const isSecret = 'secret' in source;
    const what = `${source.key} of ${isSecret ? `Secret ${source.secret}` : `Config ${source.config}`}`;
    const content = contentOf(files, source, what);
    const value = isSecret ? unsaltContent(content) : content;
    if (!isUtf8(value) || value.includes(0))
      throw new ContentUnusableError(`variable ${variable}: ${what} is no text, which a variable must be`);
    if (value.length + variable.length + 2 > ENVIRONMENT_VARIABLE_BYTES_MAX)
      throw new ContentUnusableError(`variable ${variable}: ${what} is too long for a variable; mount it as a file`);
    variables[isSecret ? 'secretEnv' : 'env'][variable] = Buffer.from(value).toString('utf8');
  }
  return variables;
}

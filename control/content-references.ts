// Which Configs and Secrets a microservice names, and where. Pure; called by what checks, plans and lists them. It reads no record.

import type { MicroserviceSpec } from './fabric.ts';

export interface ContentReference {
  kind: 'config' | 'secret';
  name: string;
  /** Of a variable: the one file that it takes. */
  key?: string;
  /** Inside the microservice. */
  path: (string | number)[];
}

export function namedContent(
  microservice: Pick<MicroserviceSpec, 'configs' | 'secrets' | 'envFrom'>,
): ContentReference[] {
  const { configs, secrets = [], envFrom = {} } = microservice;
  const mounted = (kind: 'config' | 'secret', field: string, references: typeof configs): ContentReference[] =>
    references.map((reference, index) => ({
      kind,
      name: typeof reference === 'string' ? reference : reference.name,
      path: [field, index],
    }));
  const variables = Object.entries(envFrom).map(
    ([variable, reference]): ContentReference => ({
      ...('secret' in reference
        ? { kind: 'secret', name: reference.secret }
        : { kind: 'config', name: reference.config }),
      key: reference.key,
      path: ['env', variable],
    }),
  );
  return [...mounted('config', 'configs', configs), ...mounted('secret', 'secrets', secrets), ...variables];
}

// What the operator of node-day.ts wishes at a moment: three applications drawn by chance, with processes, containers, configs and
// dependencies. Pure but for the draw.

import type { Random } from '../../node-runtime/random.ts';

export interface WishedMicroservice {
  engine: 'process' | 'docker';
  replicas: number;
  /** Another one is another specification. */
  version: number;
  dependsOn: string[];
}

export interface WishedApplication {
  name: string;
  microservices: Record<string, WishedMicroservice>;
  /** Content of its config. */
  config: number;
}

export const applicationNames = ['alarms', 'billing', 'cooling'];

const upTo = (random: Random, most: number): number => Math.floor(random.next() * (most + 1));

export function applicationAt(random: Random, name: string, version: number): WishedApplication {
  const engine = (): 'process' | 'docker' => (random.next() < 0.5 ? 'process' : 'docker');
  const one = (most: number, dependsOn: string[] = []): WishedMicroservice => ({
    engine: engine(),
    replicas: 1 + upTo(random, most - 1),
    version: version + upTo(random, 1),
    dependsOn,
  });
  return { name, config: upTo(random, 3), microservices: { store: one(2), web: one(4, ['store']), spare: one(3) } };
}

export const applicationsAt = (random: Random, version: number): WishedApplication[] =>
  applicationNames.map((name) => applicationAt(random, name, version));

export function manifestsOf(applications: readonly WishedApplication[]): unknown[] {
  return applications.flatMap(({ name, microservices, config }) => [
    {
      apiVersion: 'selvedge/v1',
      kind: 'Config',
      metadata: { name },
      spec: { files: { 'settings.txt': { text: `level ${config}` } } },
    },
    {
      apiVersion: 'selvedge/v1',
      kind: 'Application',
      metadata: { name },
      spec: {
        microservices: Object.entries(microservices).map(
          ([microservice, { engine, replicas, version, dependsOn }]) => ({
            ...{ name: microservice, engine, replicas, dependsOn },
            ...(engine === 'docker' && { image: 'sim/any:1' }),
            command: ['sim', 'run'],
            env: { VERSION: String(version) },
            ports: [{ name: 'http', port: 8080 }],
            configs: microservice === 'web' ? [name] : [],
          }),
        ),
      },
    },
  ]);
}

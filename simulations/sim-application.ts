// Manifests of applications for simulated engines: workloads that do what their command says (sim-workload.ts).

export interface SimMicroservice {
  /** Words of sim-workload.ts. */
  command: string[];
  replicas?: number;
  dependsOn?: string[];
  stopTimeoutMs?: number;
  placement?: { node: string };
  /** As in a manifest; every question is answered well. */
  probes?: unknown;
}

export function createSimApplication(name: string, microservices: Record<string, SimMicroservice>): unknown[] {
  return [
    {
      apiVersion: 'selvedge/v1',
      kind: 'Application',
      metadata: { name },
      spec: {
        microservices: Object.entries(microservices).map(([microservice, { command, ...more }]) => ({
          name: microservice,
          engine: 'process',
          command: ['sim', ...command],
          ports: [{ name: 'http', port: 8080 }],
          ...more,
        })),
      },
    },
  ];
}

/** One microservice with so many replicas that run for ever. */
export const createScenarioApplication = (name: string, replicas: number): unknown[] =>
  createSimApplication(name, { worker: { command: ['run'], replicas } });

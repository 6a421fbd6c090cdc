// Manifests of applications for simulated engines: workloads that do what their command says (sim-workload.ts).

/** One microservice with so many replicas that run for ever. */
export function createScenarioApplication(name: string, replicas: number): unknown[] {
  return [
    {
      apiVersion: 'selvedge/v1',
      kind: 'Application',
      metadata: { name },
      spec: {
        microservices: [
          {
            name: 'worker',
            engine: 'process',
            command: ['sim', 'run'],
            ports: [{ name: 'http', port: 8080 }],
            replicas,
          },
        ],
      },
    },
  ];
}

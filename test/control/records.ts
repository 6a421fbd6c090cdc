// Documents for tests of this folder: small valid ones that a test changes where it matters.

import type { ApplicationRecord, ConfigRecord, MicroserviceSpec, NodeRecord } from '../../control/fabric.ts';

export function nodeRecord(name: string, changes: Partial<NodeRecord> = {}): NodeRecord {
  return {
    _id: `node/${name}`,
    name,
    peerId: `peer-${name}`,
    router: 'edge',
    controller: false,
    labels: { 'selvedge/router': 'edge', 'selvedge/node': name },
    engines: ['process'],
    authorityPublicKey: Buffer.from(`key of ${name}`).toString('base64'),
    issueNumber: 1,
    admittedAt: 1,
    admittedBy: 'token',
    ...changes,
  };
}

type ProcessMicroservice = Extract<MicroserviceSpec, { engine: 'process' }>;

export function microservice(name: string, changes: Partial<ProcessMicroservice> = {}): ProcessMicroservice {
  return {
    name,
    engine: 'process',
    command: ['node'],
    env: {},
    ports: [{ name: 'http', port: 8080 }],
    configs: [],
    replicas: 1,
    placement: {},
    dependsOn: [],
    restart: 'always',
    stopTimeoutMs: 10_000,
    ...changes,
  };
}

export function applicationRecord(name: string, microservices: MicroserviceSpec[]): ApplicationRecord {
  return { _id: `application/default/${name}`, project: 'default', name, generation: 1, microservices, appliedAt: 1 };
}

export function configRecord(name: string, files: Record<string, string>): ConfigRecord {
  const encoded = Object.entries(files).map(([path, text]) => [path, Buffer.from(text).toString('base64')]);
  return { _id: `config/default/${name}`, project: 'default', name, generation: 1, files: Object.fromEntries(encoded) };
}

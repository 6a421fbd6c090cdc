// What an instance finds when it starts: environment, files, service addresses. Pure but for the port that it is given.
// Called by instances.ts.

import type { PlannedInstance } from '../control/plan.ts';
import type { AttachedInstance, WorkloadCredential } from '../mesh/service-network.ts';
import { containerFilesFolder } from './docker-container.ts';
import type { InstanceNetwork, Launch } from './engine.ts';
import { mountsOf, type PlanFiles, variablesOf } from './workload-content.ts';

/** Process instances listen on this address alone: what others call goes through the service network. */
export const listenHost = '127.0.0.1';

const variable = (name: string): string => name.toUpperCase().replaceAll('-', '_');

/** `PORT_<NAME>` */
export const portVariable = (portName: string): string => `PORT_${variable(portName)}`;

export type HostPorts = Record<string, number>;

/** The ports that an adopted instance was given. */
export function hostPortsOf(planned: PlannedInstance, env: Record<string, string>): HostPorts {
  const ports: HostPorts = {};
  for (const { name } of planned.spec.ports) {
    const value = Number(env[portVariable(name)]);
    if (Number.isInteger(value) && value > 0) ports[name] = value;
  }
  return ports;
}

export function listensOf(
  planned: PlannedInstance,
  hostPorts: HostPorts,
  network: InstanceNetwork | undefined,
): AttachedInstance['listens'] {
  return planned.spec.ports.flatMap(({ name, port, protocol }) => {
    const hostPort = hostPorts[name];
    if (hostPort === undefined) return [];
    return [{ port, host: network?.address ?? listenHost, hostPort, ...(protocol && { protocol }) }];
  });
}

/** Certificate, key and trust bundle as files, renewed in place. */
export function identityFiles(credential: WorkloadCredential, bundlePem: string): Launch['files'] {
  const file = (path: string, content: string) => ({
    path: `identity/${path}`,
    content: Buffer.from(content),
    mode: 0o400,
  });
  return [
    file('key.pem', credential.keyPem),
    file('certificate.pem', credential.chainPem),
    file('bundle.pem', bundlePem),
  ];
}

export function launchOf(input: {
  planned: PlannedInstance;
  node: string;
  hostPorts: HostPorts;
  /** Undefined for one that shares the node's. */
  network: InstanceNetwork | undefined;
  attached: { env: Record<string, string>; hosts: Launch['hosts'] };
  credential: WorkloadCredential;
  bundlePem: string;
  files: PlanFiles;
  given?: { env: Record<string, string>; devices: NonNullable<Launch['devices']> };
}): Launch {
  const { planned, node, hostPorts, attached } = input;
  const first = planned.spec.ports[0];
  const env: Record<string, string> = {
    ...attached.env,
    // In a network of its own it is alone on every address.
    HOST: input.network === undefined ? listenHost : '0.0.0.0',
    ...(planned.spec.engine === 'docker' && { SELVEDGE_FILES: containerFilesFolder }),
    ...(first && { PORT: String(hostPorts[first.name]) }),
    ...Object.fromEntries(planned.spec.ports.map(({ name }) => [portVariable(name), String(hostPorts[name])])),
    ...input.given?.env,
    SELVEDGE_NODE: node,
    SELVEDGE_INSTANCE: planned.name,
    SELVEDGE_PROJECT: planned.project,
    SELVEDGE_APPLICATION: planned.application,
    SELVEDGE_MICROSERVICE: planned.microservice,
  };
  const variables = variablesOf(planned.spec, input.files);
  return {
    instance: planned.name,
    spec: planned.spec,
    specHash: planned.specHash,
    env: { ...variables.env, ...env },
    hosts: attached.hosts,
    files: identityFiles(input.credential, input.bundlePem),
    mounts: mountsOf(planned.spec, input.files),
    secretEnv: variables.secretEnv,
    ...(input.given && input.given.devices.length > 0 && { devices: input.given.devices }),
  };
}

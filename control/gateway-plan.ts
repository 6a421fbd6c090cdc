// Gateways as nodes get them: which node publishes what, by which identity it calls, and the rule that allows it. Pure; called by the
// planner and the plan compiler, and by node-runtime for the identity and the rule.

import type { CallPolicy } from './call-policy.ts';
import type { ApplicationRecord, GatewayRecord, NodeRecord, SecretRecord } from './fabric.ts';
import { gatewayPolicyPrefix, gatewaysApplication, type PlannedGateway, tlsSecretKeys } from './gateway.ts';
import type { CallableService, FileReference, MicroserviceName } from './plan.ts';
import type { NodeInputs } from './plan-inputs.ts';
import { createSpecCompiler } from './workload-spec.ts';

/** As whom a gateway calls services: its node's authority covers the name, and no application can have it. */
export function gatewayIdentity({ project, name }: Pick<PlannedGateway, 'project' | 'name'>): MicroserviceName {
  return { project, application: gatewaysApplication, microservice: name };
}

/** The calls that the Gateway itself allows: nodes hold them as they hold a Policy. */
export function gatewayPolicy({ project, name, spec }: Pick<GatewayRecord, 'project' | 'name' | 'spec'>): CallPolicy {
  const from = gatewayIdentity({ project, name });
  const rules = new Map(
    spec.routes.map(({ to: { application, microservice, port } }) => [
      `${application}/${microservice}:${port}`,
      { from, to: { application, microservice, ports: [port] } },
    ]),
  );
  return { project, name: `${gatewayPolicyPrefix}${name}`, allow: [...rules.values()] };
}

export function isOnNode(
  { spec: { on } }: Pick<GatewayRecord, 'spec'>,
  { name, labels }: Pick<NodeRecord, 'name' | 'labels'>,
): boolean {
  if ('nodes' in on) return on.nodes.includes(name);
  return Object.entries(on.labels).every(([key, value]) => labels[key] === value);
}

/** What its plan must deliver. */
export function gatewayFiles({ tls }: PlannedGateway): FileReference[] {
  return tls !== undefined && 'certificate' in tls ? [tls.certificate, tls.key] : [];
}

/** DNS names that the node's authority must allow beside those of services. */
export function publicNamesOf(gateways: readonly PlannedGateway[]): string[] {
  return [...new Set(gateways.flatMap(({ tls }) => (tls !== undefined && 'names' in tls ? tls.names : [])))].sort();
}

/** A service as its microservice declares it now; one that is not there is called in vain. */
function calledService(
  { project }: GatewayRecord,
  { application, microservice, port }: { application: string; microservice: string; port: number },
  applications: ReadonlyMap<string, ApplicationRecord>,
): CallableService {
  const { microservices = [] } = applications.get(`application/${project}/${application}`) ?? {};
  const balancing = microservices.find(({ name }) => name === microservice)?.balancing;
  return { project, application, microservice, port, ...(balancing && { balancing }) };
}

/** What each node publishes, sorted by name, and the Secrets that this takes beside those that it has. */
export function gatewaysByNode({
  gateways,
  applications,
  secrets,
}: {
  gateways: readonly GatewayRecord[];
  applications: readonly ApplicationRecord[];
  secrets: readonly SecretRecord[];
}): (inputs: Pick<NodeInputs, 'node' | 'secrets'>) => Pick<NodeInputs, 'gateways' | 'secrets'> {
  const applicationById = new Map(applications.map((one) => [one._id as string, one]));
  const secretById = new Map(secrets.map((one) => [one._id as string, one]));
  const specs = createSpecCompiler();

  const tlsOf = ({ project, spec: { tls } }: GatewayRecord): Pick<PlannedGateway, 'tls'> | undefined => {
    if (tls === undefined || 'names' in tls) return tls && { tls };
    const record = secretById.get(`secret/${project}/${tls.secret}`);
    if (record === undefined) return { tls: { missing: `there is no Secret ${tls.secret} in project ${project}` } };
    const fileOf = (wanted: string): FileReference | undefined => {
      const file = specs.references(record).find(({ path }) => path === wanted);
      return file && { slot: file.slot, sha256: file.sha256 };
    };
    const [certificate, key] = [fileOf(tlsSecretKeys.certificate), fileOf(tlsSecretKeys.key)];
    if (certificate !== undefined && key !== undefined) return { tls: { certificate, key } };
    const lacking = certificate === undefined ? tlsSecretKeys.certificate : tlsSecretKeys.key;
    return { tls: { missing: `Secret ${tls.secret} has no ${lacking}` } };
  };

  const planned = gateways
    .map((record) => {
      const { project, name, generation, spec, grants, added } = record;
      const gateway: PlannedGateway = {
        ...{ project, name, generation, port: spec.port, protocol: spec.protocol },
        ...(spec.address !== undefined && { address: spec.address }),
        ...tlsOf(record),
        routes: spec.routes.map(({ to, ...match }) => ({ ...match, to: calledService(record, to, applicationById) })),
        grants: [...grants, ...added],
      };
      return { record, gateway };
    })
    .sort((left, right) => (left.record._id < right.record._id ? -1 : 1));

  return ({ node, secrets: held }) => {
    const here = planned.filter(({ record }) => isOnNode(record, node));
    const taken = new Map(held);
    for (const { record } of here) {
      const { tls } = record.spec;
      const id = tls !== undefined && 'secret' in tls ? `secret/${record.project}/${tls.secret}` : '';
      const secret = secretById.get(id);
      if (secret !== undefined) taken.set(id, secret);
    }
    return { gateways: here.map(({ gateway }) => gateway), secrets: taken };
  };
}

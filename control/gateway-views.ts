// Gateways as operators see them: what is published where, for whom, and what each node says of it. Pure; called by gateways.ts and
// status.ts. A node writes what it says: nothing in it is taken on trust. No view has a token, nor its hash.

import { X509Certificate } from 'node:crypto';
import { z } from 'zod';
import { callTroubles } from './call-views.ts';
import type { ApplicationRecord, GatewayRecord, NodeRecord, ObservedNode } from './fabric.ts';
import { type GatewayGrant, gatewayStates, type ObservedGateway } from './gateway.ts';
import { isOnNode } from './gateway-plan.ts';
import { gatewayReasonCharactersMax, gatewaysShownMax } from './limits.ts';
import type { GatewayView, GrantView } from './views.ts';

const text = z.string();
const observedGateway = z.object({
  project: text,
  name: text,
  generation: z.number(),
  state: z.enum(gatewayStates),
  reason: text.transform((value) => value.slice(0, gatewayReasonCharactersMax)),
  connections: z.number(),
  refused: z.number(),
});

export function readGateways(node: ObservedNode | undefined): ObservedGateway[] {
  const said: unknown = node?.gateways;
  if (!Array.isArray(said)) return [];
  return said.slice(0, gatewaysShownMax).flatMap((one) => observedGateway.safeParse(one).data ?? []);
}

/** One line for each that does not listen where it should. */
export function gatewayProblems(node: string, observed: ObservedNode | undefined): string[] {
  return readGateways(observed).flatMap(({ project, name, state, reason }) =>
    state === 'failed' || (state === 'listening' && reason !== '')
      ? [`Gateway ${project}/${name} on ${node}${state === 'failed' ? ' does not listen' : ''}: ${reason}`]
      : [],
  );
}

function authorityName(pem: string): string {
  try {
    return new X509Certificate(pem).subject.replaceAll('\n', ', ');
  } catch {
    return 'an authority that cannot be read';
  }
}

export function grantView(grant: GatewayGrant, { declared, now }: { declared: boolean; now: number }): GrantView {
  const { name, cidrs, tokenSha256, certificate, until } = grant;
  return {
    name,
    ...(cidrs && { cidrs }),
    ...(tokenSha256 !== undefined && { token: true as const }),
    ...(certificate && {
      certificate: 'sha256' in certificate ? certificate : { issuedBy: authorityName(certificate.authority) },
    }),
    ...(until !== undefined && { until }),
    expired: until !== undefined && now >= until,
    declared,
  };
}

/** What its routes name and nobody has applied: not yet, or misspelt. */
function missingOf({ project, spec }: GatewayRecord, applications: readonly ApplicationRecord[]): string[] {
  const missing = spec.routes.flatMap(({ to: { application, microservice, port } }) => {
    const whole = `${project}/${application}`;
    const known = applications.find(({ _id }) => _id === `application/${whole}`);
    if (known === undefined) return [`application ${whole}`];
    const found = known.microservices.find(({ name }) => name === microservice);
    if (found === undefined) return [`microservice ${microservice} of ${whole}`];
    return found.ports.some((one) => one.port === port) ? [] : [`port ${port} of ${whole}/${microservice}`];
  });
  return [...new Set(missing)];
}

export interface GatewayFacts {
  nodes: readonly NodeRecord[];
  applications: readonly ApplicationRecord[];
  /** By node: what it said last. */
  observed: ReadonlyMap<string, ObservedNode | undefined>;
  isLinked: (peerId: string) => boolean;
  now: number;
}

export function gatewayView(record: GatewayRecord, facts: GatewayFacts): GatewayView {
  const { project, name, generation, spec, grants, added } = record;
  const { applications, observed, isLinked, now } = facts;
  const places = facts.nodes.filter((node) => node.revoked === undefined && isOnNode(record, node));
  return {
    ...{ project, name, generation, ...spec },
    grants: [
      ...grants.map((grant) => grantView(grant, { declared: true, now })),
      ...added.map((grant) => grantView(grant, { declared: false, now })),
    ],
    nodes: places.map(({ name: node, peerId }) => {
      const said = readGateways(observed.get(node)).find((one) => one.project === project && one.name === name);
      const troubles = callTroubles([[node, observed.get(node)]]).get(`gateway/${project}/${name}`);
      if (!isLinked(peerId)) return { node, state: 'unreachable', reason: '', current: false, failing: [] };
      if (said === undefined) return { node, state: 'planned', reason: '', current: false, failing: [] };
      const { state, reason, connections, refused } = said;
      const calls = (troubles?.failingCalls ?? []).map(({ called, reason: why }) => ({ called, reason: why }));
      return { node, state, reason, connections, refused, current: said.generation === generation, failing: calls };
    }),
    missing: missingOf(record, applications),
  };
}

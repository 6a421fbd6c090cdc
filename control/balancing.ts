// Which instance of a service answers a call, as a manifest says it: form, what is stored of it, and which service says what. Called by the
// manifest's schema and checks, by plans and by views. The choice itself is made on the caller's node (mesh/endpoint-choice.ts), never here.

import { z } from 'zod';
import type { ApplicationRecord } from './fabric.ts';
import { replicasMax } from './limits.ts';
import type { FieldIssue, FieldPath } from './manifest-issues.ts';
import { type Balancing, balancingPolicies, type MicroserviceName } from './plan.ts';

const policyForm = "'round-robin', 'closest', 'least-connections' or 'sticky'";
const balancingForm = `${policyForm}, {policy: sticky, localFirst: true} or {instance: 0}`;

export const balancingField = z
  .union([
    z.enum(balancingPolicies),
    z.strictObject({
      policy: z.enum(balancingPolicies).describe(policyForm).optional(),
      localFirst: z.boolean().describe('true or false').optional(),
      instance: z
        .int()
        .min(0)
        .max(replicasMax - 1)
        .describe(`a whole number from 0 to ${replicasMax - 1}, less than replicas`)
        .optional(),
    }),
  ])
  .describe(balancingForm);

/** As records and plans hold it; a policy that this version does not know counts as round-robin. */
export const storedBalancing = z.union([
  z.looseObject({ policy: z.string().min(1) }),
  z.looseObject({ instance: z.int().min(0) }),
]);

export type ParsedBalancing = z.infer<typeof balancingField> | undefined;

/** Nothing where it is what holds without it: the stored application stays as it was. */
export function toBalancing(parsed: ParsedBalancing): { balancing?: Balancing } {
  const {
    policy = 'round-robin',
    localFirst,
    instance,
  } = typeof parsed === 'string' ? { policy: parsed } : (parsed ?? {});
  if (instance !== undefined) return { balancing: { instance } };
  if (policy === 'round-robin' && localFirst !== true) return {};
  return { balancing: { policy, ...(localFirst === true && { localFirst }) } };
}

export const balancingKey = ({ project, application, microservice }: MicroserviceName): string =>
  `${project}/${application}/${microservice}`;

/** Of the services that say one, by `balancingKey`. */
export function balancingsOf(applications: readonly ApplicationRecord[]): Map<string, Balancing> {
  return new Map(
    applications.flatMap(({ project, name: application, microservices }) =>
      microservices.flatMap(({ name: microservice, balancing }): [string, Balancing][] =>
        balancing === undefined ? [] : [[balancingKey({ project, application, microservice }), balancing]],
      ),
    ),
  );
}

/** What concerns more than one of its fields, and the number of instances. */
export function checkBalancing(parsed: ParsedBalancing, replicas: number, at: FieldPath): FieldIssue[] {
  if (parsed === undefined || typeof parsed === 'string' || parsed.instance === undefined) return [];
  const { instance, policy, localFirst } = parsed;
  const issues: FieldIssue[] = Object.entries({ policy, localFirst }).flatMap(([field, value]) => {
    const path = [...at, field];
    return value === undefined ? [] : [{ path, reason: 'says nothing beside instance', accepted: 'instance alone' }];
  });
  if (replicas === 0 || instance < replicas) return issues;
  const reason = `is ${instance}, and there are ${replicas} instances`;
  return [...issues, { path: [...at, 'instance'], reason, accepted: `a whole number from 0 to ${replicas - 1}` }];
}

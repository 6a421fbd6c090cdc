// Who may call whom. Pure; asked by both sides of the tunnel and for calls within a node. It decides on names from verified
// certificates only, never on addresses.

import type { CallPolicy, CallRule } from '../control/call-policy.ts';
import type { MicroserviceName } from '../control/plan.ts';

export type Authorize = (caller: MicroserviceName, called: MicroserviceName, port: number) => boolean;

/** Microservices of one application call each other; nobody else does. */
export function sameApplication(caller: MicroserviceName, called: MicroserviceName): boolean {
  return caller.project === called.project && caller.application === called.application;
}

/**
 * Within an application everybody; beyond it whom a policy of the called project allows. Policies only ever allow. A fabric may have tens of
 * thousands of rules: those of one pair of applications are all that a call looks at.
 */
export function policyAuthorization(policies: readonly CallPolicy[]): Authorize {
  const rules = new Map<string, CallRule[]>();
  for (const { project, allow } of policies) {
    for (const rule of allow) {
      const key = pairKey(rule.from, { project, application: rule.to.application });
      const ofPair = rules.get(key);
      if (ofPair === undefined) rules.set(key, [rule]);
      else ofPair.push(rule);
    }
  }
  return (caller, called, port) =>
    sameApplication(caller, called) ||
    (rules.get(pairKey(caller, called)) ?? []).some((rule) => allows(rule, caller, called, port));
}

/** Why a call was denied, for the operator who may allow it. */
export function denialReason({ project }: MicroserviceName): string {
  return `no policy of project ${project} allows the call`;
}

type ApplicationName = Pick<MicroserviceName, 'project' | 'application'>;

/** Names are DNS labels. */
function pairKey(from: ApplicationName, to: ApplicationName): string {
  return `${from.project}/${from.application} ${to.project}/${to.application}`;
}

function allows({ from, to }: CallRule, caller: MicroserviceName, called: MicroserviceName, port: number): boolean {
  return (
    (from.microservice ?? caller.microservice) === caller.microservice &&
    (to.microservice ?? called.microservice) === called.microservice &&
    (to.ports === undefined || to.ports.includes(port))
  );
}

// Who may call whom. Pure; asked by both sides of the tunnel and for calls within a node. It decides on names from verified
// certificates only, never on addresses.

import type { CallPolicy, CallRule } from '../control/call-policy.ts';
import type { MicroserviceName } from '../control/plan.ts';

export type Authorize = (caller: MicroserviceName, called: MicroserviceName, port: number) => boolean;

/** Microservices of one application call each other; nobody else does. */
export function sameApplication(caller: MicroserviceName, called: MicroserviceName): boolean {
  return caller.project === called.project && caller.application === called.application;
}

/** Within an application everybody; beyond it whom a policy of the called project allows. Policies only ever allow. */
export function policyAuthorization(policies: readonly CallPolicy[]): Authorize {
  const rules = new Map<string, CallRule[]>();
  for (const { project, allow } of policies) {
    for (const rule of allow) {
      const key = applicationKey({ project, application: rule.to.application });
      rules.set(key, [...(rules.get(key) ?? []), rule]);
    }
  }
  return (caller, called, port) =>
    sameApplication(caller, called) ||
    (rules.get(applicationKey(called)) ?? []).some((rule) => allows(rule, caller, called, port));
}

/** Why a call was denied, for the operator who may allow it. */
export function denialReason({ project }: MicroserviceName): string {
  return `no policy of project ${project} allows the call`;
}

function applicationKey({ project, application }: Pick<MicroserviceName, 'project' | 'application'>): string {
  return `${project}/${application}`;
}

function allows({ from, to }: CallRule, caller: MicroserviceName, called: MicroserviceName, port: number): boolean {
  return (
    from.project === caller.project &&
    from.application === caller.application &&
    (from.microservice ?? caller.microservice) === caller.microservice &&
    (to.microservice ?? called.microservice) === called.microservice &&
    (to.ports === undefined || to.ports.includes(port))
  );
}

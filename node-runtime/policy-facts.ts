// Policies told to every node: for each policy and gateway of the fabric's documents a fact of the bulletin, which crosses islands and outlives
// every controller's absence. Part of a controller, called by controller.ts. Documents decide; a fact that says something else is
// followed by a newer one, and a policy that is gone by one that allows nothing.

import { canonicalJson } from '../control/canonical-json.ts';
import { listRecords } from '../control/documents.ts';
import type { PolicyRecord } from '../control/fabric.ts';
import { gatewayPolicy } from '../control/gateway-plan.ts';
import type { Database } from '../control/store.ts';
import { subjectOf } from '../pki/facts.ts';
import type { Fact, PolicyBody, SignPayload } from '../pki/identity.ts';
import type { Bulletin } from './bulletin.ts';
import type { Clock } from './clock.ts';
import { controllerFactLifetimeMs } from './limits.ts';

export interface PolicyFacts {
  /** Resolves once this node's bulletin says what the documents say; others get it by replication. */
  settle(): Promise<void>;
}

export function createPolicyFacts(dependencies: {
  clock: Clock;
  fabric: Database;
  bulletin: Bulletin;
  sign: SignPayload;
  /** Peer id of this controller. */
  issuer: string;
}): PolicyFacts {
  const { clock, fabric, bulletin, sign, issuer } = dependencies;
  let tail: Promise<unknown> = Promise.resolve();
  let waiting: Promise<void> | undefined;

  const bodyOf = ({ project, name, allow }: Pick<PolicyRecord, 'project' | 'name' | 'allow'>): PolicyBody => ({
    kind: 'policy',
    project,
    name,
    allow,
  });

  const publish = (body: PolicyBody): Promise<void> =>
    bulletin.publish(sign, issuer, subjectOf(body), body, controllerFactLifetimeMs);

  /** Also long before it ends, for nodes that are away; and what a controller said whose word no longer counts. */
  function stands(fact: Fact | undefined, body: PolicyBody): boolean {
    if (fact === undefined || bulletin.isRevoked(fact.issuer)) return false;
    const isYoung = fact.expiresAt - clock.now() > controllerFactLifetimeMs / 2;
    return isYoung && canonicalJson(fact.body) === canonicalJson(body);
  }

  async function settleNow(): Promise<void> {
    const gateways = (await listRecords(fabric, 'gateway')).map(gatewayPolicy);
    const bodies = [...(await listRecords(fabric, 'policy')), ...gateways].map(bodyOf);
    const wanted = new Map(bodies.map((body) => [subjectOf(body), body]));
    const told = new Map(bulletin.policies().map((fact) => [fact.subject, fact]));
    for (const [subject, body] of wanted) if (!stands(told.get(subject), body)) await publish(body);
    for (const [subject, { body }] of told) {
      if (!wanted.has(subject) && body.allow.length > 0) await publish({ ...body, allow: [] });
    }
  }

  return {
    // One after the other: each looks at what the one before has published. One that has not begun serves all who ask meanwhile.
    settle() {
      if (waiting !== undefined) return waiting;
      const next = tail.then(() => {
        waiting = undefined;
        return settleNow();
      });
      waiting = next;
      tail = next.catch(() => undefined);
      return next;
    },
  };
}

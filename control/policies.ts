// Policies as operators see and remove them; `apply` makes and changes them. Called by the API. What nodes obey is told by policiesChanged.

import type { Serialized } from './apply.ts';
import { getRecord, listRecords } from './documents.ts';
import { NotFoundError } from './errors.ts';
import type { ApplicationRecord, PolicyRecord } from './fabric.ts';
import type { Ledger } from './ledger.ts';
import type { Database } from './store.ts';
import type { PolicyView } from './views.ts';

export interface Policies {
  list(): Promise<PolicyView[]>;
  /** Undefined when there is none. */
  describe(project: string, name: string): Promise<PolicyView | undefined>;
  /** Throws NotFoundError. */
  remove(project: string, name: string): Promise<void>;
}

export const policyAction = '`selvedge policies list` lists those that there are.';

/** What its rules name and nobody has applied: not yet, or misspelt. */
function missingOf({ project, allow }: PolicyRecord, applications: readonly ApplicationRecord[]): string[] {
  const sides = allow.flatMap(({ from, to }) => [from, { project, ...to }]);
  const missing = sides.flatMap((side) => {
    const whole = `${side.project}/${side.application}`;
    const known = applications.find(({ _id }) => _id === `application/${whole}`);
    if (known === undefined) return [`application ${whole}`];
    const { microservice } = side;
    if (microservice === undefined || known.microservices.some(({ name }) => name === microservice)) return [];
    return [`microservice ${microservice} of ${whole}`];
  });
  return [...new Set(missing)];
}

export function createPolicies({
  fabric,
  ledger,
  serialized,
  policiesChanged,
}: {
  fabric: Database;
  ledger: Pick<Ledger, 'append'>;
  serialized: Serialized;
  /** Resolves once nodes can hear of what the fabric's policies say now. */
  policiesChanged: () => Promise<void>;
}): Policies {
  async function views(records: readonly PolicyRecord[]): Promise<PolicyView[]> {
    const applications = await listRecords(fabric, 'application');
    return records.map((record) => {
      const { project, name, generation, allow } = record;
      return { project, name, generation, allow, missing: missingOf(record, applications) };
    });
  }

  return {
    list: async () => views(await listRecords(fabric, 'policy')),
    async describe(project, name) {
      const record = await getRecord(fabric, 'policy', `${project}/${name}`);
      return record && (await views([record]))[0];
    },
    remove: (project, name) =>
      serialized(async () => {
        const id = `policy/${project}/${name}`;
        if ((await fabric.get(id)) === undefined) throw new NotFoundError('Policy', `${project}/${name}`, policyAction);
        await fabric.remove(id);
        await policiesChanged();
        await ledger.append({ type: 'policy-deleted', subject: `${project}/${name}`, message: 'deleted' });
      }),
  };
}

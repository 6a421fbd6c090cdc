// Asking for what an application needs to be fetched ahead, by its manifest or as it is applied. Called by the API. It writes the
// wish alone: the planner places it, nodes fetch it.

import type { Clock } from '../node-runtime/clock.ts';
import { createTurns, type Serialized } from './apply.ts';
import { getRecord } from './documents.ts';
import { NotFoundError, RequestRefusedError } from './errors.ts';
import type { MicroserviceSpec, StageRecord } from './fabric.ts';
import type { Ledger } from './ledger.ts';
import { stageLifetimeMs } from './limits.ts';
import { validateManifests } from './manifest.ts';
import type { Database } from './store.ts';

/** Manifests, or an application that is applied. */
export type StageRequest =
  | { documents: readonly unknown[]; source?: readonly string[] }
  | { project: string; application: string };

export interface Stage {
  /** What is fetched from now on; asked again, what failed is tried again. Throws ManifestError or NotFoundError, and then nothing was changed. */
  ask(request: StageRequest): Promise<{ project: string; name: string }[]>;
}

interface Wanted {
  project: string;
  name: string;
  microservices: MicroserviceSpec[];
}

export function createStage({
  fabric,
  clock,
  ledger,
  serialized = createTurns(),
}: {
  fabric: Database;
  clock: Clock;
  ledger: Ledger;
  /** The turns of `apply`: what is applied ends what was asked for before. */
  serialized?: Serialized;
}): Stage {
  async function wantedBy(request: StageRequest): Promise<Wanted[]> {
    if ('documents' in request) {
      const { documents, source } = request;
      const { applications } = validateManifests(documents, source === undefined ? {} : { source });
      if (applications.length === 0)
        throw new RequestRefusedError('there is no Application in it', {
          field: 'documents',
          accepted: 'manifests of which one is an Application',
        });
      return applications;
    }
    const { project, application } = request;
    const record = await getRecord(fabric, 'application', `${project}/${application}`);
    if (record === undefined)
      throw new NotFoundError(
        'application',
        `${project}/${application}`,
        '`selvedge apps` lists those that there are; `selvedge stage -f FILE` takes one that is not applied.',
      );
    return [record];
  }

  return {
    ask: (request) =>
      serialized(async () => {
        const wanted = await wantedBy(request);
        for (const { project, name, microservices } of wanted) {
          await fabric.update(`stage/${project}/${name}`, (current) => {
            // Later than the one before, whatever the clock says: nodes try again what is asked later.
            const askedAt = Math.max(clock.now(), ((current as StageRecord | undefined)?.askedAt ?? 0) + 1);
            return {
              ...(current?._rev !== undefined && { _rev: current._rev }),
              _id: `stage/${project}/${name}`,
              ...{ project, name, microservices, askedAt, expiresAt: clock.now() + stageLifetimeMs },
            };
          });
          const message = 'what it needs is fetched ahead';
          await ledger.append({ type: 'application-staged', subject: `${project}/${name}`, message });
        }
        return wanted.map(({ project, name }) => ({ project, name }));
      }),
  };
}

// Applying and deleting what operators declare. Called by the API. Everything is checked before anything is written; it must never
// place work or write a mailbox (the planner sees the documents change).

import type { Clock } from '../node-runtime/clock.ts';
import { canonicalJson } from './canonical-json.ts';
import { listRecords } from './documents.ts';
import { NotFoundError } from './errors.ts';
import type { ApplicationRecord, ConfigRecord } from './fabric.ts';
import type { Ledger } from './ledger.ts';
import { nodesShownMax } from './limits.ts';
import {
  type ManifestApplication,
  type ManifestConfig,
  type ManifestIssue,
  refuseIssues,
  validateManifests,
} from './manifest.ts';
import type { Database, StoredDocument } from './store.ts';
import { didYouMean } from './suggestion.ts';
import type { AppliedView, ApplyView } from './views.ts';

export interface Apply {
  /** Parsed YAML or JSON documents. Throws ManifestError, and then nothing was changed. With `dryRun` nothing is written either way. */
  apply(documents: readonly unknown[], options?: { dryRun?: boolean; source?: readonly string[] }): Promise<ApplyView>;
  /** Throws NotFoundError. */
  deleteApplication(project: string, name: string): Promise<void>;
}

interface Wanted {
  id: string;
  kind: AppliedView['kind'];
  project: string;
  name: string;
  /** What makes it another generation. */
  content: Record<string, unknown>;
}

function wantedConfig({ project, name, files }: ManifestConfig): Wanted {
  return { id: `config/${project}/${name}`, kind: 'Config', project, name, content: { files } };
}

function wantedApplication({ project, name, microservices }: ManifestApplication): Wanted {
  return { id: `application/${project}/${name}`, kind: 'Application', project, name, content: { microservices } };
}

/** The document to write, or undefined when what is there says the same. */
function nextDocument(
  wanted: Wanted,
  current: StoredDocument | undefined,
  at: number,
): { view: AppliedView; document?: StoredDocument } {
  const { kind, project, name, content, id } = wanted;
  const now = (current as ApplicationRecord | ConfigRecord | undefined)?.generation ?? 0;
  const fields = Object.keys(content);
  const same =
    current !== undefined && fields.every((field) => canonicalJson(current[field]) === canonicalJson(content[field]));
  if (same) return { view: { kind, project, name, generation: now, change: 'unchanged' } };
  const generation = now + 1;
  const change = current === undefined ? 'created' : 'changed';
  const document = {
    ...(current?._rev !== undefined && { _rev: current._rev }),
    _id: id,
    project,
    name,
    generation,
    ...content,
    ...(kind === 'Application' && { appliedAt: at }),
  };
  return { view: { kind, project, name, generation, change }, document };
}

export function createApply({
  fabric,
  clock,
  ledger,
  durability = async () => 'local',
}: {
  fabric: Database;
  clock: Clock;
  ledger: Ledger;
  /** Asked after the write; `local` while there is one controller. */
  durability?: () => Promise<ApplyView['durability']>;
}): Apply {
  let tail: Promise<unknown> = Promise.resolve();
  /** One at a time, so that what was checked is still so when it is written. */
  const serialized = <T>(work: () => Promise<T>): Promise<T> => {
    const done = tail.then(work);
    tail = done.catch(() => undefined);
    return done;
  };

  /** A misspelt name would wait for ever: a node must be known before work is pinned to it. */
  const nodeIssues = async (
    applications: readonly ManifestApplication[],
    source: readonly string[] | undefined,
  ): Promise<ManifestIssue[]> => {
    const pins = applications.flatMap(({ document, microservices }) =>
      microservices.flatMap(({ placement }, index) =>
        placement.node === undefined ? [] : [{ document, index, node: placement.node }],
      ),
    );
    if (pins.length === 0) return [];
    const nodes = (await listRecords(fabric, 'node')).map(({ name }) => name).sort();
    const shown = nodes.slice(0, nodesShownMax).join(', ') + (nodes.length > nodesShownMax ? ', …' : '');
    return pins
      .filter(({ node }) => !nodes.includes(node))
      .map(({ document, index, node }) => {
        const [guess, from] = [didYouMean(node, nodes), source?.[document]];
        return {
          document,
          ...(from !== undefined && { source: from }),
          path: `spec.microservices[${index}].placement.node`,
          reason: `there is no node ${JSON.stringify(node)} in this fabric`,
          accepted: nodes.length === 0 ? 'the name of a node' : `the name of a node: ${shown}`,
          ...(guess !== undefined && { didYouMean: guess }),
        };
      });
  };

  const checkReferences = async (
    applications: readonly ManifestApplication[],
    configs: readonly ManifestConfig[],
    source: readonly string[] | undefined,
  ): Promise<void> => {
    const issues = await nodeIssues(applications, source);
    const needed = applications.some(({ microservices }) =>
      microservices.some((microservice) => microservice.configs.length > 0),
    );
    if (!needed) return refuseIssues(issues);
    const inBatch = configs.map(({ project, name }) => `${project}/${name}`);
    const known = new Set([
      ...inBatch,
      ...(await listRecords(fabric, 'config')).map(({ project, name }) => `${project}/${name}`),
    ]);
    for (const { document, project, microservices } of applications) {
      for (const [index, microservice] of microservices.entries()) {
        for (const [place, config] of microservice.configs.entries()) {
          if (known.has(`${project}/${config}`)) continue;
          const names = [...known]
            .filter((key) => key.startsWith(`${project}/`))
            .map((key) => key.slice(project.length + 1));
          const guess = didYouMean(config, names);
          const from = source?.[document];
          issues.push({
            document,
            ...(from !== undefined && { source: from }),
            path: `spec.microservices[${index}].configs[${place}]`,
            reason: `there is no Config ${JSON.stringify(config)} in project ${project}`,
            accepted: 'a Config that is in the fabric or in the same apply',
            ...(guess !== undefined && { didYouMean: guess }),
          });
        }
      }
    }
    refuseIssues(issues);
  };

  const writeOne = async (wanted: Wanted): Promise<AppliedView> => {
    let view: AppliedView | undefined;
    await fabric.update(wanted.id, (current) => {
      const next = nextDocument(wanted, current, clock.now());
      view = next.view;
      return next.document;
    });
    return view as AppliedView;
  };

  const record = async (views: readonly AppliedView[]): Promise<void> => {
    const changed = views.filter(({ change }) => change !== 'unchanged');
    await Promise.all(
      changed.map(({ kind, project, name, change, generation }) =>
        ledger.append({
          type: kind === 'Application' ? 'application-applied' : 'config-applied',
          subject: `${project}/${name}`,
          message: `${change}, generation ${generation}`,
        }),
      ),
    );
  };

  return {
    async apply(documents, { dryRun = false, source } = {}) {
      const { applications, configs } = validateManifests(documents, source === undefined ? {} : { source });
      return serialized(async () => {
        await checkReferences(applications, configs, source);
        // Configs first: an application that is seen has what it names.
        const wanted = [...configs.map(wantedConfig), ...applications.map(wantedApplication)];
        const applied: AppliedView[] = [];
        for (const item of wanted) {
          applied.push(dryRun ? nextDocument(item, await fabric.get(item.id), clock.now()).view : await writeOne(item));
        }
        if (!dryRun) await record(applied);
        // What runs from now on fetches for itself.
        if (!dryRun) for (const { project, name } of applications) await fabric.remove(`stage/${project}/${name}`);
        return { applied, durability: dryRun ? 'local' : await durability() };
      });
    },
    deleteApplication(project, name) {
      return serialized(async () => {
        const id = `application/${project}/${name}`;
        if ((await fabric.get(id)) === undefined) {
          throw new NotFoundError('application', `${project}/${name}`, '`selvedge apps` lists those that there are.');
        }
        await fabric.remove(id);
        await fabric.remove(`stage/${project}/${name}`);
        await ledger.append({ type: 'application-deleted', subject: `${project}/${name}`, message: 'deleted' });
      });
    },
  };
}

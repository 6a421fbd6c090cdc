// Applying and deleting what operators declare. Called by the API. Everything is checked before anything is written; it must never
// place work or write a mailbox (the planner sees the documents change).

import type { Clock } from '../node-runtime/clock.ts';
import type { Random } from '../node-runtime/random.ts';
import { referenceIssues } from './apply-references.ts';
import { canonicalJson } from './canonical-json.ts';
import { ApplyInterruptedError, NotFoundError } from './errors.ts';
import type { ApplicationRecord, ConfigRecord, GatewayRecord, SecretRecord } from './fabric.ts';
import type { Ledger } from './ledger.ts';
import { secretSaltBytes } from './limits.ts';
import {
  type ManifestApplication,
  type ManifestConfig,
  type ManifestGateway,
  type ManifestPolicy,
  type ManifestSecret,
  refuseIssues,
  validateManifests,
} from './manifest.ts';
import { holdsValue, saltContent } from './salted-content.ts';
import type { Database, StoredDocument } from './store.ts';
import type { AppliedView, ApplyView } from './views.ts';

export interface Apply {
  /** Parsed YAML or JSON documents. Throws ManifestError, and then nothing was changed. With `dryRun` nothing is written either way. */
  apply(documents: readonly unknown[], options?: { dryRun?: boolean; source?: readonly string[] }): Promise<ApplyView>;
  /** The same for who has its turn already. */
  applyNow: Apply['apply'];
  /** Throws NotFoundError. */
  deleteApplication(project: string, name: string): Promise<void>;
}

interface Wanted {
  id: string;
  kind: AppliedView['kind'];
  project: string;
  name: string;
  /** What makes it another generation; given what is there. */
  content(current: StoredDocument | undefined): Record<string, unknown>;
}

function wantedConfig({ project, name, files }: ManifestConfig): Wanted {
  return { id: `config/${project}/${name}`, kind: 'Config', project, name, content: () => ({ files }) };
}

function wantedApplication({ project, name, microservices }: ManifestApplication): Wanted {
  const content = (): Record<string, unknown> => ({ microservices });
  return { id: `application/${project}/${name}`, kind: 'Application', project, name, content };
}

function wantedPolicy({ project, name, allow }: ManifestPolicy): Wanted {
  return { id: `policy/${project}/${name}`, kind: 'Policy', project, name, content: () => ({ allow }) };
}

/** What was added beside the manifest stays, unless the manifest declares a grant of the same name. */
function wantedGateway({ project, name, spec, grants }: ManifestGateway): Wanted {
  const content = (current: StoredDocument | undefined): Record<string, unknown> => {
    const { added = [] } = (current ?? {}) as Partial<GatewayRecord>;
    return { spec, grants, added: added.filter((one) => !grants.some((declared) => declared.name === one.name)) };
  };
  return { id: `gateway/${project}/${name}`, kind: 'Gateway', project, name, content };
}

/** A value that stays keeps its salt, and with it its hash. */
function wantedSecret({ project, name, data }: ManifestSecret, random: Pick<Random, 'bytes'>): Wanted {
  const content = (current: StoredDocument | undefined): Record<string, unknown> => {
    const held = ((current as SecretRecord | undefined)?.data ?? {}) as Record<string, string | undefined>;
    const salted = Object.entries(data).map(([key, base64]) => {
      const [value, before] = [Buffer.from(base64, 'base64'), held[key]];
      const same = before !== undefined && holdsValue(before, value);
      return [key, same ? before : saltContent(value, random.bytes(secretSaltBytes))];
    });
    return { data: Object.fromEntries(salted) };
  };
  return { id: `secret/${project}/${name}`, kind: 'Secret', project, name, content };
}

/** The document to write, or undefined when what is there says the same. */
function nextDocument(
  wanted: Wanted,
  current: StoredDocument | undefined,
  at: number,
): { view: AppliedView; document?: StoredDocument } {
  const { kind, project, name, id } = wanted;
  const content = wanted.content(current);
  const now = (current as ApplicationRecord | ConfigRecord | SecretRecord | undefined)?.generation ?? 0;
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

/** One at a time, so that what was checked is still so when it is written. */
export type Serialized = <T>(work: () => Promise<T>) => Promise<T>;

export function createTurns(): Serialized {
  let tail: Promise<unknown> = Promise.resolve();
  return (work) => {
    const done = tail.then(work);
    tail = done.catch(() => undefined);
    return done;
  };
}

export function createApply({
  fabric,
  clock,
  random,
  ledger,
  serialized = createTurns(),
  policiesChanged = async () => undefined,
  durability = async () => 'local',
}: {
  fabric: Database;
  clock: Clock;
  /** Salts of secrets. */
  random: Pick<Random, 'bytes'>;
  ledger: Ledger;
  /** Shared by everybody who writes what operators declare. */
  serialized?: Serialized;
  /** Resolves once nodes can hear of what the fabric's policies say now. */
  policiesChanged?: () => Promise<void>;
  /** Asked after the write; `local` while there is one controller. */
  durability?: () => Promise<ApplyView['durability']>;
}): Apply {
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
          type: `${kind.toLowerCase()}-applied`,
          subject: `${project}/${name}`,
          message: `${change}, generation ${generation}`,
        }),
      ),
    );
  };

  const applyNow: Apply['apply'] = async (documents, { dryRun = false, source } = {}) => {
    const manifests = validateManifests(documents, source === undefined ? {} : { source });
    const { applications, configs, secrets, policies, gateways } = manifests;
    refuseIssues(await referenceIssues(fabric, manifests, source));
    // Applications last: an application that is seen has what it names.
    const wanted = [
      ...configs.map(wantedConfig),
      ...secrets.map((secret) => wantedSecret(secret, random)),
      ...policies.map(wantedPolicy),
      ...gateways.map(wantedGateway),
      ...applications.map(wantedApplication),
    ];
    const applied: AppliedView[] = [];
    try {
      for (const item of wanted) {
        applied.push(dryRun ? nextDocument(item, await fabric.get(item.id), clock.now()).view : await writeOne(item));
      }
      if (!dryRun) await record(applied);
      if (!dryRun && policies.length + gateways.length > 0) await policiesChanged();
      // What runs from now on fetches for itself.
      if (!dryRun) for (const { project, name } of applications) await fabric.remove(`stage/${project}/${name}`);
    } catch (error) {
      const stored = applied.filter(({ change }) => change !== 'unchanged');
      if (dryRun || stored.length === 0) throw error;
      throw new ApplyInterruptedError(
        stored.map(({ kind, project, name }) => `${kind} ${project}/${name}`),
        wanted.length - applied.length,
        error,
      );
    }
    return { applied, durability: dryRun ? 'local' : await durability() };
  };

  return {
    applyNow,
    apply: (documents, options) => serialized(() => applyNow(documents, options)),
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

// Configs and Secrets as operators see, set and remove them. Called by the API. It tells names and sizes; a value of a Secret never leaves
// it, and none that somebody uses is removed.

import type { Apply, Serialized } from './apply.ts';
import { namedContent } from './content-references.ts';
import { getRecord, listRecords } from './documents.ts';
import { ContentInUseError, ManifestError, NotFoundError, RequestRefusedError } from './errors.ts';
import type { ConfigRecord, SecretRecord } from './fabric.ts';
import type { Ledger } from './ledger.ts';
import { contentUsersShownMax } from './limits.ts';
import { apiVersion } from './manifest-schema.ts';
import { saltedBytes, unsaltContent } from './salted-content.ts';
import type { Database } from './store.ts';
import type { AppliedView, ContentView } from './views.ts';

export type ContentKind = 'config' | 'secret';

export interface Contents {
  list(kind: ContentKind): Promise<ContentView[]>;
  /** Undefined when there is none. */
  describe(kind: ContentKind, project: string, name: string): Promise<ContentView | undefined>;
  /** Throws NotFoundError, ContentInUseError. */
  remove(kind: ContentKind, project: string, name: string): Promise<void>;
  /** Sets some keys of a Secret (base64), removes others, and keeps the rest. Throws RequestRefusedError, NotFoundError. */
  setSecret(project: string, name: string, change: SecretChange): Promise<AppliedView>;
}

export interface SecretChange {
  set: Record<string, string>;
  remove: string[];
}

/** The first refusal of a manifest that nobody wrote, in the words of the one who set keys. */
function asTyped({ issues: [issue], message }: ManifestError): RequestRefusedError {
  if (issue === undefined) return new RequestRefusedError(message);
  const { path, reason, accepted, didYouMean } = issue;
  const [, plain, quoted] = /^spec\.data(?:\.([\w$-]+)|\["((?:[^"\\]|\\.)*)"\])/.exec(path) ?? [];
  const key = plain ?? quoted;
  const field = key === undefined ? path.replace(/^(?:metadata|spec)\./, '') : `key ${key}`;
  const meant = didYouMean === undefined ? '' : ` (did you mean ${JSON.stringify(didYouMean)}?)`;
  const form = accepted === '' ? {} : { accepted };
  return new RequestRefusedError(`${reason}${meant}`, { ...(field !== '' && { field }), ...form });
}

export function createContents({
  fabric,
  ledger,
  serialized,
  applyNow,
}: {
  fabric: Database;
  ledger: Pick<Ledger, 'append'>;
  serialized: Serialized;
  /** `apply` for who has its turn already. */
  applyNow: Apply['apply'];
}): Contents {
  /** By `<kind>/<project>/<name>`: who names it: microservices as `<application>/<microservice>`, and Gateways. */
  async function users(): Promise<Map<string, string[]>> {
    const found = new Map<string, string[]>();
    for (const { project, name, microservices } of await listRecords(fabric, 'application')) {
      for (const microservice of microservices) {
        for (const id of new Set(namedContent(microservice).map((one) => `${one.kind}/${project}/${one.name}`))) {
          found.set(id, [...(found.get(id) ?? []), `${name}/${microservice.name}`]);
        }
      }
    }
    for (const { project, name, spec } of await listRecords(fabric, 'gateway')) {
      if (spec.tls === undefined || !('secret' in spec.tls)) continue;
      const id = `secret/${project}/${spec.tls.secret}`;
      found.set(id, [...(found.get(id) ?? []), `Gateway ${name}`]);
    }
    return found;
  }

  function view(record: ConfigRecord | SecretRecord, used: ReadonlyMap<string, string[]>): ContentView {
    const { _id, project, name, generation } = record;
    const sizes =
      'data' in record
        ? Object.entries(record.data).map(([key, salted]) => ({ key, bytes: saltedBytes(salted) }))
        : Object.entries(record.files).map(([key, base64]) => ({ key, bytes: Buffer.from(base64, 'base64').length }));
    return { project, name, generation, keys: sizes, usedBy: used.get(_id) ?? [] };
  }

  return {
    async list(kind) {
      const used = await users();
      return (await listRecords<ContentKind>(fabric, kind)).map((record) => view(record, used));
    },
    async describe(kind, project, name) {
      const record = await getRecord<ContentKind>(fabric, kind, `${project}/${name}`);
      return record === undefined ? undefined : view(record, await users());
    },
    remove(kind, project, name) {
      return serialized(async () => {
        const id = `${kind}/${project}/${name}`;
        const what = kind === 'config' ? 'Config' : 'Secret';
        if ((await fabric.get(id)) === undefined)
          throw new NotFoundError(what, `${project}/${name}`, `\`selvedge ${kind}s list\` lists those that there are.`);
        const used = (await users()).get(id) ?? [];
        if (used.length > 0) throw new ContentInUseError(what, `${project}/${name}`, used, contentUsersShownMax);
        await fabric.remove(id);
        await ledger.append({ type: `${kind}-deleted`, subject: `${project}/${name}`, message: 'deleted' });
      });
    },
    setSecret(project, name, { set, remove }) {
      return serialized(async () => {
        const record = await getRecord(fabric, 'secret', `${project}/${name}`);
        const data: Record<string, { base64: string }> = {};
        for (const [key, salted] of Object.entries(record?.data ?? {})) {
          if (!remove.includes(key))
            data[key] = { base64: Buffer.from(unsaltContent(Buffer.from(salted, 'base64'))).toString('base64') };
        }
        for (const key of remove) {
          if (record?.data[key] === undefined) {
            const action = `\`selvedge secrets describe ${name}\` lists those that there are.`;
            throw new NotFoundError('key', `${key} in Secret ${project}/${name}`, action);
          }
        }
        for (const [key, base64] of Object.entries(set)) data[key] = { base64 };
        const manifest = { apiVersion, kind: 'Secret', metadata: { name, project }, spec: { data } };
        const { applied } = await applyNow([manifest]).catch((error: unknown) => {
          throw error instanceof ManifestError ? asTyped(error) : error;
        });
        return applied[0] as AppliedView;
      });
    },
  };
}

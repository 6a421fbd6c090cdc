// Gateways as operators see and remove them, and the grants that they add and revoke; `apply` makes and changes Gateways. Called by the
// API. A token is made here, answered once, and kept as its hash alone.

import type { Clock } from '../node-runtime/clock.ts';
import type { Random } from '../node-runtime/random.ts';
import type { Serialized } from './apply.ts';
import { sha256 } from './canonical-json.ts';
import { getRecord, listRecords } from './documents.ts';
import { NotFoundError, RequestRefusedError } from './errors.ts';
import type { GatewayRecord, ObservedNode } from './fabric.ts';
import type { GatewayGrant } from './gateway.ts';
import { checkGrant } from './gateway-schema.ts';
import { type GatewayFacts, gatewayView, grantView } from './gateway-views.ts';
import type { Ledger } from './ledger.ts';
import { gatewayGrantsMax, grantTokenBytes } from './limits.ts';
import { readObservedNode } from './observed-documents.ts';
import type { Database, StoredDocument } from './store.ts';
import type { GatewayView, GrantedView, GrantView } from './views.ts';

export interface GrantRequest {
  name?: string | undefined;
  cidrs?: string[] | undefined;
  /** One is made. */
  token: boolean;
  clientCertificate?: { authority?: string; sha256?: string } | undefined;
  forMs?: number | undefined;
}

export interface Gateways {
  list(): Promise<GatewayView[]>;
  /** Undefined when there is none. */
  describe(project: string, name: string): Promise<GatewayView | undefined>;
  /** Throws NotFoundError. */
  remove(project: string, name: string): Promise<void>;
  /** Throws NotFoundError, RequestRefusedError. */
  grant(project: string, name: string, request: GrantRequest): Promise<GrantedView>;
  /** Throws NotFoundError. */
  revoke(project: string, name: string, grant: string): Promise<GrantView>;
}

export const gatewayAction = '`selvedge gateways list` lists those that there are.';

export function createGateways({
  fabric,
  mailbox,
  clock,
  random,
  ledger,
  serialized,
  isLinked,
  policiesChanged,
}: {
  fabric: Database;
  mailbox: (node: string) => Promise<Database>;
  clock: Clock;
  random: Pick<Random, 'bytes'>;
  ledger: Pick<Ledger, 'append'>;
  serialized: Serialized;
  /** Whether the mesh is linked to a peer now. */
  isLinked: (peerId: string) => boolean;
  /** Resolves once nodes can hear of what the fabric's policies say now. */
  policiesChanged: () => Promise<void>;
}): Gateways {
  async function views(records: readonly GatewayRecord[]): Promise<GatewayView[]> {
    if (records.length === 0) return [];
    const nodes = await listRecords(fabric, 'node');
    const observed = new Map<string, ObservedNode | undefined>();
    for (const { name, revoked } of nodes) {
      // One that cannot be read is a node of which nothing is known.
      const document = revoked
        ? undefined
        : await mailbox(name).then(
            (of) => of.get('observed/node'),
            () => undefined,
          );
      observed.set(name, document && readObservedNode(document));
    }
    const applications = await listRecords(fabric, 'application');
    const facts: GatewayFacts = { nodes, applications, observed, isLinked, now: clock.now() };
    return records.map((record) => gatewayView(record, facts));
  }

  const known = async (project: string, name: string): Promise<GatewayRecord> => {
    const record = await getRecord(fabric, 'gateway', `${project}/${name}`);
    if (record === undefined) throw new NotFoundError('Gateway', `${project}/${name}`, gatewayAction);
    return record;
  };

  const write = (record: GatewayRecord, changes: Partial<GatewayRecord>): Promise<void> =>
    fabric.update(record._id, (current) => {
      const generation = Number(current?.['generation'] ?? record.generation) + 1;
      return { ...record, ...current, ...changes, generation } as unknown as StoredDocument;
    });

  function refuse(message: string, field: string, accepted: string): never {
    throw new RequestRefusedError(message, { field, accepted });
  }

  function grantOf(record: GatewayRecord, request: GrantRequest): { grant: GatewayGrant; token: string | undefined } {
    const { cidrs, clientCertificate, forMs } = request;
    const held = [...record.grants, ...record.added].map(({ name }) => name);
    const kind = request.token ? 'token' : clientCertificate === undefined ? 'range' : 'certificate';
    const free = (count = 1): string => (held.includes(`${kind}-${count}`) ? free(count + 1) : `${kind}-${count}`);
    const name = request.name ?? free();
    if (held.includes(name)) refuse(`there is a grant ${name} already`, 'name', 'another name');
    if (held.length >= gatewayGrantsMax)
      refuse(`the Gateway has ${held.length} grants`, 'name', `a Gateway with less than ${gatewayGrantsMax} grants`);
    if ((clientCertificate?.authority === undefined) === (clientCertificate?.sha256 === undefined) && clientCertificate)
      refuse('does not say one of the two', 'clientCertificate', '{authority: …} or {sha256: …}');
    const token = request.token ? Buffer.from(random.bytes(grantTokenBytes)).toString('base64url') : undefined;
    const { authority, sha256: fingerprint = '' } = clientCertificate ?? {};
    const grant: GatewayGrant = {
      name,
      ...(cidrs && { cidrs }),
      ...(token !== undefined && { tokenSha256: sha256(token) }),
      ...(clientCertificate && { certificate: authority === undefined ? { sha256: fingerprint } : { authority } }),
      ...(forMs !== undefined && { until: clock.now() + forMs }),
    };
    const [issue] = checkGrant(grant, record.spec);
    if (issue !== undefined) refuse(`${issue.path.join('.')} ${issue.reason}`, issue.path.join('.'), issue.accepted);
    return { grant, token };
  }

  return {
    list: async () => views(await listRecords(fabric, 'gateway')),
    async describe(project, name) {
      const record = await getRecord(fabric, 'gateway', `${project}/${name}`);
      return record && (await views([record]))[0];
    },
    remove: (project, name) =>
      serialized(async () => {
        const { _id } = await known(project, name);
        await fabric.remove(_id);
        await policiesChanged();
        await ledger.append({ type: 'gateway-deleted', subject: `${project}/${name}`, message: 'deleted' });
      }),
    grant: (project, name, request) =>
      serialized(async () => {
        const record = await known(project, name);
        const { grant, token } = grantOf(record, request);
        await write(record, { added: [...record.added, grant] });
        const view = grantView(grant, { declared: false, now: clock.now() });
        const until = view.until === undefined ? '' : ` until ${new Date(view.until).toISOString()}`;
        await ledger.append({
          type: 'grant-created',
          subject: `${project}/${name}`,
          message: `grant ${grant.name} was created${until}`,
        });
        return { ...view, ...(token !== undefined && { secret: token }) };
      }),
    revoke: (project, name, wanted) =>
      serialized(async () => {
        const record = await known(project, name);
        const declared = record.grants.find((grant) => grant.name === wanted);
        const grant = declared ?? record.added.find((one) => one.name === wanted);
        if (grant === undefined) {
          const action = `\`selvedge grants list ${name}\` lists those that there are.`;
          throw new NotFoundError('grant', wanted, action);
        }
        const without = (grants: GatewayGrant[]): GatewayGrant[] => grants.filter((one) => one !== grant);
        await write(record, { grants: without(record.grants), added: without(record.added) });
        const message = `grant ${wanted} was revoked`;
        await ledger.append({ type: 'grant-revoked', subject: `${project}/${name}`, message });
        return grantView(grant, { declared: declared !== undefined, now: clock.now() });
      }),
  };
}

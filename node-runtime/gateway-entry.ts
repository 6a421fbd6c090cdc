// One gateway of this node as gateways.ts holds it: what it needs before it listens, what it shows, and what is said of it. Called by
// gateways.ts alone; it opens and closes nothing.

import type { Actor } from 'xstate';
import type { gatewayMachine } from '../actors/gateway.ts';
import { canonicalJson } from '../control/canonical-json.ts';
import type { ObservedGateway, PlannedGateway } from '../control/gateway.ts';
import { gatewayIdentity } from '../control/gateway-plan.ts';
import type { FileReference } from '../control/plan.ts';
import { unsaltContent } from '../control/salted-content.ts';
import type { GatewayOptions, GatewayTlsMaterial, ListeningGateway } from '../mesh/gateway.ts';
import type { NodeAuthority } from './authority.ts';
import { GatewayUnusableError } from './errors.ts';
import { gatewayReasonCharactersMax } from './limits.ts';
import type { PlanFiles } from './workload-content.ts';

export interface GatewayEntry {
  planned: PlannedGateway;
  files: PlanFiles;
  actor: Actor<typeof gatewayMachine> | undefined;
  listening: ListeningGateway | undefined;
  /** What of the plan it was opened for. */
  opened: string;
  /** Clients are asked for certificates, as they were when it was opened. */
  asks: boolean;
  /** Its own certificate for clients, and for which names. */
  shown: { names: string; material: GatewayTlsMaterial } | undefined;
  /** Why it goes on with an older certificate. */
  stale: string;
}

export type GatewayAuthority = Pick<NodeAuthority, 'covers' | 'allows' | 'issuePublic'>;

export const gatewayKey = ({ project, name }: Pick<PlannedGateway, 'project' | 'name'>): string => `${project}/${name}`;

/** No instance of an application has such a name. */
export const gatewayInstance = ({ project, name }: PlannedGateway): string => `gateway/${project}/${name}`;

/** What cannot change while it listens. */
export const listenKey = ({ address, port, protocol, tls }: PlannedGateway): string =>
  canonicalJson([address ?? null, port, protocol, tls !== undefined]);

export const asksForCertificates = ({ grants }: PlannedGateway): boolean =>
  grants.some(({ certificate }) => certificate !== undefined);

/** Whether it must be opened anew. Who asked for certificates goes on asking: for that nobody else is closed. */
export function isOpenedFor({ opened, asks }: GatewayEntry, planned: PlannedGateway): boolean {
  return opened === listenKey(planned) && (asks || !asksForCertificates(planned));
}

export function gatewayHeldBy({ tls, ...planned }: PlannedGateway, authority: GatewayAuthority): string | undefined {
  const allowed = tls === undefined || !('names' in tls) || authority.allows(tls.names);
  const isReady = allowed && authority.covers(gatewayIdentity(planned));
  return isReady ? undefined : 'waiting for an authority that covers it';
}

export function gatewayProtocol({ protocol }: PlannedGateway): GatewayOptions['protocol'] {
  if (protocol === 'tcp' || protocol === 'http') return protocol;
  throw new GatewayUnusableError(`this version does not publish the protocol ${protocol}`);
}

function contentOf({ files }: GatewayEntry, { sha256 }: FileReference): string {
  const content = files.get(sha256);
  if (content === undefined) throw new GatewayUnusableError('its certificate is not in the plan');
  return Buffer.from(unsaltContent(content)).toString('utf8');
}

/** Issues what it lacks. Throws GatewayUnusableError where there is none. */
export function gatewayMaterial(entry: GatewayEntry, authority: GatewayAuthority): GatewayTlsMaterial | undefined {
  const { tls } = entry.planned;
  if (tls === undefined) return undefined;
  if ('missing' in tls) throw new GatewayUnusableError(tls.missing);
  if ('certificate' in tls) return { chainPem: contentOf(entry, tls.certificate), keyPem: contentOf(entry, tls.key) };
  const names = tls.names.join(' ');
  if (entry.shown?.names !== names) {
    if (!authority.allows(tls.names)) throw new GatewayUnusableError('its new names are not in the authority yet');
    entry.shown = { names, material: authority.issuePublic(tls.names) };
  }
  return entry.shown.material;
}

export function observedGateway({ planned, actor, listening, stale }: GatewayEntry): ObservedGateway {
  const snapshot = actor?.getSnapshot();
  const closed = snapshot?.matches('backingOff') ? 'failed' : 'waiting';
  const state = snapshot?.matches('listening') ? 'listening' : closed;
  const reason = state === 'listening' ? stale : (snapshot?.context.reason ?? '');
  const { project, name, generation } = planned;
  return {
    ...{ project, name, generation, state, reason: reason.slice(0, gatewayReasonCharactersMax) },
    ...{ connections: listening?.connections ?? 0, refused: listening?.refused ?? 0 },
  };
}

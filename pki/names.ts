// Names in certificates: fabric ids, SPIFFE IDs and the DNS names that correspond to them (design, section 6). Pure.
// Strict both ways: a name that is read is spelled exactly as it would be written. Source: SPIFFE-ID specification.

import type { MicroserviceName } from '../control/plan.ts';
import { fromBase32, toBase32 } from './base32.ts';
import { NameError } from './errors.ts';
import { labelCharactersMax } from './limits.ts';
import { sha256 } from './public-key.ts';

const hashBytes = 32;
const labelPattern = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/;

export type SpiffeName =
  | { kind: 'node'; fabricId: string; node: string }
  | ({ kind: 'workload'; fabricId: string } & MicroserviceName);

/** SHA-256 of the root key's SubjectPublicKeyInfo as 52 characters of base32. */
export const fabricIdOf = (rootPublicKeySpki: Uint8Array): string => toBase32(sha256(rootPublicKeySpki));

export const isFabricId = (text: string): boolean => fromBase32(text, hashBytes) !== undefined;

/** A DNS label in lower case (RFC 1123): names of nodes, projects, applications and microservices. */
export const isLabel = (text: string): boolean => text.length <= labelCharactersMax && labelPattern.test(text);

/** A DNS name of the world outside: lower case, at most 253 characters, and none that could be somebody's of the fabric. */
export function isPublicName(name: string, fabricId: string): boolean {
  const labels = name.split('.');
  return name.length <= 253 && labels.every(isLabel) && !isFabricId(labels.at(-1) ?? '') && labels.at(-1) !== fabricId;
}

function checked(fabricId: string, ...labels: string[]): void {
  if (!isFabricId(fabricId)) throw new NameError(`${JSON.stringify(fabricId)} is no fabric id`);
  const wrong = labels.find((label) => !isLabel(label));
  if (wrong !== undefined) throw new NameError(`${JSON.stringify(wrong.slice(0, labelCharactersMax + 1))} is no name`);
}

/** `spiffe://<fabric-id>/node/<node>`. Throws NameError. */
export function nodeUri(fabricId: string, node: string): string {
  checked(fabricId, node);
  return `spiffe://${fabricId}/node/${node}`;
}

/** `spiffe://<fabric-id>/project/<project>/app/<application>/ms/<microservice>`. Throws NameError. */
export function workloadUri(fabricId: string, { project, application, microservice }: MicroserviceName): string {
  checked(fabricId, project, application, microservice);
  return `spiffe://${fabricId}/project/${project}/app/${application}/ms/${microservice}`;
}

/** `<node>.node.<fabric-id>`. Throws NameError. */
export function nodeDnsName(fabricId: string, node: string): string {
  checked(fabricId, node);
  return `${node}.node.${fabricId}`;
}

/** `<microservice>.<application>.<project>.ms.<fabric-id>`: 247 characters at most. Throws NameError. */
export function workloadDnsName(fabricId: string, { project, application, microservice }: MicroserviceName): string {
  checked(fabricId, project, application, microservice);
  return `${microservice}.${application}.${project}.ms.${fabricId}`;
}

/** Reads either SPIFFE ID; undefined for any other text. */
export function parseSpiffeUri(uri: string): SpiffeName | undefined {
  const [scheme, empty, fabricId = '', kind, ...rest] = uri.split('/');
  if (scheme !== 'spiffe:' || empty !== '' || !isFabricId(fabricId)) return undefined;
  const [first = '', app, application = '', ms, microservice = ''] = rest;
  if (kind === 'node' && rest.length === 1 && isLabel(first)) return { kind: 'node', fabricId, node: first };
  if (kind !== 'project' || rest.length !== 5 || app !== 'app' || ms !== 'ms') return undefined;
  if (![first, application, microservice].every(isLabel)) return undefined;
  return { kind: 'workload', fabricId, project: first, application, microservice };
}

/** Reads either DNS name; undefined for any other text. */
export function parseDnsName(name: string): SpiffeName | undefined {
  const labels = name.split('.');
  const fabricId = labels.at(-1) ?? '';
  if (!isFabricId(fabricId)) return undefined;
  const [first = '', second = '', third = '', fourth] = labels;
  if (labels.length === 3 && second === 'node' && isLabel(first)) return { kind: 'node', fabricId, node: first };
  if (labels.length !== 5 || fourth !== 'ms' || ![first, second, third].every(isLabel)) return undefined;
  return { kind: 'workload', fabricId, project: third, application: second, microservice: first };
}

export const spiffeUriOf = (name: SpiffeName): string =>
  name.kind === 'node' ? nodeUri(name.fabricId, name.node) : workloadUri(name.fabricId, name);

export const dnsNameOf = (name: SpiffeName): string =>
  name.kind === 'node' ? nodeDnsName(name.fabricId, name.node) : workloadDnsName(name.fabricId, name);

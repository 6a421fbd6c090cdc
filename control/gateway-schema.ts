// The form of Gateways in manifests, and what concerns several of their fields. Called by manifest-schema.ts and manifest.ts, and by the
// API for grants that are added. Pure.

import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { z } from 'zod';
import type { GatewayGrant, GatewaySpec } from './gateway.ts';
import {
  gatewayCertificateCharactersMax,
  gatewayGrantsMax,
  gatewayNameCharactersMax,
  gatewayNamesMax,
  gatewayNodesMax,
  gatewayPathCharactersMax,
  gatewayRangesMax,
  gatewayRoutesMax,
  labelValueCharactersMax,
} from './limits.ts';
import type { FieldIssue } from './manifest-issues.ts';
import { dnsLabelForm, dnsLabelPattern, isLabelKey, isLabelValue, labelKeyForm, labelValueForm } from './names.ts';

const label = z.string().regex(dnsLabelPattern).describe(dnsLabelForm);
const port = z.int().min(1).max(65_535).describe('a whole number from 1 to 65535');

export function isDnsName(text: string): boolean {
  return text.length <= 253 && text.split('.').every((part) => dnsLabelPattern.test(part)) && isIP(text) === 0;
}

/** `192.0.2.0/24`, `2001:db8::/32`, or an address alone. */
export function isRange(text: string): boolean {
  const [address = '', prefix, ...more] = text.split('/');
  const version = isIP(address);
  if (version === 0 || address.includes('%') || more.length > 0) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (version === 4 ? 32 : 128));
}

const sha256Form = '64 hexadecimal digits, as `sha256sum` prints them';
const sha256 = z
  .string()
  .regex(/^[0-9a-f]{64}$/)
  .describe(sha256Form);
const fingerprint = z
  .string()
  .regex(/^(?:[0-9a-f]{64}|[0-9A-F]{2}(?::[0-9A-F]{2}){31})$/)
  .transform((text) => text.replaceAll(':', '').toLowerCase())
  .describe('a SHA-256 as `openssl x509 -fingerprint -sha256` prints it');
const dnsName = z
  .string()
  .refine(isDnsName)
  .describe('a DNS name in lower case: shop.example (browsers and curl take no certificate of an address)');

function isCertificate(text: string): boolean {
  try {
    return new X509Certificate(text).ca && text.split('-----BEGIN').length === 2;
  } catch {
    return false;
  }
}

export const grantName = label;
export const grantRanges = z
  .array(z.string().max(64).refine(isRange).describe('an address range: 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7'))
  .min(1)
  .max(gatewayRangesMax)
  .describe(`a list of 1 to ${gatewayRangesMax} address ranges: [10.0.0.0/8]; [0.0.0.0/0, "::/0"] is everybody`);

const untilForm = 'a time with a zone: 2027-01-31T12:00:00Z';
export const clientCertificate = z
  .strictObject({
    authority: z
      .string()
      .max(gatewayCertificateCharactersMax)
      .refine(isCertificate)
      .describe("a certificate authority's certificate in PEM, one alone")
      .exactOptional(),
    sha256: fingerprint.exactOptional(),
  })
  .describe('{authority: "-----BEGIN CERTIFICATE…"} or {sha256: "AB:CD:…"}');

const grant = z
  .strictObject({
    name: label,
    cidrs: grantRanges.exactOptional(),
    token: z
      .strictObject({ sha256 })
      .describe('{sha256: …}, the SHA-256 of the token; `selvedge grants create --token` makes one')
      .exactOptional(),
    clientCertificate: clientCertificate.exactOptional(),
    until: z.iso.datetime({ offset: true }).describe(untilForm).exactOptional(),
  })
  .describe('{name: office, cidrs: [10.0.0.0/8]}, with token, clientCertificate and until as wanted');

const target = z
  .strictObject({ application: label, microservice: label, port })
  .describe('{application: shop, microservice: web, port: 8080}');

const path = z
  .string()
  .max(gatewayPathCharactersMax)
  .regex(/^\/(?:[A-Za-z0-9._~-]+(?:\/[A-Za-z0-9._~-]+)*)?$/)
  .refine((text) => text.split('/').every((part) => part !== '.' && part !== '..'))
  .describe("a path such as /api, without '/' at its end");

export const gatewaySpec = z
  .strictObject({
    on: z
      .strictObject({
        nodes: z.array(label).min(1).max(gatewayNodesMax).describe('a list of names of nodes').exactOptional(),
        labels: z
          .record(
            z.string().refine(isLabelKey).describe(labelKeyForm),
            z.string().max(labelValueCharactersMax).refine(isLabelValue).describe(`a string: ${labelValueForm}`),
          )
          .describe('an object of strings: {site: north}')
          .exactOptional(),
      })
      .describe('{nodes: [box1]} or {labels: {site: north}}'),
    address: z
      .string()
      .refine((text) => isIP(text) !== 0)
      .describe('an IP address of the nodes')
      .exactOptional(),
    port,
    protocol: z.enum(['tcp', 'http']).describe("'tcp' or 'http'; udp cannot be published yet"),
    tls: z
      .strictObject({
        names: z
          .array(dnsName)
          .min(1)
          .max(gatewayNamesMax)
          .describe(`a list of 1 to ${gatewayNamesMax} DNS names: [shop.example]`)
          .exactOptional(),
        secret: label.describe('the name of a Secret with the keys tls.crt and tls.key').exactOptional(),
      })
      .describe('{names: [shop.example]} or {secret: shop-tls}')
      .exactOptional(),
    to: target.exactOptional(),
    routes: z
      .array(
        z
          .strictObject({ host: dnsName.exactOptional(), path: path.exactOptional(), to: target })
          .describe('{host: shop.example, path: /api, to: {…}}'),
      )
      .min(1)
      .max(gatewayRoutesMax)
      .describe(`a list of 1 to ${gatewayRoutesMax} routes: [{path: /api, to: {…}}]`)
      .exactOptional(),
    grants: z
      .array(grant)
      .max(gatewayGrantsMax)
      .default([])
      .describe('a list: [{name: office, cidrs: [10.0.0.0/8]}]; without one nobody is let in'),
  })
  .describe('{on: {nodes: [box1]}, port: 8443, protocol: http, to: {…}, grants: […]}');

type Parsed = z.infer<typeof gatewaySpec>;
type ParsedGrant = z.infer<typeof grant>;

export function toGrant({
  name,
  cidrs: ranges,
  token,
  clientCertificate: certificate,
  until,
}: ParsedGrant): GatewayGrant {
  return {
    name,
    ...(ranges && { cidrs: ranges }),
    ...(token && { tokenSha256: token.sha256 }),
    ...(certificate && {
      certificate:
        certificate.sha256 === undefined ? { authority: certificate.authority ?? '' } : { sha256: certificate.sha256 },
    }),
    ...(until !== undefined && { until: Date.parse(until) }),
  };
}

/** checkGateway has found nothing. */
export function toGatewaySpec({ on, address, port: listened, protocol, tls, to, routes }: Parsed): GatewaySpec {
  return {
    on: on.nodes === undefined ? { labels: on.labels ?? {} } : { nodes: on.nodes },
    ...(address !== undefined && { address }),
    port: listened,
    protocol,
    ...(tls && { tls: tls.names === undefined ? { secret: tls.secret ?? '' } : { names: tls.names } }),
    routes: routes ?? (to === undefined ? [] : [{ to }]),
  };
}

/** What is wrong with a grant where it is to hold; fields as in manifests. */
export function checkGrant(
  { cidrs: ranges, tokenSha256, certificate }: GatewayGrant,
  { protocol, tls }: Pick<GatewaySpec, 'protocol'> & { tls?: unknown },
): FieldIssue[] {
  const issues: FieldIssue[] = [];
  if (ranges === undefined && tokenSha256 === undefined && certificate === undefined) {
    const accepted = 'cidrs, token or clientCertificate; cidrs: [0.0.0.0/0, "::/0"] is everybody';
    issues.push({ path: ['cidrs'], reason: 'is missing: the grant says of nobody that he is let in', accepted });
  }
  if (tokenSha256 !== undefined && (protocol !== 'http' || tls === undefined)) {
    const reason = 'is for protocol http with tls: a token that is sent in clear is everybody’s';
    issues.push({ path: ['token'], reason, accepted: 'cidrs, or spec.protocol: http with spec.tls' });
  }
  if (certificate !== undefined && tls === undefined) {
    issues.push({ path: ['clientCertificate'], reason: 'needs spec.tls', accepted: 'spec.tls, or cidrs' });
  }
  return issues;
}

/** What concerns more than one field. */
export function checkGateway(name: string, parsed: Parsed): FieldIssue[] {
  const { on, tls, to, routes, protocol, grants } = parsed;
  const issues: FieldIssue[] = [];
  const add = (path: FieldIssue['path'], reason: string, accepted: string): void =>
    void issues.push({ path, reason, accepted });
  if (name.length > gatewayNameCharactersMax) {
    add(['metadata', 'name'], `has ${name.length} characters`, `at most ${gatewayNameCharactersMax} for a Gateway`);
  }
  if ((on.nodes === undefined) === (on.labels === undefined))
    add(['spec', 'on'], 'does not say one of the two', '{nodes: [box1]} or {labels: {site: north}}');
  if (on.labels !== undefined && Object.keys(on.labels).length === 0)
    add(['spec', 'on', 'labels'], 'is empty', 'an object of strings: {site: north}');
  if (tls !== undefined && (tls.names === undefined) === (tls.secret === undefined))
    add(['spec', 'tls'], 'does not say one of the two', '{names: [shop.example]} or {secret: shop-tls}');
  if ((to === undefined) === (routes === undefined))
    add(['spec', 'to'], 'does not say one of the two', 'to, or for protocol http routes');
  if (protocol === 'tcp' && routes !== undefined)
    add(['spec', 'routes'], 'is for protocol http', 'spec.to: TCP has neither host nor path');
  const seen = new Set<string>();
  for (const [index, { host = '', path: prefix = '' }] of (routes ?? []).entries()) {
    const key = `${host} ${prefix === '/' ? '' : prefix}`;
    if (seen.has(key)) add(['spec', 'routes', index], 'has the host and path of an earlier one', 'each of them once');
    seen.add(key);
  }
  const names = new Set<string>();
  for (const [index, one] of grants.entries()) {
    const at = ['spec', 'grants', index];
    if (names.has(one.name)) add([...at, 'name'], `${JSON.stringify(one.name)} is there twice`, 'each name once');
    names.add(one.name);
    const { clientCertificate: certificate } = one;
    if (certificate !== undefined && (certificate.authority === undefined) === (certificate.sha256 === undefined))
      add([...at, 'clientCertificate'], 'does not say one of the two', '{authority: …} or {sha256: …}');
    issues.push(
      ...checkGrant(toGrant(one), { protocol, tls }).map((issue) => ({ ...issue, path: [...at, ...issue.path] })),
    );
  }
  return issues;
}

const storedTarget = z.looseObject({ application: label, microservice: label, port });

/** As stored and as planned: checked again, since replication brought it. */
export const storedGrant = z.looseObject({
  name: label,
  cidrs: z.array(z.string().refine(isRange)).max(gatewayRangesMax).optional(),
  tokenSha256: sha256.optional(),
  certificate: z.union([z.looseObject({ authority: z.string() }), z.looseObject({ sha256 })]).optional(),
  until: z.number().optional(),
});

export const storedGateway = z.looseObject({
  on: z.union([z.looseObject({ nodes: z.array(label) }), z.looseObject({ labels: z.record(z.string(), z.string()) })]),
  address: z.string().optional(),
  port,
  protocol: z.string(),
  tls: z.union([z.looseObject({ names: z.array(z.string()) }), z.looseObject({ secret: label })]).optional(),
  routes: z
    .array(z.looseObject({ host: z.string().optional(), path: z.string().optional(), to: storedTarget }))
    .max(gatewayRoutesMax),
});

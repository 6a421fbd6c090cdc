// What manifests name and must be there: nodes, Configs, Secrets and their keys, in the fabric or in the same apply. Called by apply.ts
// before anything is written. It reads the fabric and must never write.

import { type ContentReference, namedContent } from './content-references.ts';
import { listRecords } from './documents.ts';
import { tlsSecretKeys } from './gateway.ts';
import { gatewaysMax, nodesShownMax, policiesMax } from './limits.ts';
import type { ManifestIssue, Manifests } from './manifest.ts';
import { pathText } from './manifest-issues.ts';
import type { Database } from './store.ts';
import { didYouMean } from './suggestion.ts';

type Source = readonly string[] | undefined;
type Issue = Omit<ManifestIssue, 'document' | 'source'>;

const kindNames = { config: 'Config', secret: 'Secret' } as const;

function at(document: number, source: Source, issue: Issue): ManifestIssue {
  const from = source?.[document];
  return { document, ...(from !== undefined && { source: from }), ...issue };
}

/** A misspelt name would wait for ever: a node must be known before work is pinned to it. */
async function nodeIssues(
  fabric: Database,
  { applications, gateways }: Manifests,
  source: Source,
): Promise<ManifestIssue[]> {
  const placed = applications.flatMap(({ document, microservices }) =>
    microservices.flatMap(({ placement }, index) =>
      placement.node === undefined
        ? []
        : [{ document, path: `spec.microservices[${index}].placement.node`, node: placement.node }],
    ),
  );
  const published = gateways.flatMap(({ document, spec: { on } }) =>
    ('nodes' in on ? on.nodes : []).map((node, index) => ({ document, path: `spec.on.nodes[${index}]`, node })),
  );
  const pins = [...placed, ...published];
  if (pins.length === 0) return [];
  const nodes = (await listRecords(fabric, 'node')).map(({ name }) => name).sort();
  const shown = nodes.slice(0, nodesShownMax).join(', ') + (nodes.length > nodesShownMax ? ', …' : '');
  return pins
    .filter(({ node }) => !nodes.includes(node))
    .map(({ document, path, node }) => {
      const guess = didYouMean(node, nodes);
      return at(document, source, {
        path,
        reason: `there is no node ${JSON.stringify(node)} in this fabric`,
        accepted: nodes.length === 0 ? 'the name of a node' : `the name of a node: ${shown}`,
        ...(guess !== undefined && { didYouMean: guess }),
      });
    });
}

/** Every node holds all policies. */
async function policyIssues(fabric: Database, { policies }: Manifests, source: Source): Promise<ManifestIssue[]> {
  const [last] = policies.slice(-1);
  if (last === undefined) return [];
  const known = new Set((await listRecords(fabric, 'policy')).map(({ _id }) => _id as string));
  for (const { project, name } of policies) known.add(`policy/${project}/${name}`);
  if (known.size <= policiesMax) return [];
  const reason = `there would be ${known.size} policies in this fabric`;
  const accepted = `at most ${policiesMax}; one policy has several rules`;
  return [at(last.document, source, { path: 'metadata.name', reason, accepted })];
}

/** Each is a fact that every node holds, and some name a Secret. */
async function gatewayIssues(
  fabric: Database,
  { gateways }: Manifests,
  known: () => Promise<Map<string, Set<string>>>,
  source: Source,
): Promise<ManifestIssue[]> {
  const [last] = gateways.slice(-1);
  if (last === undefined) return [];
  const issues: ManifestIssue[] = [];
  const ids = new Set((await listRecords(fabric, 'gateway')).map(({ _id }) => _id as string));
  for (const { project, name } of gateways) ids.add(`gateway/${project}/${name}`);
  if (ids.size > gatewaysMax) {
    const reason = `there would be ${ids.size} gateways in this fabric`;
    issues.push(at(last.document, source, { path: 'metadata.name', reason, accepted: `at most ${gatewaysMax}` }));
  }
  for (const { document, project, spec } of gateways) {
    if (spec.tls === undefined || 'names' in spec.tls) continue;
    for (const key of Object.values(tlsSecretKeys)) {
      const wrong = missing({ kind: 'secret', name: spec.tls.secret, key }, project, 'spec.tls.secret', await known());
      if (wrong === undefined) continue;
      issues.push(at(document, source, { ...wrong, path: 'spec.tls.secret' }));
      break;
    }
  }
  return issues;
}

/** Keys by `<kind>/<project>/<name>`: as it will be once the apply is written. */
async function knownContent(fabric: Database, { configs, secrets }: Manifests): Promise<Map<string, Set<string>>> {
  const known = new Map<string, Set<string>>();
  for (const { _id, files } of await listRecords(fabric, 'config')) known.set(_id, new Set(Object.keys(files)));
  for (const { _id, data } of await listRecords(fabric, 'secret')) known.set(_id, new Set(Object.keys(data)));
  for (const { project, name, files } of configs) known.set(`config/${project}/${name}`, new Set(Object.keys(files)));
  for (const { project, name, data } of secrets) known.set(`secret/${project}/${name}`, new Set(Object.keys(data)));
  return known;
}

/** What is wrong with one reference; undefined when it is there. */
function missing(
  { kind, name, key }: Omit<ContentReference, 'path'>,
  project: string,
  field: string,
  known: ReadonlyMap<string, ReadonlySet<string>>,
): Issue | undefined {
  const what = kindNames[kind];
  const keys = known.get(`${kind}/${project}/${name}`);
  if (keys === undefined) {
    const prefix = `${kind}/${project}/`;
    const names = [...known.keys()].flatMap((id) => (id.startsWith(prefix) ? [id.slice(prefix.length)] : []));
    const guess = didYouMean(name, names);
    return {
      path: field,
      reason: `there is no ${what} ${JSON.stringify(name)} in project ${project}`,
      accepted: `a ${what} that is in the fabric or in the same apply`,
      ...(guess !== undefined && { didYouMean: guess }),
    };
  }
  if (key === undefined || keys.has(key)) return undefined;
  const guess = didYouMean(key, [...keys]);
  return {
    path: `${field}.key`,
    reason: `${what} ${name} has no ${JSON.stringify(key)}`,
    accepted: keys.size === 0 ? `a key of ${what} ${name}` : `one of ${[...keys].slice(0, nodesShownMax).join(', ')}`,
    ...(guess !== undefined && { didYouMean: guess }),
  };
}

const fieldOf = (index: number, { path }: ContentReference): string =>
  pathText(['spec', 'microservices', index, ...path]);

/** Every reference that leads nowhere: of what is applied, and of what is there and would lose a key that it takes. */
export async function referenceIssues(
  fabric: Database,
  manifests: Manifests,
  source: Source,
): Promise<ManifestIssue[]> {
  const { applications, configs, secrets } = manifests;
  const issues = [
    ...(await nodeIssues(fabric, manifests, source)),
    ...(await policyIssues(fabric, manifests, source)),
    ...(await gatewayIssues(fabric, manifests, () => knownContent(fabric, manifests), source)),
  ];
  const named = applications.some(({ microservices }) => microservices.some((one) => namedContent(one).length > 0));
  const contents = [
    ...configs.map((one) => ({ ...one, kind: 'config' as const, field: 'spec.files' })),
    ...secrets.map((one) => ({ ...one, kind: 'secret' as const, field: 'spec.data' })),
  ];
  if (!named && contents.length === 0) return issues;
  const known = await knownContent(fabric, manifests);
  for (const { document, project, microservices } of applications) {
    for (const [index, microservice] of microservices.entries()) {
      for (const reference of namedContent(microservice)) {
        const issue = missing(reference, project, fieldOf(index, reference), known);
        if (issue !== undefined) issues.push(at(document, source, issue));
      }
    }
  }
  if (contents.length === 0) return issues;
  const applied = new Set(applications.map(({ project, name }) => `application/${project}/${name}`));
  for (const { _id, project, name, microservices } of await listRecords(fabric, 'application')) {
    if (applied.has(_id)) continue;
    for (const [index, microservice] of microservices.entries()) {
      for (const reference of namedContent(microservice)) {
        const content = contents.find(
          (one) => one.kind === reference.kind && one.project === project && one.name === reference.name,
        );
        if (content === undefined || missing(reference, project, fieldOf(index, reference), known) === undefined)
          continue;
        const user = `application ${project}/${name}, microservice ${microservice.name}`;
        const reason = `has no ${JSON.stringify(reference.key)}, which ${user} takes as a variable`;
        issues.push(at(content.document, source, { path: content.field, reason, accepted: 'the key with its value' }));
      }
    }
  }
  return issues;
}

// docs/manifest.md has every field of the schemas as they are, and its examples are manifests that are accepted.

import { readFileSync } from 'node:fs';
import test from 'ava';
import { parseAllDocuments } from 'yaml';
import { validateManifests } from '../../control/manifest.ts';
import { manifestSchemas } from '../../control/manifest-schema.ts';
import { fields, manifestPage, meanings, pageWithFields } from './manifest-reference.ts';
import { pages, textOf } from './pages.ts';

test('every field of every kind has a meaning, and nothing else has', (t) => {
  t.deepEqual(Object.keys(meanings), Object.keys(manifestSchemas));
  for (const kind of ['Application', 'Config'] as const) {
    const paths = fields(kind).map(({ path }) => path);
    t.deepEqual(Object.keys(meanings[kind]).sort(), paths.toSorted());
    for (const { path, accepted } of fields(kind)) t.not(accepted, '', `${kind} ${path} does not say what is accepted`);
  }
});

test('docs/manifest.md is what the schemas say (else: node test/docs/manifest-reference.ts)', (t) => {
  const page = readFileSync(manifestPage, 'utf8');
  t.is(page, pageWithFields(page));
});

test('manifests in the documentation are accepted', (t) => {
  let whole = 0;
  for (const page of pages()) {
    for (const [, text = ''] of textOf(page).matchAll(/^```yaml\n([\s\S]*?)^```$/gm)) {
      const documents = parseAllDocuments(text).map((document) => document.toJS() as unknown);
      // A piece of one: a list of microservices.
      const isPiece = Array.isArray(documents[0]);
      const manifests = isPiece
        ? documents.map((microservices) => ({
            apiVersion: 'selvedge/v1',
            kind: 'Application',
            metadata: { name: 'piece' },
            spec: { microservices },
          }))
        : documents;
      t.notThrows(() => validateManifests(manifests), page);
      whole++;
    }
  }
  t.true(whole >= 2);
});

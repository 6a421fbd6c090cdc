// docs/troubleshooting.md lists every error of the code, and every check of the doctor, as the code has them.

import { readFileSync } from 'node:fs';
import test from 'ava';
import { errorIndex, idsInCode, pagePath, pageWithTable } from './error-index.ts';

const page = readFileSync(pagePath, 'utf8');

test('every error id in the code is listed once, with cause and action', (t) => {
  const index = errorIndex();
  t.true(index.length > 80);
  t.deepEqual([...new Set(index.map(({ id }) => id))].sort(), [...idsInCode()].sort());
  for (const { id, file, cause } of index) t.not(cause, '', `${file}: ${id} has no comment that says its cause`);
  const ids = index.map(({ id }) => id);
  t.deepEqual(
    ids.filter((id, place) => ids.indexOf(id) !== place),
    [],
    'an id stands for one cause',
  );
});

test('the page is what the code says (else: node test/docs/error-index.ts)', (t) => {
  t.is(page, pageWithTable(page));
});

test('every check of the doctor is on the page', (t) => {
  const source = readFileSync(new URL('../../node-runtime/doctor/doctor.ts', import.meta.url), 'utf8');
  const ids = [...source.matchAll(/^ {4}\['([a-z-]+)',/gm)].map((match) => match[1] ?? '');
  t.is(ids.length, 27);
  for (const id of ids) t.true(page.includes(`| \`${id}\` |`), id);
});

// The licences of the packages whose code is bundled, as one text: most of them ask for it. Called by build.ts. Throws when a package
// states none, or one that is not among those that may be bundled under Apache-2.0.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Manifest {
  name: string;
  version: string;
  license?: string;
  /** Manifests of before 2014. */
  licenses?: { type: string }[];
  author?: string | { name?: string };
}

/** Permissive ones, that allow distribution inside another work when their text goes with it. */
const allowed = /^\(?(MIT|MIT-0|ISC|0BSD|BSD-2-Clause|BSD-3-Clause|Apache-2\.0|Unlicense|BlueOak-1\.0\.0)\b/;
const licenceFile = /^(licen[cs]e|copying|notice)([-.].*)?$/i;

/** `node_modules/a/node_modules/b` of a file in it; undefined for our own files. */
function packageFolder(file: string): string | undefined {
  return /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0];
}

/** `files` are the bundle's inputs, relative to `root`. */
export function licencesOf(root: string, files: readonly string[]): string {
  const folders = [...new Set(files.flatMap((file) => packageFolder(file) ?? []))];
  const byPackage = new Map(
    folders.map((folder) => {
      const manifest = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8')) as Manifest;
      return [`${manifest.name} ${manifest.version}`, { folder: join(root, folder), manifest }];
    }),
  );
  const sections = [...byPackage]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([title, { folder, manifest }]) => section(title, folder, manifest));
  const head = 'Selvedge contains code of these packages, each under its own licence.\n';
  return `${[head, ...sections].join(`\n${'-'.repeat(80)}\n\n`)}`;
}

function section(title: string, folder: string, manifest: Manifest): string {
  const license = manifest.license ?? manifest.licenses?.map(({ type }) => type).join(' OR ');
  if (license === undefined || !allowed.test(license)) {
    const what = `${title} is under ${license ?? 'no stated licence'}`;
    throw new Error(`${what}: look whether it may be bundled, then add it in scripts/licences.ts`);
  }
  const texts = readdirSync(folder)
    .filter((name) => licenceFile.test(name))
    .sort()
    .map((name) => readFileSync(join(folder, name), 'utf8').trim());
  if (texts.length === 0) texts.push(textOf(license, manifest));
  return `${title} (${license})\n\n${texts.join('\n\n')}\n`;
}

/** For a package that comes without the text of the licence that it states. */
function textOf(license: string, { name, author }: Manifest): string {
  if (license.includes('Apache-2.0'))
    return 'Used under the Apache License 2.0: its text is in the file LICENSE of Selvedge.';
  const text = standardTexts[license];
  if (text === undefined) throw new Error(`${name} comes without the text of its licence, ${license}`);
  const holder = typeof author === 'string' ? author : (author?.name ?? `the authors of ${name}`);
  return `Copyright (c) ${holder}\n\n${text}`;
}

/** https://spdx.org/licenses/ */
const standardTexts: Record<string, string> = {
  ISC: `Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted,
provided that the above copyright notice and this permission notice appear in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING ALL IMPLIED WARRANTIES
OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR
ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS
ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR PERFORMANCE OF THIS SOFTWARE.`,
  MIT: `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files
(the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge,
publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do
so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE
FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`,
};

// The contents that Configs and Secrets carry: text or base64, in bounds. Pure; called by manifest.ts after the schema has accepted the
// document. What it says of a Secret never repeats a value.

import { configBytesMax, configFileBytesMax, secretBytesMax, secretValueBytesMax } from './limits.ts';
import type { FieldIssue } from './manifest-issues.ts';
import type { ParsedConfig, ParsedSecret } from './manifest-schema.ts';

type Path = (string | number)[];

interface Bounds {
  one: number;
  /** As a person says it. */
  oneText: string;
  all: number;
  what: string;
}

const configBounds: Bounds = { one: configFileBytesMax, oneText: '1 MiB', all: configBytesMax, what: 'a Config' };
const secretBounds: Bounds = { one: secretValueBytesMax, oneText: '256 KiB', all: secretBytesMax, what: 'a Secret' };

function issue(path: Path, reason: string, accepted = ''): FieldIssue {
  return { path, reason, accepted };
}

/** Bytes of canonical base64; undefined when it is not base64. */
function base64Bytes(text: string, bound: number): number | undefined {
  // Text that is far too long is not decoded: its length says enough.
  const atLeast = Math.floor(text.length / 4) * 3 - 2;
  if (atLeast > bound) return atLeast;
  if (text.length % 4 !== 0) return undefined;
  const decoded = Buffer.from(text, 'base64');
  return decoded.toString('base64') === text ? decoded.length : undefined;
}

type Contents = Record<string, { text?: string | undefined; base64?: string | undefined }>;

/** All as base64, or what is wrong with them. */
function readContents(contents: Contents, at: Path, bounds: Bounds): [Record<string, string>, FieldIssue[]] {
  const issues: FieldIssue[] = [];
  const read: [string, string][] = [];
  let bytesTotal = 0;
  for (const [name, { text, base64 }] of Object.entries(contents)) {
    const path: Path = [...at, name];
    if ((text === undefined) === (base64 === undefined)) {
      const reason = text === undefined ? 'says neither text nor base64' : 'says both text and base64';
      issues.push(issue(path, reason, '{text: "…"} or {base64: "…"}'));
      continue;
    }
    const encoded = base64 ?? Buffer.from(text ?? '', 'utf8').toString('base64');
    const bytes = text === undefined ? base64Bytes(encoded, bounds.one) : Buffer.byteLength(text);
    if (bytes === undefined) {
      issues.push(issue([...path, 'base64'], 'is not base64', 'base64 with padding (RFC 4648, section 4)'));
      continue;
    }
    if (bytes > bounds.one) {
      issues.push(issue(path, `is larger than ${bounds.oneText}`, `at most ${bounds.one} bytes a file`));
      continue;
    }
    bytesTotal += bytes;
    read.push([name, encoded]);
  }
  if (bytesTotal > bounds.all)
    issues.push(issue(at, `has ${bytesTotal} bytes in all`, `at most ${bounds.all} bytes ${bounds.what}`));
  return [Object.fromEntries(read), issues];
}

export function readConfigFiles(config: ParsedConfig): { files: Record<string, string>; issues: FieldIssue[] } {
  const at: Path = ['spec', 'files'];
  const paths = new Set(Object.keys(config.spec.files));
  const nested = [...paths].flatMap((path) => {
    const parent = path.split('/').find((_, index, parts) => index > 0 && paths.has(parts.slice(0, index).join('/')));
    if (parent === undefined) return [];
    return [issue([...at, path], 'lies under a path that is itself a file', 'files and folders with different names')];
  });
  const [files, issues] = readContents(config.spec.files, at, configBounds);
  return { files, issues: [...nested, ...issues] };
}

export function readSecretData(secret: ParsedSecret): { data: Record<string, string>; issues: FieldIssue[] } {
  const [data, issues] = readContents(secret.spec.data, ['spec', 'data'], secretBounds);
  return { data, issues };
}

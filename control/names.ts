// The grammar of names, labels and paths. Called by the manifest schemas, the node registry and the document checks.
// It must never touch a document.

import { labelKeyCharactersMax, labelValueCharactersMax, secretKeyCharactersMax } from './limits.ts';

/** RFC 1123, section 2.1, in lower case. */
export const dnsLabelPattern = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;
export const dnsLabelForm =
  "a DNS label (RFC 1123): 1 to 63 lower-case letters, digits and '-', beginning and ending with a letter or digit";

/** What a URL parser takes for an IPv4 address (WHATWG URL, "ends in a number"): such a service could never be called. */
const numberPattern = /^(?:[0-9]+|0x[0-9a-f]*)$/;

/** Why a DNS label cannot be a service's name in `http://<name>:<port>`; undefined when it can. */
export function serviceNameProblem(name: string): string | undefined {
  if (numberPattern.test(name)) return 'a URL would read it as an IP address';
  if (name === 'localhost') return 'it always means the caller itself';
  return undefined;
}

/** The nearest DNS label to any text; undefined when nothing of it is usable. */
export function toDnsLabel(text: string): string | undefined {
  const label = text
    .slice(0, 1024)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 64)
    .replace(/^-+/, '')
    .slice(0, 63)
    .replace(/-+$/, '');
  return label === '' ? undefined : label;
}

/** Segments of letters, digits and `._@+-`, joined by '/': the same file name on every file system and in every URL. */
const pathSegmentPattern = /^[A-Za-z0-9._@+-]+$/;
export const configPathForm =
  "a relative path such as 'sensor.js' or 'rooms/north.csv' (letters, digits, '.', '_', '-', '@', '+'; no part begins with '..')";

export function isConfigPath(path: string): boolean {
  // What begins with '..' beside them is how all files of a Config are switched at once (node-runtime/file-mounts.ts).
  return path
    .split('/')
    .every((segment) => pathSegmentPattern.test(segment) && segment !== '.' && !segment.startsWith('..'));
}

export const secretKeyForm =
  "a name such as 'password' or 'tls.key' (letters, digits, '.', '_', '-', '@', '+'; not beginning with '.')";

/** The name of a file, and never of a hidden one. */
export function isSecretKey(key: string): boolean {
  return key.length <= secretKeyCharactersMax && pathSegmentPattern.test(key) && !key.startsWith('.');
}

const labelKeyPattern = /^(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?\/)?[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/;
const labelValuePattern = /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)?$/;
export const labelKeyForm =
  "letters, digits, '.', '_', '-', with an optional prefix before '/', at most 253 characters";
export const labelValueForm = "letters, digits, '.', '_', '-', at most 63 characters, or empty";

export function isLabelKey(key: string): boolean {
  return key.length <= labelKeyCharactersMax && labelKeyPattern.test(key);
}

export function isLabelValue(value: string): boolean {
  return value.length <= labelValueCharactersMax && labelValuePattern.test(value);
}

/** Labels that Selvedge sets itself begin with this; nobody else may set them. */
export const reservedLabelPrefix = 'selvedge/';

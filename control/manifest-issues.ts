// What was wrong with input, as the operator reads it: the field, the reason, the accepted form, and a guess at what was meant.
// Turns zod's issues into that; called by manifest.ts and the API. It must never decide whether input is accepted.

import { z } from 'zod';
import { toDnsLabel } from './names.ts';
import { didYouMean } from './suggestion.ts';

export interface ManifestIssue {
  /** Index of the document in the request, from 0. */
  document: number;
  /** Where the document came from (file name), when the caller said so. */
  source?: string;
  /** e.g. `spec.microservices[0].ports[1].port`; empty for the document itself. */
  path: string;
  reason: string;
  /** The accepted form; empty when the reason says it all. */
  accepted: string;
  didYouMean?: string;
}

export type FieldPath = readonly (string | number)[];
export type FieldIssue = Omit<ManifestIssue, 'document' | 'source' | 'path'> & { path: FieldPath };

/** `['spec', 'files', 'a.js', 0]` → `spec.files["a.js"][0]`. */
export function pathText(path: FieldPath): string {
  return path
    .map((part, index) => {
      if (typeof part === 'number') return `[${part}]`;
      if (!/^[A-Za-z_$][\w$-]*$/.test(part)) return `[${JSON.stringify(part.slice(0, 80))}]`;
      return index === 0 ? part : `.${part}`;
    })
    .join('');
}

/** One line for a screen. */
export function issueText(issue: ManifestIssue): string {
  const place = [issue.source ?? `document ${issue.document + 1}`, issue.path].filter((part) => part !== '').join(': ');
  const accepted = issue.accepted === '' ? '' : `; accepted: ${issue.accepted}`;
  const meant = issue.didYouMean === undefined ? '' : ` (did you mean ${JSON.stringify(issue.didYouMean)}?)`;
  return `${place}: ${issue.reason}${meant}${accepted}`;
}

interface SchemaNode {
  description?: string;
  properties?: Record<string, SchemaNode>;
  additionalProperties?: SchemaNode | boolean;
  propertyNames?: SchemaNode;
  items?: SchemaNode;
  /** Of a field that takes several forms. */
  anyOf?: SchemaNode[];
}

const propertiesOf = ({ properties, anyOf = [] }: SchemaNode = {}): Record<string, SchemaNode> =>
  Object.assign({}, ...anyOf.map((form) => form.properties), properties);

function schemaAt(root: SchemaNode, path: FieldPath): SchemaNode | undefined {
  let node: SchemaNode | undefined = root;
  for (const part of path) {
    const extra: SchemaNode | boolean | undefined = node?.additionalProperties;
    const named: SchemaNode | undefined = typeof part === 'string' ? propertiesOf(node)[part] : node?.items;
    node = named ?? (typeof extra === 'object' ? extra : undefined);
  }
  return node;
}

function valueAt(root: unknown, path: FieldPath): unknown {
  let value = root;
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string | number, unknown>)[part];
  }
  return value;
}

function kindOf(value: unknown): string {
  if (value === null) return 'empty (null)';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'an object';
  if (typeof value === 'number') return Number.isInteger(value) ? 'a number' : 'a number that is not whole';
  return typeof value === 'boolean' ? 'true or false' : `a ${typeof value}`;
}

function quoted(value: unknown): string {
  return typeof value === 'string' && value.length <= 80 ? JSON.stringify(value) : kindOf(value);
}

const expectedNames: Record<string, string> = {
  string: 'a string',
  int: 'a whole number',
  number: 'a number',
  array: 'a list',
  object: 'an object',
  record: 'an object',
  boolean: 'true or false',
};

const unitNames: Record<string, string> = { string: ' characters', array: ' entries', number: '', int: '' };

function reasonFor(issue: z.core.$ZodIssue, value: unknown): string {
  switch (issue.code) {
    case 'invalid_type':
      if (value === undefined) return 'is missing';
      return `is ${kindOf(value)}, not ${expectedNames[issue.expected] ?? issue.expected}`;
    case 'too_big':
      return issue.origin === 'array' || issue.origin === 'string'
        ? `has more than ${issue.maximum}${unitNames[issue.origin] ?? ''}`
        : `is ${String(value)}, more than ${issue.maximum}`;
    case 'too_small':
      return issue.origin === 'array' || issue.origin === 'string'
        ? `has fewer than ${issue.minimum}${unitNames[issue.origin] ?? ''}`
        : `is ${String(value)}, less than ${issue.minimum}`;
    case 'invalid_value':
      return value === undefined ? 'is missing' : `is ${quoted(value)}, which is not known`;
    case 'custom':
      return issue.message === 'Invalid input' ? `is ${quoted(value)}, which is not accepted` : issue.message;
    default:
      return `is ${quoted(value)}, which is not accepted`;
  }
}

function guessFor(issue: z.core.$ZodIssue, value: unknown, accepted: string): string | undefined {
  if (typeof value !== 'string') return undefined;
  if (issue.code === 'invalid_value') return didYouMean(value, issue.values.map(String));
  return issue.code === 'invalid_format' && accepted.startsWith('a DNS label') ? toDnsLabel(value) : undefined;
}

const jsonSchemas = new WeakMap<z.ZodType, SchemaNode>();

function jsonSchemaOf(schema: z.ZodType): SchemaNode {
  let found = jsonSchemas.get(schema);
  if (found === undefined) {
    found = z.toJSONSchema(schema, { io: 'input' }) as SchemaNode;
    jsonSchemas.set(schema, found);
  }
  return found;
}

/** zod's issues about `input` in the operator's words, with accepted forms from the schema's descriptions. */
export function describeIssues(schema: z.ZodType, input: unknown, issues: readonly z.core.$ZodIssue[]): FieldIssue[] {
  const root = jsonSchemaOf(schema);
  return issues.flatMap((issue): FieldIssue[] => {
    const path = issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part));
    const node = schemaAt(root, path);
    if (issue.code === 'unrecognized_keys') {
      const known = Object.keys(propertiesOf(node));
      return issue.keys.map((key) => {
        const guess = didYouMean(key, known);
        const accepted = known.join(', ');
        return { path: [...path, key], reason: 'is not a known field', accepted, ...(guess && { didYouMean: guess }) };
      });
    }
    if (issue.code === 'invalid_key') {
      const accepted = schemaAt(root, path.slice(0, -1))?.propertyNames?.description ?? '';
      return [{ path, reason: 'this name is not accepted', accepted: accepted && `as name ${accepted}` }];
    }
    const value = valueAt(input, path);
    const accepted = node?.description ?? '';
    const guess = guessFor(issue, value, accepted);
    return [{ path, reason: reasonFor(issue, value), accepted, ...(guess && { didYouMean: guess }) }];
  });
}

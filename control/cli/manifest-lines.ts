// Where a field of a manifest stands in its file. Called by apply.ts for refusals, which name fields by their path. Pure.

import { type Document, isAlias, isMap, isPair, isScalar, isSeq, type LineCounter, type Node } from 'yaml';

/** `12:7`: line and column, from 1. */
export type LocateField = (path: string) => string | undefined;

type Part = string | number;

/** `spec.files["a.js"][0]` → `['spec', 'files', 'a.js', 0]`; undefined for what is no path. */
export function parseFieldPath(path: string): Part[] | undefined {
  const parts: Part[] = [];
  const pattern = /\.?([A-Za-z_$][\w$-]*)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]/y;
  while (pattern.lastIndex < path.length) {
    const match = pattern.exec(path);
    if (match === null) return undefined;
    if (match[1] !== undefined) parts.push(match[1]);
    else if (match[2] !== undefined) parts.push(Number(match[2]));
    else parts.push(JSON.parse(match[3] ?? '""') as string);
  }
  return parts;
}

/** The offset of the deepest part of the path that is in the document: a missing field's place is that of what should have it. */
function offsetOf(document: Document.Parsed, parts: readonly Part[]): number | undefined {
  let node: unknown = document.contents;
  let offset = document.contents?.range[0];
  for (const part of parts) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = node.items.find(
        (item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(part),
      );
      if (pair === undefined) return offset;
      offset = (pair.key as Node).range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(part)];
      if (node === undefined) return offset;
      offset = (node as Node).range?.[0] ?? offset;
    } else return offset;
  }
  return offset;
}

export function fieldLocator(document: Document.Parsed, lineCounter: LineCounter): LocateField {
  return (path) => {
    const parts = parseFieldPath(path);
    const offset = parts && offsetOf(document, parts);
    if (offset === undefined) return undefined;
    const { line, col } = lineCounter.linePos(offset);
    return `${line}:${col}`;
  };
}

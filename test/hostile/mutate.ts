// Makes hostile frames of valid ones: bytes that are flipped, cut, moved and made up; JSON of other types, with other keys, repeated
// and inherited ones, too deep, too many. Called by the kinds. Pure: all of it comes from the draw.

import type { Draw } from './draw.ts';

/** Elements that are repeated: most of the time a few; now and then as many as fit the largest frame. */
const manyMax = 200_000;
const frameBytesMax = 4_000_000;
const deepMax = 100_000;

const hostileTexts = [
  '',
  '\0',
  'a\0b',
  '\ud800',
  '\u202e',
  '\u0430dmin',
  '../../etc/passwd',
  '%00',
  '__proto__',
  'constructor',
  '\ufeff',
  "'",
  '\r\n',
  'É',
  '𐀀'.repeat(50),
  '-0',
  '1e999',
  ' ',
] as const;
const hostileNumbers = [
  '-1',
  '-0',
  '0',
  '1',
  '0.5',
  '1e308',
  '1e999',
  '9007199254740993',
  '4294967296',
  '65536',
  '2147483648',
];
const hostileKeys = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  'length',
  '',
  'then',
  'toJSON',
];

const repeated = (draw: Draw): number => (draw.oneIn(20) ? 1 + draw.below(manyMax) : 1 + draw.below(300));

/** The text of a JSON value that nobody expects. */
export function hostileJson(draw: Draw): string {
  const deep = (): number => (draw.oneIn(20) ? 1 + draw.below(deepMax) : 1 + draw.below(200));
  const inner = (): string =>
    draw.pick(['0', 'null', '{}', '[]', '""', '{"type":"node"}', '{"__proto__":{"x":1}}', '{"toJSON":1}']);
  const makers: (() => string)[] = [
    () => draw.pick(['null', 'true', 'false', '{}', '[]', '[[]]', '{"__proto__":null}', '{"then":1}']),
    () => draw.pick(hostileNumbers),
    () => JSON.stringify(draw.pick(hostileTexts)),
    () => JSON.stringify('x'.repeat(repeated(draw))),
    () => JSON.stringify(String.fromCharCode(...Array.from({ length: 1 + draw.below(40) }, () => draw.below(65_536)))),
    () => `[${Array(repeated(draw)).fill(inner()).join()}]`,
    () => {
      const value = inner();
      return `{${Array.from({ length: repeated(draw) }, (_, index) => `"k${index}":${value}`).join()}}`;
    },
    () => {
      const levels = deep();
      return `${'['.repeat(levels)}${']'.repeat(levels)}`;
    },
    () => {
      const levels = deep();
      return `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;
    },
  ];
  return draw.pick(makers)();
}

/** Of a JSON text every place where a value begins and ends, its own included. */
function valuesOf(text: string): { from: number; to: number }[] {
  const found: { from: number; to: number }[] = [];
  const open: number[] = [];
  for (let at = 0; at < text.length && found.length < 4_000; at++) {
    const character = text[at] ?? '';
    if (character === '{' || character === '[') open.push(at);
    else if (character === '}' || character === ']') found.push({ from: open.pop() ?? 0, to: at + 1 });
    else if (character === '"') {
      const from = at;
      for (at++; at < text.length && text[at] !== '"'; at++) if (text[at] === '\\') at++;
      if (text[at + 1] !== ':') found.push({ from, to: at + 1 });
    } else if (/[-0-9tfn]/.test(character)) {
      const [scalar = character] = /^[-+.0-9a-zA-Z]+/.exec(text.slice(at, at + 40)) ?? [];
      found.push({ from: at, to: at + scalar.length });
      at += scalar.length - 1;
    }
  }
  return found;
}

const keysOf = (text: string): { from: number; to: number }[] =>
  [...text.slice(0, 200_000).matchAll(/"(?:[^"\\]|\\.)*":/g)].map(({ index, 0: key }) => ({
    from: index,
    to: index + key.length - 1,
  }));

const replaced = (text: string, { from, to }: { from: number; to: number }, by: string): string =>
  text.slice(0, from) + by + text.slice(to);

/** A valid JSON text with something wrong in it; it may be no JSON any more. */
export function mutateJson(text: string, draw: Draw): string {
  const values = valuesOf(text);
  const keys = keysOf(text);
  const makers: (() => string)[] = [
    () => (values.length === 0 ? text : replaced(text, draw.pick(values), hostileJson(draw))),
    () => {
      if (values.length < 2) return text;
      const other = draw.pick(values);
      return replaced(text, draw.pick(values), text.slice(other.from, other.to));
    },
    () => (keys.length === 0 ? text : replaced(text, draw.pick(keys), JSON.stringify(draw.pick(hostileKeys)))),
    // A key twice: the second one counts in JSON.parse.
    () => {
      if (keys.length === 0) return text;
      const { from, to } = draw.pick(keys);
      return `${text.slice(0, from)}${text.slice(from, to)}:${hostileJson(draw)},${text.slice(from)}`;
    },
    () => {
      if (keys.length === 0) return text;
      const { from } = draw.pick(keys);
      return `${text.slice(0, from)}${JSON.stringify(draw.pick(hostileKeys))}:${hostileJson(draw)},${text.slice(from)}`;
    },
    () => {
      const { from, to } = values.length === 0 ? { from: 0, to: text.length } : draw.pick(values);
      const value = text.slice(from, to);
      const times = Math.min(repeated(draw), 1 + Math.floor(frameBytesMax / value.length));
      return replaced(text, { from, to }, `[${Array(times).fill(value).join()}]`);
    },
    () => hostileJson(draw),
    () => text + draw.pick(['x', '{}', '\0', ' ', ',']),
    () => draw.pick(['\ufeff', ' ', '\n'.repeat(1_000), '\0']) + text,
    () => text.slice(0, draw.below(text.length + 1)),
  ];
  const mutated = draw.pick(makers)();
  return mutated.length < 50_000 && draw.oneIn(4) ? mutateJson(mutated, draw) : mutated;
}

/** Bytes with something wrong in them, or none of the valid ones at all. */
export function mutateBytes(valid: Uint8Array, others: readonly Uint8Array[], draw: Draw): Uint8Array {
  const at = (): number => draw.below(valid.length + 1);
  const span = (): [number, number] => {
    const from = at();
    return [from, Math.min(valid.length, from + 1 + draw.below(32))];
  };
  const joined = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
  const makers: (() => Uint8Array)[] = [
    () => {
      const flipped = valid.slice();
      for (let left = 1 + draw.below(4); left > 0 && flipped.length > 0; left--) {
        const place = draw.below(flipped.length);
        flipped[place] = (flipped[place] ?? 0) ^ (1 << draw.below(8));
      }
      return flipped;
    },
    () => valid.subarray(0, at()),
    () => valid.subarray(at()),
    () => {
      const [from, to] = span();
      return joined(valid.subarray(0, from), valid.subarray(to));
    },
    () => {
      const [from, to] = span();
      return joined(valid.subarray(0, to), valid.subarray(from));
    },
    () => {
      const place = at();
      return joined(valid.subarray(0, place), draw.bytes(1 + draw.below(16)), valid.subarray(place));
    },
    // Where a length, a count or a number may be.
    () => {
      const changed = valid.slice();
      const width = draw.pick([1, 2, 4, 8]);
      const place = draw.below(Math.max(1, changed.length - width));
      changed.subarray(place, place + width).fill(draw.pick([0x00, 0x01, 0x7f, 0x80, 0xc0, 0xfe, 0xff]));
      return changed;
    },
    () => joined(valid.subarray(0, at()), draw.pick(others.length === 0 ? [valid] : others)),
    () => draw.bytes(draw.below(512)),
    () => joined(valid, Buffer.alloc(draw.below(2_000), draw.below(256))),
    () => Buffer.alloc(1 + draw.below(5_000), draw.below(256)),
  ];
  return draw.pick(makers)();
}

/** A JSON frame: mostly changed as JSON, otherwise as bytes. */
export function mutateJsonBytes(valid: Uint8Array, others: readonly Uint8Array[], draw: Draw): Uint8Array {
  if (draw.oneIn(5)) return mutateBytes(valid, others, draw);
  return new Uint8Array(Buffer.from(mutateJson(Buffer.from(valid).toString('utf8'), draw)));
}

// Modules that harm whoever compiles them, made byte by byte: no assembler writes them. For wasm-modules.test.ts and wasm-look.test.ts.

const head = Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
const [typeSection, importSection] = [1, 2];
const functionForm = 0x60;
const numberTypes = [0x7f, 0x7e, 0x7d, 0x7c] as const;

function leb(number: number): Buffer {
  const bytes: number[] = [];
  for (let left = number; bytes.length === 0 || left > 0; left = Math.floor(left / 128))
    bytes.push((left % 128) + (left >= 128 ? 128 : 0));
  return Buffer.from(bytes);
}

const section = (id: number, body: Buffer): Buffer => Buffer.concat([Buffer.from([id]), leb(body.length), body]);
const list = (items: Buffer[]): Buffer => Buffer.concat([leb(items.length), ...items]);
const text = (name: string): Buffer => Buffer.concat([leb(Buffer.byteLength(name)), Buffer.from(name)]);

/** So many types of functions, each another one: V8 ends the process when it has a million of all modules together. */
export function moduleOfTypes(count: number): Buffer {
  const parameters = 10;
  const types = Array.from({ length: count }, (_, number) => {
    const kinds = Array.from({ length: parameters }, (_, at) => numberTypes[(number >> (2 * at)) & 3] ?? 0);
    return Buffer.from([functionForm, parameters, ...kinds, 0]);
  });
  return Buffer.concat([head, section(typeSection, list(types))]);
}

/** One that imports a function of that name. */
export function moduleThatImports(name: string): Buffer {
  const type = list([Buffer.from([functionForm, 0, 0])]);
  const imported = list([Buffer.concat([text('env'), text(name), Buffer.from([0, 0])])]);
  return Buffer.concat([head, section(typeSection, type), section(importSection, imported)]);
}

// Whether bytes are a module that this engine runs. Called by the runner for wasm-look.ts, never by the daemon: hostile bytes
// can end the process that compiles them. It runs nothing of the module.

import { wasiModule } from './wasm/wasi-names.ts';

const magic = Buffer.from([0x00, 0x61, 0x73, 0x6d]);
const moduleVersion = Buffer.from([0x01, 0x00, 0x00, 0x00]);
const memorySection = 5;

/** Why not; undefined when it can be run. */
export async function moduleFault(bytes: Uint8Array): Promise<string | undefined> {
  if (!magic.equals(bytes.subarray(0, 4))) return 'it is no WebAssembly: it does not begin with \\0asm';
  if (!moduleVersion.equals(bytes.subarray(4, 8)))
    return 'it is a component, which WASI 0.2 and later have; build it as a module for WASI preview 1 (wasm32-wasip1)';
  let module: WebAssembly.Module;
  try {
    module = await WebAssembly.compile(bytes);
  } catch (error) {
    return (error as Error).message.slice(0, 200);
  }
  const foreign = WebAssembly.Module.imports(module).find(
    (imported) => imported.module !== wasiModule || imported.kind !== 'function',
  );
  if (foreign !== undefined)
    return `it imports the ${foreign.kind} ${foreign.module}.${foreign.name}, and gets nothing but functions of ${wasiModule}`;
  const exported = WebAssembly.Module.exports(module);
  const has = (name: string, kind: string) => exported.some((one) => one.name === name && one.kind === kind);
  if (!has('_start', 'function')) return 'it is no command: it exports no function _start';
  if (!has('memory', 'memory')) return 'it exports no memory';
  // The limit holds for each memory: with more than one it would be none.
  if (memoriesOf(bytes) > 1) return 'it has more than one memory';
  return undefined;
}

/** Of bytes that have been compiled: sections are an id, a length and as many bytes. */
export function memoriesOf(bytes: Uint8Array): number {
  let at = 8;
  /** LEB128, unsigned. */
  const number = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++] ?? 0;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.byteLength) {
    const section = bytes[at++];
    const length = number();
    if (section === memorySection) return number();
    at += length;
  }
  return 0;
}

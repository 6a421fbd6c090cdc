// The part of WebAssembly's JavaScript API that node-runtime/wasm*.ts calls: TypeScript has it only together with the whole DOM.

declare namespace WebAssembly {
  type Module = object;
  interface Memory {
    readonly buffer: ArrayBuffer;
  }
  interface Instance {
    readonly exports: Record<string, unknown>;
  }
  interface ImportedName {
    module: string;
    name: string;
    kind: string;
  }
  type ModuleImports = Record<string, unknown>;
  const Module: {
    imports(module: Module): ImportedName[];
    exports(module: Module): { name: string; kind: string }[];
  };
  const Instance: new (module: Module, imports: Record<string, ModuleImports>) => Instance;
  class CompileError extends Error {}
  class LinkError extends Error {}
  function compile(bytes: Uint8Array): Promise<Module>;
}

declare var gc: (() => void) | undefined;

// Names and numbers of WASI preview 1 that this folder and wasm-module.ts need: its module, and the errors that are answered here.

export const wasiModule = 'wasi_snapshot_preview1';

export const errno = {
  success: 0,
  acces: 2,
  badf: 8,
  fault: 21,
  inval: 28,
  nfile: 41,
  nosys: 52,
  notsup: 58,
  perm: 63,
  rofs: 69,
  spipe: 70,
  notcapable: 76,
} as const;

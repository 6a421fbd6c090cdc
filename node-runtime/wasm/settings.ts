// What a runner is told: the file `wasm.json` of its instance. Written by wasm-launch.ts, read by runner.ts; types and names only, also of what
// it answers to wasm-look.ts.

/** A folder that the module sees; nothing else of the box's files. */
export interface Preopen {
  /** Absolute, as the module calls it. */
  guest: string;
  /** Absolute, on the box. */
  host: string;
  readOnly: boolean;
}

/** What every run of the module is given. */
export interface GuestSettings {
  args: string[];
  /** All of its environment. */
  env: Record<string, string>;
  /** Names of variables of it that are secret: they come in the runner's own environment, behind `secretPrefix`, and stand in no file. */
  secretEnv?: string[];
  preopens: Preopen[];
}

export interface HttpSettings {
  host: string;
  port: number;
  /** Of one request in the module; as long again it may wait for its turn. */
  timeoutMs: number;
  /** Requests that are in the module at a time. */
  concurrency: number;
}

export interface RunnerSettings extends GuestSettings {
  /** Path of the module, and what it must be. */
  module: string;
  sha256: string;
  /** Without it the module is run once, for as long as it lives. */
  http?: HttpSettings;
}

/** What a variable is called for the module must mean nothing to Node.js. */
export const secretPrefix = 'SELVEDGE_SECRET_';

export const settingsFile = 'wasm.json';

/** In place of that file: the runner reads a module from its stdin, says what it thinks of it, and runs nothing. */
export const verdictFlag = '--verdict';

export interface ModuleVerdict {
  /** Why the module cannot be run. */
  fault?: string;
}

// What a manifest may say of a module, as zod schemas: their form is the same in a manifest and in a plan. Called by the schemas of
// manifests, documents and plans. What a node allows is the node's policy (node-runtime/policy.ts), not said here.

import { z } from 'zod';
import {
  configPathCharactersMax,
  moduleUrlCharactersMax,
  requestConcurrencyMax,
  requestTimeoutMsMax,
} from './limits.ts';
import { configPathForm, dnsLabelForm, dnsLabelPattern, isConfigPath } from './names.ts';
import type { WasmModule, WasmOptions } from './plan.ts';

export const moduleForm =
  '{url: https://…, sha256: …}, {hostPath: /srv/hello.wasm, sha256: …} or {config: hello, file: hello.wasm}';

const isModuleUrl = (text: string): boolean => {
  const url = URL.parse(text);
  return (url?.protocol === 'https:' || url?.protocol === 'http:') && url.username === '' && url.password === '';
};

/** One object, so that a refusal names the field; that its fields fit together is in `moduleProblem`. */
export const moduleField = z
  .strictObject({
    url: z
      .string()
      .max(moduleUrlCharactersMax)
      .refine(isModuleUrl)
      .describe('an http:// or https:// address without a user')
      .optional(),
    hostPath: z
      .string()
      .max(1024)
      .regex(/^(\/(?!\.{1,2}(\/|$))[^/\0*]+)+$/)
      .describe('an absolute path of the node, such as /srv/hello.wasm')
      .optional(),
    config: z.string().regex(dnsLabelPattern).describe(dnsLabelForm).optional(),
    file: z.string().max(configPathCharactersMax).refine(isConfigPath).describe(configPathForm).optional(),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .describe('64 hexadecimal digits: what `sha256sum` says of the module')
      .optional(),
  })
  .describe(moduleForm);

export const wasmFields = {
  trigger: z.literal('http').describe("'http'").optional(),
  requestTimeoutMs: z
    .int()
    .min(1)
    .max(requestTimeoutMsMax)
    .describe(`a whole number from 1 to ${requestTimeoutMsMax} (milliseconds)`)
    .optional(),
  concurrency: z
    .int()
    .min(1)
    .max(requestConcurrencyMax)
    .describe(`a whole number from 1 to ${requestConcurrencyMax}`)
    .optional(),
};

export const wasmFieldNames = Object.keys(wasmFields) as (keyof typeof wasmFields)[];

export type ParsedModule = z.infer<typeof moduleField>;

/** A module whose fields fit together, or which of them does not and why. */
export function readModule(parsed: ParsedModule): WasmModule | { field: string; reason: string } {
  const { url, hostPath, config, file, sha256 } = parsed;
  const sources = (['url', 'hostPath', 'config'] as const).filter((one) => parsed[one] !== undefined);
  if (sources.length !== 1)
    return { field: '', reason: sources.length === 0 ? 'says not where it is' : `says both ${sources.join(' and ')}` };
  if (config !== undefined) {
    if (file === undefined) return { field: 'file', reason: 'is missing' };
    // The plan says it of each file of a Config.
    if (sha256 !== undefined) return { field: 'sha256', reason: 'is for a url or a hostPath: a Config brings its own' };
    return { config, file };
  }
  if (file !== undefined) return { field: 'file', reason: 'is for a config' };
  if (sha256 === undefined) return { field: 'sha256', reason: 'is missing' };
  return url === undefined ? { hostPath: hostPath ?? '', sha256 } : { url, sha256 };
}

/** The same form in documents and plans, for which a module is whole. */
export const wholeModule = moduleField
  .loose()
  .refine((parsed) => !('reason' in readModule(parsed)), 'its fields do not fit together');

type Said = { [Name in keyof WasmOptions]?: unknown };

/** Those that are said: a specification's hash must not follow a version of the program that knows more. */
export function wasmOptionsOf(said: Said): WasmOptions {
  return Object.fromEntries(
    wasmFieldNames.filter((name) => said[name] !== undefined).map((name) => [name, said[name]]),
  ) as WasmOptions;
}

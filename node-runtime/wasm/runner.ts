// The process of one wasm instance: reads what it is told (settings.ts), compiles the module, and runs it once, or once for each request.
// Started by the process engine as any other workload (wasm-launch.ts). Its exit statuses are those of shells: 126, it cannot be run.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { createSystemClock } from '../system-clock.ts';
import { moduleFault } from '../wasm-module.ts';
import { createFunctions } from './functions.ts';
import { runGuest } from './guest.ts';
import { realPreopens } from './guest-paths.ts';
import { faultCharactersMax } from './limits.ts';
import { type HttpSettings, type ModuleVerdict, type RunnerSettings, secretPrefix, verdictFlag } from './settings.ts';
import { createThreads } from './threads.ts';

const cannotRun = 126;
/** What a program has that ends itself by SIGABRT, seen by a shell: other runtimes say it of a trap too. */
const trapped = 134;

const say = (text: string): void => void process.stderr.write(`selvedge: ${text}\n`);

/** Taken out of the runner's own environment, where every thread would have them. */
function takeSecrets(names: readonly string[] = []): Record<string, string> {
  return Object.fromEntries(
    names.map((name) => {
      const value = process.env[secretPrefix + name] ?? '';
      delete process.env[secretPrefix + name];
      return [name, value];
    }),
  );
}

function readModule({ module, sha256 }: RunnerSettings): Promise<WebAssembly.Module> {
  const bytes = readFileSync(module);
  const found = createHash('sha256').update(bytes).digest('hex');
  if (found !== sha256) throw new Error(`its SHA-256 is ${found}, not ${sha256}`);
  return WebAssembly.compile(bytes);
}

/** The worker's code: in the bundle it is read now, since an upgrade takes the file away while this process lives. */
function workerScript(): URL {
  const source = new URL('./worker.ts', import.meta.url);
  if (import.meta.url.endsWith('.ts')) return source;
  const code = readFileSync(new URL('./worker.js', import.meta.url));
  return new URL(`data:text/javascript;base64,${code.toString('base64')}`);
}

async function serve(module: WebAssembly.Module, settings: RunnerSettings, http: HttpSettings): Promise<void> {
  const threads = createThreads({
    clock: createSystemClock(),
    script: workerScript(),
    module,
    guest: settings,
    bounds: http,
    onStuck() {
      say('a thread of the module could not be ended: the instance starts anew');
      process.exit(trapped);
    },
  });
  const functions = createFunctions({ threads, http, onFailure: say });
  process.once('SIGTERM', () => void functions.close().then(() => process.exit(0)));
  await functions.listen();
}

export async function main(file: string): Promise<void> {
  try {
    const read = JSON.parse(readFileSync(file, 'utf8')) as RunnerSettings;
    const env = { ...read.env, ...takeSecrets(read.secretEnv) };
    const settings = { ...read, env, preopens: realPreopens(read.preopens) };
    const module = await readModule(settings);
    if (settings.http !== undefined) return await serve(module, settings, settings.http);
    process.exit(runOnce(module, settings));
  } catch (error) {
    say(`the module cannot be run: ${(error as Error).message}`);
    process.exit(cannotRun);
  }
}

function runOnce(module: WebAssembly.Module, settings: RunnerSettings): number {
  try {
    return runGuest(module, settings).status;
  } catch (error) {
    say(`the module failed: ${(error as Error).message}`);
    return error instanceof WebAssembly.LinkError ? cannotRun : trapped;
  }
}

/** Of a module from stdin. */
async function sayVerdict(): Promise<void> {
  const fault = await moduleFault(readFileSync(0));
  const verdict: ModuleVerdict = fault === undefined ? {} : { fault: fault.slice(0, faultCharactersMax) };
  process.stdout.write(JSON.stringify(verdict));
}

const [, script, file] = process.argv;
if (file !== undefined && script !== undefined && import.meta.url === pathToFileURL(script).href)
  await (file === verdictFlag ? sayVerdict() : main(file));

// The wasm engine against the conformance body, as far as a module can do what a program can: real runners in real time.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { Engine } from '../../node-runtime/engine.ts';
import { ExecFailedError } from '../../node-runtime/errors.ts';
import { testEngine } from '../conformance/engine.ts';
import { skip } from '../skip.ts';
import { gone } from './process-world.ts';
import { behaveModule, createWasmWorld, INSTANCE, wasmMissing } from './wasm-world.ts';

const missing = await wasmMissing();

/** What a module cannot do: send itself a signal or be deaf to one, be a program that is not there, or have one beside it. */
const notOfModules = [/by a signal/, /does not listen/, /status 127/, /command/, /what does not run/, /not acceptable/];
const applies = (title: string): boolean => !notOfModules.some((pattern) => pattern.test(title));

if (missing !== undefined) test('the wasm engine', (t) => skip(t, missing));
else {
  const module = await behaveModule();
  testEngine(
    (title, body) => (applies(title) ? test(title, body) : undefined),
    'wasm engine',
    async () => {
      const world = await createWasmWorld(module);
      /** The conformance body launches processes: the same words as a module's arguments. */
      const asModules = (engine: Engine): Engine => ({
        ...engine,
        async launch({ spec, ...launch }) {
          const volumes = [{ name: 'data', path: '/data' }];
          const wanted = world.specOf({ args: spec.command ?? [], env: spec.env, volumes });
          const launched = await engine.launch({ ...launch, spec: wanted });
          return withoutVolumes(launched);
        },
        list: async () => (await engine.list()).map(withoutVolumes),
      });
      await world.engine.stage(world.specOf({}), () => undefined, new AbortController().signal);
      return {
        engine: asModules(world.engine),
        adopt: async () => asModules(await world.open()),
        command: (...behaviour) => behaviour,
        run: (promise) => promise,
        untilGone: (pid) => gone(pid as number),
        file: (instance, path) =>
          readFile(join(world.folder, 'wasm', 'instances', instance, path), 'utf8').catch(() => undefined),
        now: () => world.clock.now(),
        close: world.close,
      };
    },
  );

  test('nothing can be run beside a module', async (t) => {
    const world = await createWasmWorld(module);
    t.teardown(world.close);
    await world.launch({ args: ['run'] });
    const attempt = world.engine.exec(INSTANCE, ['id'], { signal: new AbortController().signal, outputBytesMax: 100 });
    await t.throwsAsync(attempt, { instanceOf: ExecFailedError, message: /a module has no commands/ });
  });
}

const withoutVolumes = <T extends { env: Record<string, string> }>(found: T): T => {
  const { VOLUME_DATA: _, ...env } = found.env;
  return { ...found, env };
};

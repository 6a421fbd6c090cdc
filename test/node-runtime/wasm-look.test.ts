// Modules that harm whoever compiles them: the daemon asks another process, and lives.

import test from 'ava';
import { ModuleLookError, ModuleRefusedError } from '../../node-runtime/errors.ts';
import { lookIntoModule } from '../../node-runtime/wasm-look.ts';
import { moduleOfTypes, moduleThatImports } from './wasm-bombs.ts';
import { createWasmWorld } from './wasm-world.ts';

const never = new AbortController().signal;

test('attack: a module whose compiling ends V8 is refused, and nobody else ends', async (t) => {
  // Were it compiled here, this process would be gone.
  const world = await createWasmWorld(moduleOfTypes(1_000_000));
  t.teardown(world.close);
  const refused = await t.throwsAsync(world.launch({}), { instanceOf: ModuleRefusedError });
  t.regex(refused?.message ?? '', /V8 ended over it/);
  t.true(refused?.needsChange);
});

test('attack: a module with endless names has a short reason', async (t) => {
  const reason = await lookIntoModule(moduleThatImports('x'.repeat(50_000)), never);
  t.regex(reason ?? '', /^it imports the function env\.x+$/);
  t.true((reason?.length ?? 0) <= 300);
});

test('a look that is broken off says so, and a module can be looked into again', async (t) => {
  const stopping = new AbortController();
  const look = lookIntoModule(moduleOfTypes(300_000), stopping.signal);
  stopping.abort(new Error('the engine stops'));
  await t.throwsAsync(look, { message: 'the engine stops' });
  await t.throwsAsync(lookIntoModule(Buffer.alloc(0), stopping.signal), { message: 'the engine stops' });
  t.regex((await lookIntoModule(Buffer.from('<html>'), never)) ?? '', /no WebAssembly/);
  t.true(new ModuleLookError('SIGKILL').retryable);
});

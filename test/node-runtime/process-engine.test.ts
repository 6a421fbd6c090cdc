// The process engine against the conformance body: real processes in real time.

import test from 'ava';
import { testEngine } from '../conformance/engine.ts';
import { createProcessWorld, gone } from './process-world.ts';

testEngine(test, 'process engine', async () => {
  const world = await createProcessWorld();
  return {
    engine: world.engine,
    adopt: () => world.open(),
    command: world.command,
    run: (promise) => promise,
    untilGone: (pid) => gone(pid as number),
    file: world.file,
    now: () => world.clock.now(),
    close: world.close,
  };
});

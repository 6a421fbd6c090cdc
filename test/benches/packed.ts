// The program as it is published: bundled by scripts/build.ts and copied to a folder of its own, beside nothing but the
// dependencies. Called by main.ts when no --program is given. A checkout differs from it in what it must do itself: strip types
// from each file, and load what bundling leaves out.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { cp, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BenchRun } from './run.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const builder = join(root, 'scripts', 'build.ts');
export const checkout = join(root, 'bin', 'selvedge.js');

/** Script of the packed program; of the checkout where there is nothing to pack it with. */
export async function packedProgram(run: Pick<BenchRun, 'say' | 'folder' | 'atEnd' | 'signal'>): Promise<string> {
  if (!existsSync(builder)) {
    run.say('there is no scripts/build.ts: measuring the checkout, which strips types as it starts');
    return checkout;
  }
  run.say('bundling the program as it is published');
  const child = spawn(process.execPath, [builder], { stdio: ['ignore', 'ignore', 'inherit'], cwd: root });
  run.atEnd(() => void child.kill('SIGKILL'));
  const [status] = (await once(child, 'exit')) as [number | null];
  run.signal.throwIfAborted();
  if (status !== 0) throw new Error(`the program cannot be bundled: scripts/build.ts ended with ${status}`);
  const folder = await run.folder();
  for (const name of ['bin', 'dist', 'package.json'])
    await cp(join(root, name), join(folder, name), { recursive: true });
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  return join(folder, 'bin', 'selvedge.js');
}

// A process engine in a folder of its own, for one test. Ends whatever it launched when it is closed.

import { access, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createProcessEngine,
  type ProcessEngine,
  type ProcessEngineDependencies,
} from '../../node-runtime/process-engine.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { eventually } from '../eventually.ts';

const WORKLOAD = join(import.meta.dirname, 'workload.sh');
const clock = createSystemClock();

export type ProcessWorld = Awaited<ReturnType<typeof createProcessWorld>>;

export async function createProcessWorld(options: Partial<ProcessEngineDependencies> = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-engine-'));
  const engines: ProcessEngine[] = [];

  async function open(changes: Partial<ProcessEngineDependencies> = {}): Promise<ProcessEngine> {
    const engine = createProcessEngine({ folder, clock, ...options, ...changes });
    engines.push(engine);
    await engine.start();
    return engine;
  }

  return {
    folder,
    clock,
    engine: await open(),
    /** Another engine object over the same folder, as the next daemon has. */
    open,
    path: (...parts: string[]) => join(folder, ...parts),
    command: (...behaviour: string[]) => ['/bin/sh', WORKLOAD, ...behaviour],
    /** The text of a file, once it is there. */
    text: (...parts: string[]) => eventually(() => readFile(join(folder, ...parts), 'utf8'), { what: parts.join('/') }),
    async file(instance: string, path: string): Promise<string | undefined> {
      return readFile(join(folder, instance, path), 'utf8').catch(() => undefined);
    },
    async close(): Promise<void> {
      const last = createProcessEngine({ folder: options.folder ?? folder, clock });
      await last.start();
      for (const { instance } of await last.list()) {
        await last.terminate(instance, 0);
        // Its control groups are outside of the folder.
        await last.remove(instance);
      }
      for (const engine of [...engines, last]) await engine.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** True while a process is there and no zombie. */
export async function lives(pid: number): Promise<boolean> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1');
    return !/\) [ZX] /.test(stat);
  } catch {
    return false;
  }
}

export async function gone(pid: number): Promise<void> {
  await eventually(async () => !(await lives(pid)), { what: `the end of process ${pid}` });
}

/** Pids whose command line holds the text. */
export async function pidsWith(text: string): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    const line = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
    if (line.includes(text)) found.push(Number(name));
  }
  return found;
}

export async function isInstalled(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

// Founds a fabric before the unit is there: one run of `up --found` that ends as soon as it answers. Called by install.ts. The unit
// itself never founds: a box that lost its data would silently become a fabric of its own.

import { spawn } from 'node:child_process';
import type { Context } from './context.ts';
import { InstallError } from './errors.ts';
import type { Account } from './install-user.ts';
import { foundingOutputBytesMax, installStartMs, waitEveryMs } from './limits.ts';
import { daemonNodeOptions, scriptPath } from './up-detach.ts';

/** Does nothing to a data folder that has a fabric already. Rejects with InstallError and what the daemon said. */
export async function foundOnce({ host, client }: Context, arguments_: string[], account: Account): Promise<void> {
  const child = spawn(process.execPath, [...daemonNodeOptions, scriptPath, ...arguments_], {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: '/',
    env: host.env,
    ...(account.uid !== host.userId && { uid: account.uid, gid: account.gid }),
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString('utf8')).slice(-foundingOutputBytesMax);
    });
  }
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  let over = false;
  const end = (): void => {
    over = true;
    resolve();
  };
  child.on('error', (error) => {
    said += error.message;
    end();
  });
  child.on('close', end);

  const deadline = host.clock.now() + installStartMs;
  while (!over && host.clock.now() < deadline) {
    const founded = await client.ping().then(
      () => true,
      () => false,
    );
    if (founded) {
      child.kill('SIGTERM');
      return await ended;
    }
    await host.clock.sleep(waitEveryMs);
  }
  child.kill('SIGKILL');
  await ended;
  throw new InstallError(`no fabric could be founded; the daemon said:\n${said.trim()}`, {
    action: 'Mend what it says, and install again.',
  });
}

// Several commands of ip(8) by one start of it. Called by process-networks.ts and network-part.ts.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { ProcessNetworkError } from './errors.ts';
import { NETWORK_COMMAND_MS } from './limits.ts';

/** All of them, or those before the first that fails (ProcessNetworkError); with `force` what fails is passed over. */
export type IpBatch = (lines: readonly string[], options?: { force: boolean }) => Promise<void>;

export function createIpBatch(path: string): IpBatch {
  return async (lines, { force } = { force: false }) => {
    const words = [...(force ? ['-force'] : []), '-batch', '-'];
    const running = promisify(execFile)(path, words, { timeout: NETWORK_COMMAND_MS });
    running.child.stdin?.on('error', () => undefined);
    running.child.stdin?.end(`${lines.join('\n')}\n`);
    await running.catch((error: Error & { stderr?: string }) => {
      const [reason = ''] = (error.stderr || error.message).trim().split('\n');
      if (!force) throw new ProcessNetworkError(reason, { cause: error });
    });
  };
}

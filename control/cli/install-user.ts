// Whom the daemon of a unit runs as. Called by install.ts and install-founding.ts.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { UsageError } from './errors.ts';

export interface Account {
  name: string;
  uid: number;
  gid: number;
}

/** Asks `id`, which knows accounts of directories too. Throws UsageError when there is no such user. */
export async function accountOf(name: string): Promise<Account> {
  try {
    if (!/^[\w.-]+$/.test(name) || name.startsWith('-')) throw new Error('that is no name of a user');
    const [uid, gid] = await Promise.all(['-u', '-g'].map(async (what) => Number(await idOf(what, name))));
    if (uid === undefined || gid === undefined) throw new Error('id said nothing');
    return { name, uid, gid };
  } catch (error) {
    throw new UsageError(`there is no user ${JSON.stringify(name)}`, {
      action: `Make it first: useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin selvedge`,
      cause: error,
    });
  }
}

async function idOf(what: string, name: string): Promise<string> {
  return (await promisify(execFile)('id', [what, name], { encoding: 'utf8' })).stdout;
}

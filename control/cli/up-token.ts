// Finds the token that `up` joins with: --token, --token-file or SELVEDGE_TOKEN. It must never print one.

import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { UsageError } from './errors.ts';
import { plainReason } from './file-reasons.ts';
import type { Host } from './host.ts';
import { tokenBytesMax } from './limits.ts';

/** Undefined when there is none. Throws UsageError when the file cannot be read or holds none. */
export async function readToken(
  { token, tokenFile, found }: { token?: string; tokenFile?: string; found?: boolean },
  host: Host,
): Promise<string | undefined> {
  if (token !== undefined) {
    host.error(
      'Other users of this box can see --token in its process list; SELVEDGE_TOKEN and --token-file are not shown there.',
    );
    return token.trim();
  }
  if (tokenFile !== undefined) return await fromFile(resolve(host.workingFolder, tokenFile), tokenFile);
  const fromEnvironment = host.env['SELVEDGE_TOKEN']?.trim();
  return found === true || fromEnvironment === '' ? undefined : fromEnvironment;
}

async function fromFile(path: string, shown: string): Promise<string> {
  let text: string;
  try {
    text = (await readFile(path, 'utf8')).trim();
  } catch (error) {
    throw new UsageError(`--token-file ${shown}: ${plainReason(error)}`, {
      action: 'Name a file that holds a token.',
      cause: error,
    });
  }
  if (text === '' || text.length > tokenBytesMax) {
    throw new UsageError(`--token-file ${shown} does not hold a token`, {
      action: 'Make one with `selvedge token create`.',
    });
  }
  return text;
}

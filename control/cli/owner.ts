// Whose a path is, for the error that says why it may not be opened. Called by client.ts.

import { readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** The user that owns the path, or the nearest folder above it that can be seen: a name, or `user 1000`. */
export function ownerOf(path: string): string {
  for (let tried = path; ; tried = dirname(tried)) {
    try {
      return userName(statSync(tried).uid);
    } catch {
      if (tried === dirname(tried)) return 'another user';
    }
  }
}

function userName(userId: number): string {
  try {
    const fields = readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .map((line) => line.split(':'));
    return fields.find((field) => field[2] === String(userId))?.[0] ?? `user ${userId}`;
  } catch {
    return `user ${userId}`;
  }
}

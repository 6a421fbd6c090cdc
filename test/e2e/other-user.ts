// Runs a program as another, unprivileged user of this box, which only root can: tests that need it say when they are skipped.

import { execFile } from 'node:child_process';

/** nobody, on most systems; any user that owns nothing here will do. */
export const otherUserId = 65_534;

export interface Ran {
  status: number | string;
  stdout: string;
  stderr: string;
}

/** Why it cannot be done here; undefined when it can. */
export async function whyNoOtherUser(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'only root can become another user';
  const { status, stderr } = await asOtherUser([process.execPath, '--version']);
  return status === 0 ? undefined : `another user cannot run Node.js here: ${stderr}`;
}

/** util-linux's setpriv in front of a command. */
export const otherUserCommand = (command: readonly string[]): [string, ...string[]] => [
  'setpriv',
  ...[`--reuid=${otherUserId}`, `--regid=${otherUserId}`, '--clear-groups', '--', ...command],
];

export function asOtherUser(command: readonly string[]): Promise<Ran> {
  const [file, ...rest] = otherUserCommand(command);
  return new Promise((resolve) => {
    execFile(file, rest, { cwd: '/' }, (error, stdout, stderr) => {
      const status = error === null ? 0 : (error.code ?? error.message);
      resolve({ status, stdout, stderr: stderr === '' && error !== null ? error.message : stderr });
    });
  });
}

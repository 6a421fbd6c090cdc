// Runs the program as another, unprivileged user of this box, which only root can: tests that need it say why they are skipped.
// A checkout that this user may not read is shown to it at another path, in a mount namespace of the command's own.

import { execFile } from 'node:child_process';
import { dirname } from 'node:path';
import { program } from './daemon.ts';

/** nobody, on most systems; any user that owns nothing here will do. */
export const otherUserId = 65_534;
const checkout = dirname(dirname(program));
/** A folder that every Linux system has, and nobody needs while a test runs. */
const shownAt = '/mnt';

export interface Ran {
  status: number | string;
  stdout: string;
  stderr: string;
}

export interface OtherUser {
  /** The command line that runs a command as this user; of what it names in the checkout it finds the same. */
  command(words: readonly string[]): [string, ...string[]];
  run(words: readonly string[]): Promise<Ran>;
}

type CommandLine = OtherUser['command'];

const asUser: CommandLine = (words) => [
  'setpriv',
  ...[`--reuid=${otherUserId}`, `--regid=${otherUserId}`, '--clear-groups', '--', ...words],
];

/** What is in the checkout, one by one: the folder itself may be its owner's alone. */
const show = `
mount -t tmpfs -o mode=755 tmpfs "$2"
for entry in "$1"/*; do
  place="$2/\${entry##*/}"
  if [ -d "$entry" ]; then mkdir "$place"; else : > "$place"; fi
  mount --bind "$entry" "$place"
done
cd /
shift 2
exec "$@"
`;

const asUserElsewhere: CommandLine = (words) => {
  const moved = words.map((word) => (word.startsWith(`${checkout}/`) ? shownAt + word.slice(checkout.length) : word));
  return ['unshare', '--mount', 'sh', '-ec', show, 'sh', checkout, shownAt, ...asUser(moved)];
};

function run([file, ...rest]: [string, ...string[]]): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(file, rest, { cwd: '/' }, (error, stdout, stderr) => {
      const status = error === null ? 0 : (error.code ?? error.message);
      resolve({ status, stdout, stderr: stderr === '' && error !== null ? error.message : stderr });
    });
  });
}

/** The user, or why there is none here. */
export async function findOtherUser(): Promise<OtherUser | string> {
  if (process.getuid?.() !== 0) return 'only root can become another user';
  let why = '';
  for (const command of [asUser, asUserElsewhere]) {
    const { status, stderr } = await run(command([process.execPath, program, '--version']));
    if (status === 0) return { command, run: (words) => run(command(words)) };
    why = stderr.trim();
  }
  return `another user cannot run the program here: ${why}`;
}

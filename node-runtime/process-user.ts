// Who a program runs as, when that is not who the daemon runs as: found on the box, and the command line that becomes it. Called by the
// process engine's parts. Only root can do it; it never widens what a program may, and changes no user of the box.

import { execFile } from 'node:child_process';
import { mkdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ProcessUserError } from './errors.ts';
import { DETECTION_MS } from './limits.ts';
import type { ShimTools } from './process-shim.ts';
import type { findCommand } from './process-tools.ts';

/**
 * Arguments: the working directory, then the command. Run as the program's user: where that one may not go, by whatever link, it does not
 * begin.
 */
const ENTER = `
cd "$1" 2> /dev/null || {
  printf 'selvedge: workingDirectory: its user may not enter %s; a folder that this user may enter is accepted\\n' "$1" >&2
  exit 125
}
shift
exec "$@"
`;

/** By numbers: what the box calls them may change while it runs. */
export interface RunAs {
  user: number;
  group: number;
  /** Its other groups. */
  groups: number[];
  home: string;
  /** What of the hidden folder it sees: its own folder and its volumes. */
  folders: string[];
  /** Where its secrets are when that is not in the hidden folder: of what is around it, it sees nothing either. */
  secrets?: string;
}

export interface ProcessUsers {
  /**
   * Who a launch runs as; undefined when that is who the daemon runs as. Rejects with ProcessUserError. `named` is `user` or
   * `user:group`, by name or number; without one it is the node's default.
   */
  find(instance: string, named: string | undefined, folders: string[]): Promise<RunAs | undefined>;
  /** Whether `find` would answer anybody but the daemon's user. */
  hasOwn(named: string | undefined): boolean;
  /** Of what is in it, a launch sees its `folders` alone; absolute. */
  readonly hidden: string;
  /** Becomes the user in a mount namespace of its own; the pid stays the same through the chain. */
  wrap(runAs: RunAs, workingDirectory: string, processesMax: number | undefined, command: string[]): string[];
}

export interface ProcessUsersDependencies {
  tools: ShimTools;
  find: typeof findCommand;
  /** The engine's folder, absolute. */
  folder: string;
  /** Absolute; nothing of it is seen but `folders`. */
  hidden: string;
  /** For launches that name nobody. */
  standard: string | undefined;
  /** Who the daemon is. */
  self: { user: number; group: number };
}

interface Account {
  user: number;
  group: number;
  home: string;
  name: string;
}

/** The last one is -1 for the kernel: "nobody in particular". */
const numberOf = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,10}$/.test(text) && Number(text) < 2 ** 32 - 1 ? Number(text) : undefined;

export async function createProcessUsers(dependencies: ProcessUsersDependencies): Promise<ProcessUsers> {
  const { tools, find, folder, hidden, standard, self } = dependencies;
  const names = ['getent', 'id', 'setpriv', 'prlimit', 'unshare', 'mount', 'mkdir'] as const;
  const paths = new Map(await Promise.all(names.map(async (name) => [name, await find(name)] as const)));
  const path = (name: (typeof names)[number]): string => paths.get(name) ?? name;
  const room = join(folder, '.room');
  await mkdir(room, { recursive: true, mode: 0o700 });
  const isRoot = self.user === 0;

  const say = async (file: string, words: string[]): Promise<string> =>
    (await promisify(execFile)(file, words, { timeout: DETECTION_MS, encoding: 'utf8' })).stdout.trim();

  /** Undefined when the box has none of this name or number. */
  async function entry(database: 'passwd' | 'group', name: string): Promise<string[] | undefined> {
    try {
      const line = await say(path('getent'), [database, name]);
      return line === '' ? undefined : line.split('\n')[0]?.split(':');
    } catch (error) {
      // getent(1): 2 is "not found".
      if ((error as { code?: unknown }).code === 2) return undefined;
      throw error;
    }
  }

  async function accountOf(name: string): Promise<Account | undefined> {
    const [found = '', , user, group, , home = ''] = (await entry('passwd', name)) ?? [];
    const numbers = { user: numberOf(user), group: numberOf(group) };
    if (numbers.user === undefined || numbers.group === undefined) return undefined;
    return { user: numbers.user, group: numbers.group, home: home || '/', name: found };
  }

  async function lookUp(named: string, refuse: (reason: string) => never): Promise<Omit<RunAs, 'folders'>> {
    const [userName = '', groupName] = named.split(':');
    const account = await accountOf(userName);
    const user = account?.user ?? numberOf(userName) ?? refuse(`there is no user ${userName} on this box`);
    const home = account?.home ?? '/';
    if (groupName !== undefined) {
      const [, , found] = (await entry('group', groupName)) ?? [];
      const group = numberOf(found) ?? numberOf(groupName) ?? refuse(`there is no group ${groupName} on this box`);
      // As with containers: whoever names a group means this one alone.
      return { user, group, groups: [], home };
    }
    if (account === undefined) {
      return refuse(
        `no user of this box has the number ${userName}, so its group must be named: '${userName}:${userName}'`,
      );
    }
    const groups = (await say(path('id'), ['-G', account.name])).split(' ').flatMap((one) => numberOf(one) ?? []);
    return { user, group: account.group, groups: groups.filter((one) => one !== account.group), home };
  }

  /** A folder above the hidden one that the user may not enter. */
  async function closedAbove({ user, group, groups }: Omit<RunAs, 'folders'>): Promise<string | undefined> {
    for (let above = dirname(hidden); ; above = dirname(above)) {
      const { mode, uid, gid } = await stat(above);
      const bit = uid === user ? 0o100 : [group, ...groups].includes(gid) ? 0o010 : 0o001;
      if (user !== 0 && (mode & bit) === 0) return above;
      if (above === dirname(above)) return undefined;
    }
  }

  return {
    hidden,
    hasOwn: (named = standard) => isRoot && named !== undefined,

    async find(instance, named = standard, folders) {
      if (named === undefined) return undefined;
      const refuse = (reason: string, needsChange = false): never => {
        throw new ProcessUserError(instance, named, reason, needsChange);
      };
      const missing = names.filter((name) => paths.get(name) === undefined);
      if (missing.length > 0) refuse(`this box has no ${missing.join(', no ')}`);
      const found = await lookUp(named, refuse).catch((error: unknown) => {
        if (error instanceof ProcessUserError) throw error;
        return refuse(`the users of this box cannot be asked: ${(error as Error).message.split('\n')[0]}`);
      });
      if (found.user === self.user && found.group === self.group) return undefined;
      if (!isRoot)
        refuse(`selvedge runs as user ${self.user} on this node, and only root can start programs as another`, true);
      const closed = await closedAbove(found);
      if (closed !== undefined) refuse(`it may not enter ${closed}, which the data folder is in`);
      return { ...found, folders };
    },

    wrap({ user, group, groups, folders, secrets }, workingDirectory, processesMax, command) {
      const others = groups.length > 0 ? ['--groups', groups.join(',')] : ['--clear-groups'];
      const roomOf = (closed: string, ...shown: string[]): string[] => [
        ...[tools.shell, `${tools.scripts}/room.sh`, path('mount'), path('mkdir'), room, closed, ...shown, '--'],
      ];
      return [
        ...[path('unshare'), '--mount', '--propagation', 'slave', '--'],
        // The script is in the hidden folder, which is closed last.
        ...(secrets === undefined ? [] : roomOf(dirname(dirname(secrets)), secrets)),
        ...roomOf(hidden, ...folders),
        // Counted for all processes of the user, and for root not at all.
        ...(processesMax === undefined ? [] : [path('prlimit'), `--nproc=${processesMax}:${processesMax}`]),
        ...[path('setpriv'), '--reuid', `${user}`, '--regid', `${group}`, ...others, '--no-new-privs', '--'],
        ...[tools.shell, '-c', ENTER, 'selvedge', workingDirectory],
        ...command,
      ];
    },
  };
}

// systemd of this box, by its own commands. Called by install.ts and uninstall.ts; the only file that writes the unit and the
// token's file, and calls systemctl.

import { execFile } from 'node:child_process';
import { mkdir, open, readFile, rename, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { SystemdError } from './errors.ts';
import { journalLinesShown, systemctlMs } from './limits.ts';
import { tokenFile, unitName } from './systemd-unit.ts';

export interface Systemd {
  readonly unitPath: string;
  /** Whether systemd runs this box: sd_booted(3). */
  runsThisBox(): Promise<boolean>;
  readUnit(): Promise<string | undefined>;
  /** Renamed into place, then told to systemd. */
  writeUnit(text: string): Promise<void>;
  /** Removes the unit, its enablement and what systemd remembers of its failures. */
  removeUnit(): Promise<void>;
  /** Lays the token where the unit finds it, for root alone. */
  writeToken(token: string): Promise<void>;
  removeToken(): Promise<void>;
  /** Lets it start at each boot. */
  enable(): Promise<void>;
  start(): Promise<void>;
  /** Ends the daemon; workloads go on. */
  stop(): Promise<void>;
  /** systemd's word: `active`, `activating`, `inactive`, `failed`, … */
  state(): Promise<string>;
  /** How often it was started again by itself since it was started. */
  restarts(): Promise<number>;
  /** The end of what the daemon said since `since` (milliseconds since 1970). */
  journal(since: number): Promise<string>;
}

export function createSystemd({ root = '/', systemctl = 'systemctl', journalctl = 'journalctl' } = {}): Systemd {
  const unitPath = join(root, 'etc/systemd/system', unitName);
  const tokenPath = join(root, tokenFile);

  async function run(...args: string[]): Promise<string> {
    try {
      const { stdout } = await promisify(execFile)(systemctl, args, { timeout: systemctlMs, encoding: 'utf8' });
      return stdout.trim();
    } catch (error) {
      const { stderr, message } = error as Error & { stderr?: string };
      const why = stderr?.trim() || message;
      throw new SystemdError(`systemctl ${args.join(' ')}: ${why}`, {
        action: `See \`systemctl status ${unitName}\` and \`journalctl -u ${unitName}\`.`,
        cause: error,
      });
    }
  }

  return {
    unitPath,
    runsThisBox: () =>
      stat(join(root, 'run/systemd/system')).then(
        (found) => found.isDirectory(),
        () => false,
      ),
    readUnit: () =>
      readFile(unitPath, 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return undefined;
        throw error;
      }),
    async writeUnit(text) {
      await replaceFile(unitPath, text, 0o644);
      await run('daemon-reload');
    },
    async writeToken(token) {
      await mkdir(dirname(tokenPath), { recursive: true, mode: 0o700 });
      // systemd.exec(5), EnvironmentFile: no character of a token has a meaning there.
      await replaceFile(tokenPath, `SELVEDGE_TOKEN=${token}\n`, 0o600);
    },
    async removeToken() {
      await rm(tokenPath, { force: true });
      // Somebody may keep other things there.
      await rmdir(dirname(tokenPath)).catch(() => undefined);
    },
    async removeUnit() {
      await run('disable', unitName);
      await rm(unitPath, { force: true });
      await run('daemon-reload');
      // Nothing to forget is no failure.
      await run('reset-failed', unitName).catch(() => undefined);
    },
    enable: async () => void (await run('enable', unitName)),
    start: async () => void (await run('start', unitName)),
    stop: async () => void (await run('stop', unitName)),
    state: () => run('show', '--property=ActiveState', '--value', unitName),
    restarts: async () => Number(await run('show', '--property=NRestarts', '--value', unitName)),
    async journal(since) {
      const args = ['--unit', unitName, '--output', 'cat', '--lines', String(journalLinesShown), '--no-pager'];
      return await promisify(execFile)(journalctl, [...args, '--since', `@${Math.floor(since / 1_000)}`], {
        timeout: systemctlMs,
        encoding: 'utf8',
      }).then(
        ({ stdout }) => stdout.trim(),
        () => '',
      );
    },
  };
}

/** Renamed into place, so that a reader never sees half of it; it is on disk when this resolves. */
async function replaceFile(file: string, text: string, mode: number): Promise<void> {
  const temporary = `${file}.new`;
  await rm(temporary, { force: true });
  const handle = await open(temporary, 'wx', mode);
  try {
    // The mode given to open is cut by the umask.
    await handle.chmod(mode);
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
}

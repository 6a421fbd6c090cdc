// Whether a program may start in the folder that its manifest names. Called by process-launch.ts before anything is made for the launch. What is
// refused here in words the kernel refuses as well: the folder is entered as the program's user (process-user.ts), so nothing depends on
// links that change meanwhile.

import { access, constants, realpath, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { LaunchRefusedError, WorkingDirectoryError } from './errors.ts';

const isIn = (path: string, folder: string): boolean => path === folder || path.startsWith(`${folder}/`);

/** Rejects with WorkingDirectoryError when it is not there, or cannot be entered. */
export async function checkWorkingDirectory(instance: string, folder: string | undefined): Promise<void> {
  if (folder === undefined) return;
  try {
    if (!(await stat(folder)).isDirectory()) throw Object.assign(new Error('not a folder'), { code: 'ENOTDIR' });
    await access(folder, constants.X_OK);
  } catch (error) {
    throw new WorkingDirectoryError(instance, folder, error);
  }
}

/**
 * For a program that sees of the `hidden` folder nothing but `shown`: it starts in none of the rest, and nowhere in /proc or /sys, whose
 * links lead past what is hidden. Rejects with LaunchRefusedError.
 */
export async function checkSeen(
  instance: string,
  folder: string | undefined,
  { hidden, shown }: { hidden: string; shown: readonly string[] },
): Promise<void> {
  if (folder === undefined) return;
  const real = (path: string): Promise<string> => realpath(path).catch(() => resolve(path));
  // A link of /proc says where it leads, and leads elsewhere: as it is written it counts too.
  const places = [resolve(folder), await real(folder)];
  const own = [...shown, ...(await Promise.all(shown.map(real)))];
  const closed = ['/proc', '/sys', hidden, await real(hidden)];
  for (const place of places) {
    const around = closed.find((one) => isIn(place, one));
    if (around === undefined || own.some((one) => isIn(place, one))) continue;
    const where = around === '/proc' || around === '/sys' ? `lies in ${around}` : `lies in the data folder, ${around}`;
    const named = place === folder ? folder : `${folder} (${place})`;
    throw new LaunchRefusedError(
      instance,
      `workingDirectory: ${named} ${where}, where a program with a user of its own does not start; accepted: a folder outside of /proc, /sys and the data folder, or none for its own`,
    );
  }
}

// How many files and connections the daemon may have open, and how many it has. A low limit shows when a fabric grows.

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { wantedDescriptors } from '../box-conditions.ts';
import { descriptorsFewWarn, descriptorsPartMax } from '../limits.ts';
import { openFilesMax } from '../system-box.ts';
import { type DoctorInput, type Finding, ok, ownNode, warn } from './finding.ts';
import { holderOf } from './store-check.ts';

const id = 'descriptors';

export function judgeFileLimit({
  open,
  soft,
  hard,
  instances = 0,
}: {
  open: number | undefined;
  soft: number;
  hard: number;
  /** Of the running daemon. */
  instances?: number;
}): Finding {
  const action =
    'Raise the limit on open files of the daemon: LimitNOFILE=1024:524288 in its unit (systemctl edit selvedge), or `ulimit -n` of who starts it.';
  // Node.js raises the soft limit of its own process to the hard one.
  const max = open === undefined ? hard : soft;
  const said = open === undefined ? `${max} may be open` : `${open} of ${max} are in use by the daemon`;
  if (open !== undefined && open >= max * descriptorsPartMax) return warn(id, said, action);
  const wanted = wantedDescriptors(instances);
  if (max < wanted) return warn(id, `${said}: it wants ${wanted} for itself and ${instances} instances`, action);
  if (max < descriptorsFewWarn) return warn(id, `${said}: too few for a node with many links and workloads`, action);
  return ok(id, said);
}

export async function checkDescriptors(input: DoctorInput): Promise<Finding> {
  const { dataFolder } = input;
  const daemon = await holderOf(join(dataFolder, 'store'));
  const limits = await readFile(`/proc/${daemon ?? 'self'}/limits`, 'utf8');
  const open =
    daemon === undefined
      ? undefined
      : await readdir(`/proc/${daemon}/fd`).then(
          (names) => names.length,
          () => undefined,
        );
  return judgeFileLimit({
    open,
    soft: openFilesMax(limits) ?? Number.POSITIVE_INFINITY,
    hard: openFilesMax(limits, 'hard') ?? Number.POSITIVE_INFINITY,
    instances: ownNode(input)?.instances.length ?? 0,
  });
}

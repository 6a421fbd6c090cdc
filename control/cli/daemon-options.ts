// What a box's daemon may be told, the same for `up`, which runs it, and `install`, which lets systemd run it. Called by up.ts and
// install.ts. It starts nothing.

import type { Command } from 'commander';
import { type BoxOption, type BoxOptions, boxOptionNames } from '../box-options.ts';
import type { RouterMode } from '../fabric.ts';
import { UsageError } from './errors.ts';
import {
  absolutePath,
  allowImageOption,
  allowOption,
  cidr,
  forgetOption,
  keepAliveOption,
  labelOption,
  linkCostOption,
  listOption,
  locationOption,
  processUserOption,
  routerOption,
  wholeNumber,
} from './options.ts';

/** Those of `BoxOptions` hold until they are given again or forgotten. */
export interface DaemonSettings extends BoxOptions {
  found?: boolean;
  fabric?: string;
  join: string[];
  token?: string;
  tokenFile?: string;
  trustLan?: boolean;
  name?: string;
  label: Record<string, string>;
  router?: RouterMode;
  /** By the node at the other end, in milliseconds. */
  linkCost?: ReadonlyMap<string, number>;
  /** By the node at the other end, `*` for all others, in milliseconds. */
  keepAlive?: ReadonlyMap<string, number>;
  port: number;
  forget?: BoxOption[];
}

export const defaultPort = 7433;

/** Throws UsageError when options contradict each other. */
export function checkDaemonSettings(options: DaemonSettings): void {
  const wrong = (message: string, action: string): never => {
    throw new UsageError(message, { action });
  };
  if (options.fabric !== undefined && options.found !== true) {
    wrong('--fabric names a fabric that is being founded', 'Add --found, or leave --fabric out.');
  }
  const joins = options.token !== undefined || options.tokenFile !== undefined || options.join.length > 0;
  if (options.found === true && joins) {
    wrong('--found makes a new fabric; --join and --token join one', 'Leave one of them out.');
  }
  if (
    options.trustLan === true &&
    (options.found === true || options.token !== undefined || options.tokenFile !== undefined)
  ) {
    wrong('--trust-lan joins a fabric without token', 'Leave it out, or --found and --token.');
  }
  const both = options.forget?.find((option) => options[option] !== undefined);
  if (both !== undefined) {
    const name = boxOptionNames[both];
    wrong(`--forget ${name} takes --${name} back, which is given too`, 'Leave one of them out.');
  }
  if (options.token !== undefined && options.tokenFile !== undefined) {
    wrong('there is a token in --token and another in --token-file', 'Leave one of them out.');
  }
}

/** Adds the options that become `DaemonSettings`. */
export function withDaemonOptions(command: Command): Command {
  return command
    .option('--found', 'found a new fabric; this box is its first controller')
    .option('--fabric <name>', 'name of the fabric that is founded')
    .addOption(listOption('--join <address>', 'a node to ask when mDNS does not reach it'))
    .option(
      '--token <token>',
      'token to join with; other users of this box can see it: prefer SELVEDGE_TOKEN or --token-file',
    )
    .option('--token-file <file>', 'file that holds the token')
    .option(
      '--trust-lan',
      'join without code or token when exactly one fabric answers and its operator has opened a window',
    )
    .option('--name <name>', 'name of this node (default: the host name)')
    .addOption(labelOption('label of this node'))
    .addOption(locationOption())
    .addOption(routerOption('place in the mesh (default: interior for a controller, else what the token says)'))
    .addOption(linkCostOption())
    .addOption(keepAliveOption())
    .option(
      '--port <number>',
      'TCP port for other nodes; 0 is any; another is taken when it is not free',
      wholeNumber(0, 65_535),
      defaultPort,
    )
    .option(
      '--container-range <cidr>',
      'addresses for containers and programs, and what they call (default: 198.18.0.0/15)',
      cidr,
    )
    .addOption(allowOption())
    .addOption(allowImageOption())
    .option(
      '--registry-auth <file>',
      'logins for registries of images, as in Docker’s config.json; absolute path, mode 600',
      absolutePath,
    )
    .addOption(processUserOption())
    .addOption(forgetOption());
}

// Options that several commands have, and their parsers.

import { InvalidArgumentError, Option } from 'commander';
import {
  type Allowance,
  allowances,
  type BoxOption,
  boxOptionNames,
  boxOptions,
  isAbsolutePath,
  isContainerRange,
  isImagePattern,
  isLocation,
  isProcessUser,
} from '../box-options.ts';
import { locationCharactersMax } from '../limits.ts';
import { parseDuration } from './durations.ts';
import { keepAliveMsMax, keepAliveMsMin, linkCostMsMax } from './limits.ts';

/** For `--label k=v`, which may be given several times. */
export function collectLabel(text: string, before: Record<string, string>): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Write key=value.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

/** An option that may be given several times. */
export function listOption(flags: string, description: string): Option {
  return new Option(flags, `${description}; may be given several times`)
    .argParser((text: string, before: string[]) => [...before, text])
    .default([], 'none');
}

/** From which containers get their addresses. */
export function cidr(text: string): string {
  if (!isContainerRange(text))
    throw new InvalidArgumentError('An IPv4 range such as 198.18.0.0/15, at most 20 bits long, is wanted.');
  return text;
}

/** A file that a daemon reads, which has a working folder of its own. */
export function absolutePath(text: string): string {
  if (!isAbsolutePath(text)) throw new InvalidArgumentError('Write the whole path, from / on.');
  return text;
}

/** A parser of whole numbers within bounds. */
export function wholeNumber(minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(number >= minimum && number <= maximum)) {
      throw new InvalidArgumentError(`Give a whole number from ${minimum} to ${maximum}.`);
    }
    return number;
  };
}

export function labelOption(description: string): Option {
  return new Option('--label <key=value>', `${description}; may be given several times`)
    .argParser(collectLabel)
    .default({}, 'none');
}

export function routerOption(description: string): Option {
  return new Option('--router <mode>', description).choices(['interior', 'edge']);
}

export function projectOption(): Option {
  return new Option('-p, --project <name>', 'the project').default('default');
}

/** A duration in milliseconds; the default is shown as it would be written, and so are the bounds of what is taken. */
export function durationOption(
  flags: string,
  description: string,
  standard: string,
  { from = '0s', to }: { from?: string; to?: string } = {},
): Option {
  const parse = (text: string): number => {
    const ms = parseDuration(text);
    if (ms >= parseDuration(from) && (to === undefined || ms <= parseDuration(to))) return ms;
    throw new InvalidArgumentError(to === undefined ? `Give at least ${from}.` : `Give ${from} to ${to}.`);
  };
  return new Option(flags, description).argParser(parse).default(parse(standard), standard);
}

/** What workloads may have of this box. */
export function allowOption(): Option {
  return new Option(
    '--allow <right>',
    `let workloads have it: ${allowances.join(', ')}; may be given several times`,
  ).argParser((text: string, before: Allowance[] = []) => {
    const found = allowances.find((one) => one === text);
    if (found === undefined) throw new InvalidArgumentError(`Allowed choices are ${allowances.join(', ')}.`);
    return [...new Set([...before, found])];
  });
}

/** Where the box is: any words, or coordinates. */
export function locationOption(): Option {
  return new Option('--location <text>', 'where this box is, in words or as latitude,longitude').argParser(
    (text: string) => {
      const plain = text.trim();
      if (!isLocation(plain))
        throw new InvalidArgumentError(`Write one line of at most ${locationCharactersMax} characters.`);
      return plain;
    },
  );
}

/** What its operator says that links cost, by the names of the nodes at their other ends; in milliseconds, as round trips are. */
export function linkCostOption(): Option {
  return new Option(
    '--link-cost <node=time>',
    'what the link to that node costs routes, instead of its measured round trip; may be given several times',
  ).argParser((text: string, before: ReadonlyMap<string, number> = new Map()) => {
    const at = text.indexOf('=');
    const costMs = at < 1 ? 0 : parseDuration(text.slice(at + 1));
    if (costMs < 1 || costMs > linkCostMsMax) throw new InvalidArgumentError('Write press-4=20ms: 1ms to 60s.');
    return new Map([...before, [text.slice(0, at), costMs]]);
  });
}

/** How long links are believed in although nothing is heard, in milliseconds, by the names of the nodes at their other ends; `*` is all others. */
export function keepAliveOption(): Option {
  return new Option(
    '--keep-alive <time>',
    'believe in silent links for so long, and ask half as often: for slow and metered ones (usually 600ms); press-4=30s is that link alone; may be given several times',
  ).argParser((text: string, before: ReadonlyMap<string, number> = new Map()) => {
    const at = text.indexOf('=');
    const silentMs = at === 0 ? 0 : parseDuration(text.slice(at + 1));
    if (silentMs < keepAliveMsMin || silentMs > keepAliveMsMax)
      throw new InvalidArgumentError('Write 30s or press-4=30s: 600ms to 5m.');
    return new Map([...before, [at < 0 ? '*' : text.slice(0, at), silentMs]]);
  });
}

export function processUserOption(): Option {
  return new Option(
    '--process-user <user>',
    'run programs as this user (or user:group) unless they name one themselves, which then takes --allow users',
  ).argParser((text: string) => {
    if (!isProcessUser(text)) throw new InvalidArgumentError('Write a user, or user:group, by name or number.');
    return text;
  });
}

export function allowImageOption(): Option {
  return new Option(
    '--allow-image <pattern>',
    'run these images alone, * for any characters; may be given several times',
  ).argParser((text: string, before: string[] = []) => {
    if (!isImagePattern(text)) throw new InvalidArgumentError('Write registry.example/shop/* or the like.');
    return [...before, text];
  });
}

/** Takes back what an earlier start said of this box. */
export function forgetOption(): Option {
  const names = boxOptions.map((option) => boxOptionNames[option]);
  return new Option(
    '--forget <option>',
    `take back what an earlier start said: ${names.join(', ')}; may be given several times`,
  ).argParser((text: string, before: BoxOption[] = []) => {
    const found = boxOptions.find((option) => boxOptionNames[option] === text.replace(/^--/, ''));
    if (found === undefined) throw new InvalidArgumentError(`Allowed choices are ${names.join(', ')}.`);
    return [...new Set([...before, found])];
  });
}

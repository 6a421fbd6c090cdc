// Options of `selvedge up` that hold on a box until they are said anew: their names, and what each may be. Pure; called by the command
// line, and by node-runtime/kept-options.ts, which keeps them.

import { locationCharactersMax } from './limits.ts';

export const allowances = ['privileged', 'capabilities', 'devices', 'host-paths', 'host-network', 'users'] as const;
export type Allowance = (typeof allowances)[number];

/** Without a member: nothing was said. */
export interface BoxOptions {
  /** What workloads may have of the box. */
  allow?: Allowance[];
  /** Patterns of the only images that it runs. */
  allowImage?: string[];
  /** Whom programs run as that name nobody. */
  processUser?: string;
  /** File with logins for registries, absolute. */
  registryAuth?: string;
  /** From which containers get their addresses. */
  containerRange?: string;
  location?: string;
}

/** As they are typed, without the hyphens before. */
export const boxOptionNames = {
  allow: 'allow',
  allowImage: 'allow-image',
  processUser: 'process-user',
  registryAuth: 'registry-auth',
  containerRange: 'container-range',
  location: 'location',
} as const satisfies Record<keyof BoxOptions, string>;

export type BoxOption = keyof BoxOptions;
export const boxOptions = Object.keys(boxOptionNames) as BoxOption[];

const processUserPattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?$/;
const imagePatternPattern = /^[\x21-\x7e]{1,255}$/;

export const isProcessUser = (text: string): boolean => processUserPattern.test(text);
export const isImagePattern = (text: string): boolean => imagePatternPattern.test(text);
export const isAbsolutePath = (text: string): boolean => text.startsWith('/') && !text.includes('\0');
/** Any words on one line, or coordinates. */
export const isLocation = (text: string): boolean =>
  text !== '' && text === text.trim() && text.length <= locationCharactersMax && !/\p{C}/u.test(text);

/** An IPv4 range of 8 to 20 bits: smaller ones have no room for a node's containers. */
export function isContainerRange(text: string): boolean {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(text);
  const [bits = 0, ...parts] = (match?.slice(1).map(Number) ?? []).reverse();
  const first = parts.reduceRight((sum, part) => sum * 256 + part, 0);
  return (
    match !== null && bits >= 8 && bits <= 20 && parts.every((part) => part <= 255) && first % 2 ** (32 - bits) === 0
  );
}

/** As they would be typed; empty when there are none. */
export function boxOptionsText(options: BoxOptions): string {
  const words = boxOptions.flatMap((option) => {
    const value = options[option];
    return [value ?? []]
      .flat()
      .map((one) => `--${boxOptionNames[option]} ${/^[\w./:*@-]+$/.test(one) ? one : `'${one}'`}`);
  });
  return words.join(' ');
}

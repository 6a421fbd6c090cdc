// What of this box stands in the way of its node now, in words, with what to do: pure functions of what box-health.ts found.

import { faultOf } from '../control/level-faults.ts';
import {
  conditionCharactersMax,
  conditionsMax,
  descriptorsPartMax,
  descriptorsWanted,
  descriptorsWantedPerInstance,
  diskBytesFreeFull,
  slowDiskMs,
} from './limits.ts';

export type ConditionId = 'disk' | 'disk-slow' | 'descriptors' | 'clock';
export type Judgement = string | undefined;

/** `failure` is that of the last write; undefined when it was done. */
export function judgeDisk(folder: string, bytesFree: number | undefined, failure: unknown): Judgement {
  if (failure !== undefined) {
    const { cause, message, action } = failure as { cause?: unknown; message?: string; action?: string };
    const fault = faultOf(cause ?? failure) ?? faultOf(failure);
    const said = `the data folder ${folder} cannot be written: ${fault?.words ?? message ?? String(failure)}`;
    const next = fault?.action(folder) ?? action;
    return next === undefined ? said : `${said}. ${next}`;
  }
  if (bytesFree === undefined || bytesFree >= diskBytesFreeFull) return undefined;
  const full = faultOf({ code: 'ENOSPC' });
  return `the data folder ${folder} cannot be written for long: ${full?.words}. ${full?.action(folder)}`;
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/** `lastMs` are the newest writes that were synced, the last one last; `waitsMs` is how long one has not come back. */
export function judgeSpeed(lastMs: readonly number[], waitsMs: number): Judgement {
  const action = 'Find out what else writes to it, or whether it is about to fail (dmesg)';
  if (waitsMs >= slowDiskMs * 2) {
    return `the disk is slow: a small file has been waiting for fsync for ${seconds(waitsMs)}. ${action}.`;
  }
  // One alone happens to every disk.
  const [before = 0, last = 0] = lastMs.slice(-2);
  if (Math.min(before, last) < slowDiskMs) return undefined;
  return `the disk is slow: fsync of a small file took ${seconds(last)}. ${action}.`;
}

/** Files and connections that a daemon with so many instances should be able to have open. */
export const wantedDescriptors = (instances: number): number =>
  descriptorsWanted + descriptorsWantedPerInstance * instances;

/** `found` is undefined when they could not be counted, because none was left. Without `instances` only what is in use is judged. */
export function judgeDescriptors(found: { open: number; max: number } | undefined, instances?: number): Judgement {
  const action =
    'Raise the limit on open files of the daemon (LimitNOFILE of its unit); `ls -l /proc/PID/fd` shows what holds them';
  if (found === undefined) return `no file descriptor is left: nothing can be opened or connected. ${action}.`;
  const { open, max } = found;
  if (open >= max * descriptorsPartMax) return `${open} of ${max} file descriptors are in use. ${action}.`;
  if (instances === undefined || max >= wantedDescriptors(instances)) return undefined;
  return `this daemon may have ${max} file descriptors, and wants ${wantedDescriptors(instances)} for itself and ${instances} instances. ${action}.`;
}

/** Outside the time of its certificate a node is heard by nobody, while all that it runs goes on. */
export function judgeClock(nowMs: number, span: { beginMs: number; endMs: number } | undefined): Judgement {
  if (span === undefined || (nowMs >= span.beginMs && nowMs <= span.endMs)) return undefined;
  const date = (ms: number): string => new Date(ms).toISOString().slice(0, 16).replace('T', ' ');
  const which =
    nowMs > span.endMs ? `expired at ${date(span.endMs)} UTC` : `is valid from ${date(span.beginMs)} UTC on`;
  return `the clock of this box says ${date(nowMs)} UTC, and the certificate of this node ${which}: what it runs goes on, but no other node talks to it. Set the clock if it is wrong (timedatectl set-ntp true).`;
}

/** As a link carries them. */
export function boundedConditions(conditions: readonly string[]): string[] {
  return conditions.slice(0, conditionsMax).map((text) => text.slice(0, conditionCharactersMax));
}

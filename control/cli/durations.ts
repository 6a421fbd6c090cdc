// Durations as people write and read them. Pure; used by options and tables.

import { InvalidArgumentError } from 'commander';
import { durationMsMax } from './limits.ts';

const units: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `500ms`, `10s`, `5m`, `1h`, `7d`, `1h30m` → milliseconds. Throws commander's InvalidArgumentError otherwise. */
export function parseDuration(text: string): number {
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) {
    throw new InvalidArgumentError('Write a number and a unit: 500ms, 10s, 5m, 1h, 7d.');
  }
  let totalMs = 0;
  for (const [, number, unit] of text.matchAll(/([\d.]+)(ms|s|m|h|d)/g))
    totalMs += Number(number) * (units[unit ?? ''] ?? 0);
  if (totalMs > durationMsMax) throw new InvalidArgumentError('That is longer than ten years.');
  return Math.round(totalMs);
}

/** `10m` before now or an RFC 3339 time, in milliseconds since 1970. Throws commander's InvalidArgumentError otherwise. */
export function parseSince(nowMs: number): (text: string) => number {
  return (text) => {
    if (/^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/.test(text)) {
      const at = Date.parse(text.replace(' ', 'T').toUpperCase());
      if (at >= 0) return at;
    } else if (/^[\d.]+[a-z]/.test(text)) {
      return Math.max(0, Math.floor(nowMs - parseDuration(text)));
    }
    throw new InvalidArgumentError('Write how long ago (10m, 1h30m) or a time such as 2026-03-01T12:00:00Z.');
  };
}

/** Milliseconds for a reader: `12 ms`, `1.4 s`, `3 min`, `5 h`, `12 d`. */
export function formatDuration(durationMs: number): string {
  const ms = Math.max(0, durationMs);
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 120_000) return `${Math.round(ms / 1_000)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} d`;
}

/** Milliseconds since 1970 as the reader's local `hh:mm:ss.mmm`. */
export function formatTime(at: number): string {
  const date = new Date(at);
  const two = (value: number): string => String(value).padStart(2, '0');
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return `${time}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

/** Milliseconds since 1970 as local date and time, for what may be days old. */
export function formatDate(at: number): string {
  const date = new Date(at);
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${formatTime(at).slice(0, 8)}`;
}

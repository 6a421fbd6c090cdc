// Is the clock plausible: certificates are judged by it. Compared with what this node has already lived to see.

import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { validityOf } from '../../pki/rotation.ts';
import { bootCounterFile } from '../boot-counter.ts';
import { clockBehindMs, doctorProbeMs } from '../limits.ts';
import { type DoctorInput, type Finding, fail, ok, warn } from './finding.ts';

const id = 'clock';

/** No Selvedge is older than this. */
const plausibleMs = Date.UTC(2026, 0, 1);

export function judgeClock({
  nowMs,
  seenMs,
  synchronized,
}: {
  nowMs: number;
  /** The latest instant that the data folder proves to have been. */
  seenMs: number;
  /** Undefined when nobody here knows. */
  synchronized: boolean | undefined;
}): Finding {
  const at = (ms: number): string => new Date(ms).toISOString().slice(0, 19).replace('T', ' ');
  const action = 'Set the clock (timedatectl set-ntp true, or date -s); certificates are judged by it.';
  if (nowMs < plausibleMs) return fail(id, `the clock says ${at(nowMs)} UTC: it was never set`, action);
  if (nowMs + clockBehindMs < seenMs) {
    return fail(id, `the clock says ${at(nowMs)} UTC, but this node was running at ${at(seenMs)} already`, action);
  }
  const now = `${at(nowMs)} UTC`;
  if (synchronized === false) {
    return warn(
      id,
      `the clock says ${now}; nothing keeps it right`,
      'Switch time synchronisation on: timedatectl set-ntp true.',
    );
  }
  return ok(
    id,
    synchronized === true ? `${now}, synchronised` : `${now}; whether anything keeps it right is not known`,
  );
}

/** What systemd knows of synchronisation. */
async function isSynchronized(): Promise<boolean | undefined> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const command = ['show', '--property=NTPSynchronized', '--value'];
  execFile('timedatectl', command, { timeout: doctorProbeMs }, (error, stdout) =>
    resolve(error === null ? stdout : ''),
  );
  const answer = (await promise).trim();
  return answer === 'yes' ? true : answer === 'no' ? false : undefined;
}

export async function checkClock({ dataFolder, clock, own }: DoctorInput): Promise<Finding> {
  const [certificate] = own?.membership?.chain ?? [];
  const issuedMs = certificate === undefined ? 0 : validityOf(Buffer.from(certificate, 'base64')).issuedAtMs;
  const startedMs = await stat(join(dataFolder, bootCounterFile)).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  );
  return judgeClock({
    nowMs: clock.now(),
    seenMs: Math.max(issuedMs, startedMs),
    synchronized: await isSynchronized(),
  });
}

// How `selvedge up` ends when its data folder must be mended first. Called by up.ts and up-detach.ts. The status is another one than that of other
// failures, so that who starts daemons (systemd: RestartPreventExitStatus=78) does not start it again and again.

/** EX_CONFIG of sysexits.h: nothing gets better by starting again. */
export const mustBeMendedStatus = 78;

/** Ids of errors that name a file of the data folder, which a person must put right. */
const mustBeMended: ReadonlySet<unknown> = new Set([
  'damaged-file',
  'disk-failed',
  'identity-key-unusable',
  'kept-options-damaged',
  'lease-journal-damaged',
  'store-damaged',
  'store-lost',
  'token-file-damaged',
]);

export const withMendedStatus = (error: Error): Error => Object.assign(error, { exitStatus: mustBeMendedStatus });

/** The error, with the status that `selvedge up` ends with. */
export function asStartFailure(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { id, retryable } = error as { id?: unknown; retryable?: unknown };
  return mustBeMended.has(id) && retryable !== true ? withMendedStatus(error) : error;
}

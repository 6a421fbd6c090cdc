// The errors of the command line, one class per cause. main.ts prints each as its message and what to do next.

import type { Problem } from '../views.ts';

interface ErrorFacts {
  action: string;
  retryable?: boolean;
  cause?: unknown;
}

abstract class CliError extends Error {
  abstract readonly id: string;
  readonly retryable: boolean;
  readonly action: string;
  /** 1: refused or failed. 2: wrong usage. */
  readonly exitStatus: 1 | 2 = 1;
  constructor(message: string, { action, retryable = false, cause }: ErrorFacts) {
    super(message, cause === undefined ? undefined : { cause });
    this.retryable = retryable;
    this.action = action;
  }
}

/** The command line itself is wrong. */
export class UsageError extends CliError {
  override readonly name = 'UsageError';
  readonly id = 'usage';
  override readonly exitStatus = 2;
}

/** A file, or stdin, that a command was given cannot be used. */
export class InputFileError extends CliError {
  override readonly name = 'InputFileError';
  readonly id = 'input-file';
}

/** A command beside an instance has ended, and not with 0: its status is this command's. */
export class CommandEndedError extends Error {
  override readonly name = 'CommandEndedError';
  readonly id = 'command-ended';
  readonly retryable = false;
  /** It has said itself what is wrong. */
  readonly action = '';
  readonly exitStatus: number;
  constructor(status: number) {
    super('');
    this.exitStatus = status;
  }
}

/** What `trace` was asked for would not arrive; it has printed where it stops. */
export class CallStopsError extends CliError {
  override readonly name = 'CallStopsError';
  readonly id = 'call-stops';
  constructor(from: string, service: string) {
    super(`a call of ${from} to ${service} would not arrive`, {
      action: '`selvedge services` and `selvedge topology` show more of who answers and of the links between.',
      retryable: true,
    });
  }
}

/** The file that a command is to make cannot be made, or is there already. */
export class OutFileError extends CliError {
  override readonly name = 'OutFileError';
  readonly id = 'out-file';
  constructor(path: string, cause: NodeJS.ErrnoException) {
    super(`${path} cannot be made: ${cause.code === 'EEXIST' ? 'it is there already' : cause.message}`, {
      action: 'Name another file with --out.',
      cause,
    });
  }
}

/** Nothing answers on the data folder's socket. */
export class NoDaemonError extends CliError {
  override readonly name = 'NoDaemonError';
  readonly id = 'no-daemon';
  constructor(socketPath: string, reason: string, cause?: unknown) {
    super(`no daemon answers on ${socketPath} (${reason})`, {
      action: 'Start one with `selvedge up`, or name the data folder of a running one with --data.',
      retryable: true,
      cause,
    });
  }
}

/** The socket belongs to another user. */
export class SocketForbiddenError extends CliError {
  override readonly name = 'SocketForbiddenError';
  readonly id = 'socket-forbidden';
  constructor(socketPath: string, owner: string, cause?: unknown) {
    super(`permission denied: the socket ${socketPath} belongs to ${owner}`, {
      action: `Run the command as ${owner} (sudo), or name a data folder of your own with --data.`,
      cause,
    });
  }
}

/** The daemon accepted the connection and then said nothing, or not what it should. */
export class DaemonSilentError extends CliError {
  override readonly name = 'DaemonSilentError';
  readonly id = 'daemon-silent';
  constructor(what: string, cause?: unknown) {
    super(`the daemon did not answer: ${what}`, {
      action:
        'Look at the output of `selvedge up`, or at selvedge.log in its data folder; a busy box may only need time.',
      retryable: true,
      cause,
    });
  }
}

/** The daemon refused, and said why (a problem document, RFC 9457). */
export class RefusedError extends CliError {
  override readonly name = 'RefusedError';
  readonly id = 'refused';
  readonly type: string;
  readonly status: number;
  /** Of refused manifests: every issue. */
  readonly issues: NonNullable<Problem['issues']>;
  constructor(
    message: string,
    { type, status, action, issues = [] }: Pick<Problem, 'type' | 'status' | 'action' | 'issues'>,
  ) {
    super(message, { action });
    this.type = type;
    this.status = status;
    this.issues = issues;
  }
}

/** A manifest, or a file that it names, cannot be read. */
export class ManifestFileError extends CliError {
  override readonly name = 'ManifestFileError';
  readonly id = 'manifest-file';
}

/** What was waited for did not come. */
export class WaitedInVainError extends CliError {
  override readonly name = 'WaitedInVainError';
  readonly id = 'waited-in-vain';
}

/** Something could not be fetched ahead. */
export class StageFailedError extends CliError {
  override readonly name = 'StageFailedError';
  readonly id = 'stage-failed';
  constructor(failed: number, all: number) {
    super(`${failed} of ${all} could not be fetched`, {
      action: 'The table says why; the nodes try again for a day, and `selvedge stage` asks them to do it now.',
      retryable: true,
    });
  }
}

/** A daemon could not be started, or did not stop. */
export class DaemonFailedError extends CliError {
  override readonly name = 'DaemonFailedError';
  readonly id = 'daemon-failed';
}

/** `doctor` found something that fails; its findings, which are printed already, say what. */
export class DoctorFoundError extends CliError {
  override readonly name = 'DoctorFoundError';
  readonly id = 'doctor-found';
  constructor() {
    super('', { action: '' });
  }
}

/** `install` or `uninstall` cannot be done on this box, or not like this. */
export class InstallError extends CliError {
  override readonly name = 'InstallError';
  readonly id = 'install';
}

/** systemd refused, or did not answer. */
export class SystemdError extends CliError {
  override readonly name = 'SystemdError';
  readonly id = 'systemd';
}

/** A signal came while a command was at work. */
export class InterruptedError extends CliError {
  override readonly name = 'InterruptedError';
  readonly id = 'interrupted';
  constructor(what: string) {
    super(`interrupted: ${what}`, { action: '', retryable: true });
  }
}

/** A step of the demo went wrong: `step` names it, `reason` says why. */
export class DemoStepError extends CliError {
  override readonly name = 'DemoStepError';
  readonly id = 'demo-step';
  readonly step: string;
  readonly reason: string;
  constructor(step: string, reason: string, cause?: unknown) {
    super(`${step}: ${reason}`, {
      action: 'The last lines of the daemons above say more; run `selvedge demo` again.',
      cause,
    });
    this.step = step;
    this.reason = reason;
  }
}

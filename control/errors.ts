// The errors of this folder, one class per cause. Each says whether a retry can help and what the operator should do.

import type { ManifestIssue } from './manifest-issues.ts';
import type { GoneInstanceView, InstanceView } from './views.ts';

/** What every error of this folder has; the API turns it into an RFC 9457 problem. */
interface ErrorFacts {
  action: string;
  retryable?: boolean;
  cause?: unknown;
}

abstract class ControlError extends Error {
  abstract readonly id: string;
  readonly retryable: boolean;
  readonly action: string;
  constructor(message: string, facts: ErrorFacts) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.retryable = facts.retryable ?? false;
    this.action = facts.action;
  }
}

/** Input was refused; nothing was changed. */
export class ManifestError extends ControlError {
  override readonly name = 'ManifestError';
  readonly id = 'manifest-refused';
  readonly issues: readonly ManifestIssue[];
  constructor(issues: readonly ManifestIssue[], text: string) {
    super(text, { action: 'Correct the fields that are listed and apply again; nothing was changed.' });
    this.issues = issues;
  }
}

/** The store failed in the middle of several documents: part of them is in the fabric. */
export class ApplyInterruptedError extends ControlError {
  override readonly name = 'ApplyInterruptedError';
  readonly id = 'apply-interrupted';
  constructor(stored: readonly string[], left: number, cause: unknown) {
    const { message, action } = cause as { message?: string; action?: string };
    const rest = left === 0 ? 'their events were not written' : `${left} more ${left === 1 ? 'was' : 'were'} not`;
    const named = stored.length > 3 ? `${stored.slice(0, 3).join(', ')}, …` : stored.join(', ');
    super(`${stored.length} of the documents (${named}) were stored, ${rest}: ${message ?? String(cause)}`, {
      action: `${action ?? 'See the daemon log.'} Then apply the same again: what was stored stays as it is.`,
      retryable: true,
      cause,
    });
  }
}

/** A request's body, path or query was refused; nothing was changed. */
export class RequestRefusedError extends ControlError {
  override readonly name = 'RequestRefusedError';
  readonly id = 'request-refused';
  readonly field: string | undefined;
  readonly accepted: string | undefined;
  constructor(message: string, { field, accepted }: { field?: string; accepted?: string } = {}) {
    super(message, { action: accepted === undefined ? 'Correct the request.' : `Give ${accepted}.` });
    this.field = field;
    this.accepted = accepted;
  }
}

/** A request's body is larger than one may be. */
export class RequestTooLargeError extends ControlError {
  override readonly name = 'RequestTooLargeError';
  readonly id = 'request-too-large';
  constructor(bytesMax: number) {
    super(`the body has more than ${bytesMax} bytes`, { action: 'Split it into several requests.' });
  }
}

/** There is nothing of that name. */
export class NotFoundError extends ControlError {
  override readonly name = 'NotFoundError';
  readonly id = 'not-found';
  constructor(what: string, name: string, action: string) {
    super(`there is no ${what} ${JSON.stringify(name)}`, { action });
  }
}

/** An instance has written nothing that could be read: it has not started yet, or what it wrote is not kept any more. */
export class NoLogError extends ControlError {
  override readonly name = 'NoLogError';
  readonly id = 'no-log';
  constructor(instance: InstanceView | GoneInstanceView) {
    const { name, node } = instance;
    const where = node === undefined ? 'without a node it' : `on ${node} it`;
    const said =
      'goneAt' in instance
        ? `the last lines of ${name} are not kept on ${node} any more`
        : `${name} has no log yet: ${where} is ${instance.state}${instance.reason === '' ? '' : ` (${instance.reason})`}`;
    super(said, {
      action: 'It has a log once it has started; `selvedge describe instance NAME` says what it waits for.',
      retryable: true,
    });
  }
}

/** A Config or Secret that is named by an application is not removed. */
export class ContentInUseError extends ControlError {
  override readonly name = 'ContentInUseError';
  readonly id = 'content-in-use';
  constructor(what: string, name: string, users: readonly string[], shownMax: number) {
    const more = users.length > shownMax ? `, and ${users.length - shownMax} more` : '';
    super(`${what} ${JSON.stringify(name)} is used by ${users.slice(0, shownMax).join(', ')}${more}`, {
      action: 'Take it out of those microservices, or delete their applications, and delete it then.',
    });
  }
}

/** A fabric question was put to a worker's socket. */
export class NotAControllerError extends ControlError {
  override readonly name = 'NotAControllerError';
  readonly id = 'not-a-controller';
  constructor(node: string) {
    super(`${node} is a worker: its socket answers about this node alone`, {
      action: 'Run this command on a controller (`selvedge status` on this node shows whether one is reachable).',
    });
  }
}

/** A chosen node name belongs to another key. */
export class NameTakenError extends ControlError {
  override readonly name = 'NameTakenError';
  readonly id = 'name-taken';
  constructor(name: string) {
    super(`the name ${JSON.stringify(name)} belongs to another node`, {
      action: 'Choose another with --name, or leave --name out and one is made from the host name.',
    });
  }
}

/** A node's name or label is not acceptable. */
export class NodeRefusedError extends ControlError {
  override readonly name = 'NodeRefusedError';
  readonly id = 'node-refused';
  constructor(message: string, action: string) {
    super(message, { action });
  }
}

/** The node cannot be taken out of the fabric. */
export class NodeNotRevocableError extends ControlError {
  override readonly name = 'NodeNotRevocableError';
  readonly id = 'node-not-revocable';
  constructor(node: string) {
    super(
      `${node} is the controller that answers, and the last one of the fabric: without it nobody could take it back`,
      {
        action: 'Name another node. `selvedge uninstall` on this box ends its own part in the fabric.',
      },
    );
  }
}

/** The lease journal cannot be trusted: a term could be used twice. */
export class LeaseJournalError extends ControlError {
  override readonly name = 'LeaseJournalError';
  readonly id = 'lease-journal-damaged';
  constructor(reason: string) {
    super(`the file lease.jsonl of the data folder is damaged: ${reason}`, {
      action:
        'Put lease.jsonl back from a backup of this controller; without one, move it away: terms go on after those of the plans.',
    });
  }
}

/** More events wait than may wait. */
export class LedgerBusyError extends ControlError {
  override readonly name = 'LedgerBusyError';
  readonly id = 'ledger-busy';
  constructor() {
    super('too many events wait to be written', { action: 'Try again in a moment.', retryable: true });
  }
}

/** A plan does not fit one document. */
export class PlanTooLargeError extends ControlError {
  override readonly name = 'PlanTooLargeError';
  readonly id = 'plan-too-large';
  constructor(node: string, bytes: number, bytesMax: number) {
    super(`the plan of ${node} has ${bytes} bytes, more than ${bytesMax}`, {
      action: 'Place fewer instances on this node, or give them smaller environments.',
    });
  }
}

/** More logs are followed than may be. */
export class TooManyFollowersError extends ControlError {
  override readonly name = 'TooManyFollowersError';
  readonly id = 'too-many-followers';
  constructor(max: number) {
    super(`${max} logs are being followed already`, { action: 'End one of them and try again.', retryable: true });
  }
}

/** More exec sessions are open than may be. */
export class TooManySessionsError extends ControlError {
  override readonly name = 'TooManySessionsError';
  readonly id = 'too-many-sessions';
  constructor(max: number) {
    super(`${max} commands are being run already`, { action: 'End one of them and try again.', retryable: true });
  }
}

/** The socket's path does not fit the kernel's structure. */
export class SocketPathError extends ControlError {
  override readonly name = 'SocketPathError';
  readonly id = 'socket-path-too-long';
  constructor(path: string, bytes: number, bytesMax: number) {
    super(`the socket's path has ${bytes} bytes, more than ${bytesMax}: ${path}`, {
      action: 'Choose a data folder with a shorter path (--data).',
    });
  }
}

/** Another daemon answers on this data folder's socket. */
export class DaemonRunningError extends ControlError {
  override readonly name = 'DaemonRunningError';
  readonly id = 'daemon-running';
  constructor(path: string) {
    super(`a daemon already runs on ${path}`, {
      action: 'Use that one, end it with `selvedge down`, or choose another data folder (--data).',
    });
  }
}

/** Something that is no socket lies where the socket belongs. */
export class SocketBlockedError extends ControlError {
  override readonly name = 'SocketBlockedError';
  readonly id = 'socket-blocked';
  constructor(path: string, reason: string, cause?: unknown) {
    super(`cannot listen on ${path}: ${reason}`, {
      action: 'Move it away, or choose another data folder (--data).',
      cause,
    });
  }
}

/** The document was changed meanwhile: the revision that was given is no leaf. */
export class ConflictError extends ControlError {
  override readonly name = 'ConflictError';
  readonly id = 'document-conflict';
  constructor(documentId: string, cause?: unknown) {
    super(`${documentId} was changed meanwhile`, {
      action: 'Read it again and repeat the change.',
      retryable: true,
      cause,
    });
  }
}

/** A document cannot be stored: its id, its fields or its size. */
export class DocumentRefusedError extends ControlError {
  override readonly name = 'DocumentRefusedError';
  readonly id = 'document-refused';
  constructor(documentId: string, reason: string) {
    super(`document ${JSON.stringify(documentId)} cannot be stored: ${reason}`, {
      action: 'Make it smaller or correct it; nothing was changed.',
    });
  }
}

/** Another process, or this one, has the store's folder open. */
export class StoreLockedError extends ControlError {
  override readonly name = 'StoreLockedError';
  readonly id = 'store-locked';
  constructor(folder: string, cause?: unknown) {
    super(`the store in ${folder} is open already`, {
      action: 'Another selvedge runs on this data folder: end it (`selvedge down`) or choose another one (--data).',
      retryable: true,
      cause,
    });
  }
}

/** The store's files are damaged. */
export class StoreDamagedError extends ControlError {
  override readonly name = 'StoreDamagedError';
  readonly id = 'store-damaged';
  constructor(folder: string, cause?: unknown) {
    super(`the store in ${folder} is damaged`, {
      action:
        `Stop selvedge and move ${folder} away. A worker gets its mailbox again from a controller and meanwhile runs the plan ` +
        'that it obeyed; on a controller restore the folder from a backup.',
      cause,
    });
  }
}

/** The store's folder cannot be used: rights, space, a read-only disk. */
export class StoreUnavailableError extends ControlError {
  override readonly name = 'StoreUnavailableError';
  readonly id = 'store-unavailable';
  constructor(folder: string, reason: string, cause?: unknown) {
    super(`the store in ${folder} cannot be opened: ${reason}`, {
      action: 'Check that the folder can be written by this user and that the disk has space.',
      retryable: true,
      cause,
    });
  }
}

/** The box refuses to write, or read, the open store for now: no space, a read-only volume, a failing disk, no descriptors. */
export class StorageRefusedError extends ControlError {
  override readonly name = 'StorageRefusedError';
  readonly id = 'storage-refused';
  constructor(
    folder: string,
    cause: unknown,
    known: { words: string; action: (folder: string) => string } | undefined,
  ) {
    const reason = known?.words ?? (cause instanceof Error ? cause.message : String(cause));
    super(`the store in ${folder} cannot be used for now: ${reason}`, {
      action: `${known?.action(folder) ?? `Look at the volume of ${folder}.`} What was acknowledged is kept and workloads run on; repeat this then.`,
      retryable: true,
      cause,
    });
  }
}

/** The store, or this database of it, was closed or removed. */
export class StoreClosedError extends ControlError {
  override readonly name = 'StoreClosedError';
  readonly id = 'store-closed';
  constructor(what: string) {
    super(`${what} is closed`, { action: 'Start selvedge again.' });
  }
}

/** One run of replication did not reach its end; what arrived is kept, and the next run goes on from there. */
export class ReplicationError extends ControlError {
  override readonly name = 'ReplicationError';
  readonly id = 'replication-interrupted';
  constructor(reason: string, cause?: unknown) {
    super(`replication was interrupted: ${reason}`, { action: 'Nothing: it is tried again.', retryable: true, cause });
  }
}

/** The far end does not serve this database to us. */
export class ReplicationRefusedError extends ControlError {
  override readonly name = 'ReplicationRefusedError';
  readonly id = 'replication-refused';
  constructor(database: string, reason: string) {
    super(`the far end does not serve ${database}: ${reason}`, {
      action: 'Check on a controller that this node is admitted (`selvedge nodes list`).',
      retryable: true,
    });
  }
}

/** The far end sent something that is not the replication protocol, or more than it may. */
export class ReplicationProtocolError extends ControlError {
  override readonly name = 'ReplicationProtocolError';
  readonly id = 'replication-protocol';
  constructor(reason: string, cause?: unknown) {
    super(`the far end broke the replication protocol: ${reason}`, {
      action: 'Check that both nodes run compatible versions; otherwise the far end is faulty or hostile.',
      retryable: true,
      cause,
    });
  }
}

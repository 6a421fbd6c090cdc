// Commands beside workloads that somebody types to: from this node's own socket, and across the mesh from a controller. Called by
// daemon.ts and protocols.ts. Only controllers are answered across the mesh. Arguments are never told: they may hold secrets.

import { PassThrough } from 'node:stream';
import { decodeExec, type ExecBegin, type ExecChannel, type ExecEnd, encodeExec } from '../control/exec-frames.ts';
import { internalProblem, problemOf } from '../control/problems.ts';
import type { Mesh, PeerId, StreamHandler } from '../mesh/mesh.ts';
import type { Clock, TimerId } from './clock.ts';
import type { Engines } from './engines.ts';
import { ExecBusyError, ExecIdleError } from './errors.ts';
import { createResizes } from './exec-resizes.ts';
import { execIdleMs, execInputBytesMax, execSessionsMax } from './limits.ts';

export const execProtocol = '/selvedge/exec/1';

/** What the far end wants run; undefined when it has gone. */
export async function receiveBegin(channel: ExecChannel): Promise<ExecBegin | undefined> {
  const frame = await channel.receive();
  if (frame === undefined) return undefined;
  const first = decodeExec(frame);
  if (!('message' in first) || !('begin' in first.message)) throw new Error('an exec session begins with a command');
  return first.message.begin;
}

/** Tells the far end why there is no session. */
export async function refuseSession(channel: ExecChannel, error: unknown): Promise<void> {
  await channel.send(encodeExec({ message: { problem: problemOf(error) ?? internalProblem } })).catch(() => undefined);
  await channel.close();
}

/** A session that begins or has ended. */
export interface ExecEvent {
  instance: string;
  program: string;
  /** The node whose operator wants it, or its peer id. */
  by: string;
  terminal: boolean;
  /** How it ended. */
  ended?: string;
}

export function execEvent({ instance, command, terminal }: ExecBegin, by: string, ended?: string): ExecEvent {
  const [program = ''] = command;
  return { ...{ instance, program, by, terminal: terminal !== undefined }, ...(ended !== undefined && { ended }) };
}

/** For the ledger and the node's own events: the program and never its arguments or what is typed, which may be secrets. */
export function execText({ instance, program, by, terminal, ended }: ExecEvent): string {
  const what = `${program.slice(0, 100)}${terminal ? ', at a terminal,' : ''}`;
  if (ended === undefined) return `${what} is run beside ${instance} for the operator of ${by}`;
  return `${what} beside ${instance} for the operator of ${by} has ended: ${ended}`;
}

const endText = ({ status, signal }: ExecEnd): string =>
  status === undefined ? `by ${signal ?? 'a signal'}` : `status ${status}`;

class FarEndGone extends Error {}
const operatorGone = 'the operator has gone';

/** Resolves with how it ended. */
export type RunSession = (channel: ExecChannel, begin: ExecBegin, by: string) => Promise<string>;

/** Runs one session to its end: of the command, of the far end, or of the time in which nothing is said. */
export function createExecSessions(dependencies: {
  clock: Clock;
  engines: Pick<Engines, 'exec'>;
  /** Called before a command is run, and when it has ended. */
  told(event: ExecEvent): void;
  /** Hears of errors that nobody described. */
  problem(by: string, message: string): void;
}): RunSession {
  const { clock, engines, told, problem } = dependencies;
  let sessions = 0;

  return async (channel, begin, by) => {
    const { instance, command, terminal } = begin;
    if (sessions >= execSessionsMax) {
      const busy = new ExecBusyError(execSessionsMax);
      told(execEvent(begin, by, busy.message));
      await refuseSession(channel, busy);
      return busy.message;
    }
    sessions += 1;
    const over = new AbortController();
    let idle: TimerId | undefined;
    const stir = (): void => {
      clock.clearTimeout(idle);
      idle = clock.setTimeout(() => over.abort(new ExecIdleError(execIdleMs)), execIdleMs);
    };
    const typed = new PassThrough();
    typed.on('error', () => undefined);
    const resizes = createResizes(clock, over.signal);
    let ended = 'it could not be run';
    /** What was typed and is not taken yet. */
    let ahead = 0;

    async function listen(): Promise<void> {
      for (;;) {
        const frame = await channel.receive();
        if (frame === undefined) throw new FarEndGone();
        stir();
        const said = decodeExec(frame);
        if ('stream' in said) {
          ahead += said.bytes.byteLength;
          if (ahead > execInputBytesMax) throw new Error('the far end typed more than the command had taken');
          typed.write(said.bytes);
        } else if ('inputEnded' in said.message) {
          typed.end();
        } else if ('resized' in said.message) {
          resizes.tell(said.message.resized);
        }
      }
    }

    async function* input(): AsyncGenerator<Uint8Array> {
      for await (const bytes of typed as AsyncIterable<Buffer>) {
        yield bytes;
        ahead -= bytes.byteLength;
        await channel.send(encodeExec({ message: { taken: bytes.byteLength } }));
      }
    }

    stir();
    listen().catch((error: unknown) => over.abort(error));
    try {
      told(execEvent(begin, by));
      const { status, signal } = await engines.exec(instance, command, {
        signal: over.signal,
        outputBytesMax: 0,
        session: {
          input: input(),
          async output(stream, bytes) {
            stir();
            await channel.send(encodeExec({ stream, bytes }));
          },
          terminal: terminal && { ...terminal, resizes: resizes.sizes },
        },
      });
      ended = endText({ status, signal });
      await channel.send(encodeExec({ message: { ended: { status, signal } } }));
      await channel.close();
    } catch (error) {
      const { message } = error as Error;
      const left = over.signal.aborted && error !== over.signal.reason;
      ended = error instanceof FarEndGone ? operatorGone : message;
      if (!(error instanceof FarEndGone) && (left || problemOf(error) === undefined)) {
        problem(by, `a command beside ${instance} ended: ${message}`);
      }
      await refuseSession(channel, error);
    } finally {
      clock.clearTimeout(idle);
      typed.destroy();
      over.abort();
      sessions -= 1;
      told(execEvent(begin, by, ended));
    }
    return ended;
  };
}

/** The handler of a node for its controllers. */
export function serveExec(dependencies: { run: RunSession; isController(peerId: PeerId): boolean }): StreamHandler {
  return async (stream, from) => {
    if (!dependencies.isController(from)) throw new Error(`${from} is no controller: commands are not for it`);
    const begin = await receiveBegin(stream);
    if (begin !== undefined) await dependencies.run(stream, begin, from);
  };
}

/** Hands a session on to a linked peer, and frames to and fro until either end has gone. Resolves with how it ended. */
export async function relayExec(mesh: Mesh, peerId: PeerId, channel: ExecChannel, begin: ExecBegin): Promise<string> {
  const far = await mesh.open(peerId, execProtocol);
  await far.send(encodeExec({ message: { begin } }));
  let ended: string | undefined;
  const pass = async (from: ExecChannel, to: ExecChannel): Promise<void> => {
    for (;;) {
      const frame = await from.receive();
      if (frame === undefined) return;
      if (from === far) ended ??= endIn(frame);
      await to.send(frame);
    }
  };
  // The typing end says nothing more when it goes: the command goes with it.
  const typing = pass(channel, far).finally(() => {
    ended ??= operatorGone;
    return far.close().catch(() => undefined);
  });
  typing.catch(() => undefined);
  try {
    await pass(far, channel);
    await channel.close();
  } catch (error) {
    far.abort(error as Error);
    channel.abort(error as Error);
  }
  return ended ?? 'the session broke off';
}

/** How the node says that a session ended; undefined in other frames. */
function endIn(frame: Uint8Array): string | undefined {
  if (frame[0] !== 0) return undefined;
  const said = decodeExec(frame);
  if (!('message' in said)) return undefined;
  if ('ended' in said.message) return endText(said.message.ended);
  return 'problem' in said.message ? said.message.problem.detail : undefined;
}

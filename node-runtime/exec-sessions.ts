// Commands beside workloads that somebody types to: from this node's own socket, and across the mesh from a controller. Called by
// daemon.ts and protocols.ts. Only controllers are answered across the mesh. Arguments are never told: they may hold secrets.

import { PassThrough } from 'node:stream';
import { decodeExec, type ExecChannel, encodeExec } from '../control/exec-frames.ts';
import { internalProblem, problemOf } from '../control/problems.ts';
import type { Mesh, PeerId, StreamHandler } from '../mesh/mesh.ts';
import type { Clock, TimerId } from './clock.ts';
import type { Engines } from './engines.ts';
import { ExecBusyError, ExecIdleError } from './errors.ts';
import { execIdleMs, execInputBytesMax, execSessionsMax } from './limits.ts';

export const execProtocol = '/selvedge/exec/1';

export interface ExecBegin {
  instance: string;
  command: string[];
}

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

/** For the ledger and the node's own events: the program and never its arguments, which may hold secrets. */
export const execText = (instance: string, program: string, by: string): string =>
  `${program.slice(0, 100)} is run beside ${instance} for the operator of ${by}`;

class FarEndGone extends Error {}

export type RunSession = (channel: ExecChannel, begin: ExecBegin, by: string) => Promise<void>;

/** Runs one session to its end: of the command, of the far end, or of the time in which nothing is said. */
export function createExecSessions(dependencies: {
  clock: Clock;
  engines: Pick<Engines, 'exec'>;
  /** Called before a command is run. */
  told(instance: string, program: string, by: string): void;
  /** Hears of errors that nobody described. */
  problem(by: string, message: string): void;
}): RunSession {
  const { clock, engines, told, problem } = dependencies;
  let sessions = 0;

  return async (channel, { instance, command }, by) => {
    if (sessions >= execSessionsMax) return refuseSession(channel, new ExecBusyError(execSessionsMax));
    sessions += 1;
    const over = new AbortController();
    let idle: TimerId | undefined;
    const stir = (): void => {
      clock.clearTimeout(idle);
      idle = clock.setTimeout(() => over.abort(new ExecIdleError(execIdleMs)), execIdleMs);
    };
    const typed = new PassThrough();
    typed.on('error', () => undefined);
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
      told(instance, command[0] ?? '', by);
      const { status, signal } = await engines.exec(instance, command, {
        signal: over.signal,
        outputBytesMax: 0,
        session: {
          input: input(),
          async output(stream, bytes) {
            stir();
            await channel.send(encodeExec({ stream, bytes }));
          },
        },
      });
      await channel.send(encodeExec({ message: { ended: { status, signal } } }));
      await channel.close();
    } catch (error) {
      if (problemOf(error) === undefined && !(error instanceof FarEndGone)) {
        problem(by, `a command beside ${instance} ended: ${(error as Error).message}`);
      }
      await refuseSession(channel, error);
    } finally {
      clock.clearTimeout(idle);
      typed.destroy();
      sessions -= 1;
    }
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

/** Hands a session on to a linked peer, and frames to and fro until either end has gone. */
export async function relayExec(mesh: Mesh, peerId: PeerId, channel: ExecChannel, begin: ExecBegin): Promise<void> {
  const far = await mesh.open(peerId, execProtocol);
  await far.send(encodeExec({ message: { begin } }));
  const pass = async (from: ExecChannel, to: ExecChannel): Promise<void> => {
    for (;;) {
      const frame = await from.receive();
      if (frame === undefined) return;
      await to.send(frame);
    }
  };
  // The typing end says nothing more when it goes: the command goes with it.
  const typing = pass(channel, far).finally(() => far.close().catch(() => undefined));
  typing.catch(() => undefined);
  try {
    await pass(far, channel);
    await channel.close();
  } catch (error) {
    far.abort(error as Error);
    channel.abort(error as Error);
  }
}

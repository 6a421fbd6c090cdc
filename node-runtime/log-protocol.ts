// Logs across the mesh: a controller asks a node for the lines of one of its instances. Called by member.ts (serving) and
// controller.ts (asking). Only controllers are answered.

import { z } from 'zod';
import type { FrameStream, Mesh, PeerId, StreamHandler } from '../mesh/mesh.ts';
import type { LogLine, LogQuery } from './engine.ts';
import type { Engines } from './engines.ts';
import { InstanceUnknownError } from './errors.ts';
import type { GoneInstance } from './kept-logs.ts';
import { logGrepCharactersMax, logTailMax } from './limits.ts';

export const logsProtocol = '/selvedge/logs/1';

const request = z.strictObject({
  instance: z.string().min(1).max(255),
  tail: z.number().int().min(0).max(logTailMax),
  follow: z.boolean(),
  since: z.number().int().min(0).optional(),
  grep: z.string().min(1).max(logGrepCharactersMax).optional(),
  ignoreCase: z.boolean().optional(),
});

/** Whether an instance of this name, or of one that it is a part of, is gone from there. */
const search = z.strictObject({ gone: z.string().min(1).max(255) });
const found = z.object({ instance: z.string().min(1).max(255), goneAt: z.number() }).nullable();

/** Instead of a line: the node has no log of it. */
const unknown = z.object({ unknown: z.literal(true) });

const line = z.object({ at: z.number().optional(), stream: z.enum(['stdout', 'stderr']), text: z.string() });

const encode = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
const decode = (frame: Uint8Array): unknown => JSON.parse(Buffer.from(frame).toString('utf8'));

export function serveLogs(dependencies: {
  engines: Pick<Engines, 'logs' | 'gone'>;
  isController(peerId: PeerId): boolean;
}): StreamHandler {
  const { engines, isController } = dependencies;
  return async (stream, from) => {
    if (!isController(from)) throw new Error(`${from} is no controller: logs are not for it`);
    const frame = await stream.receive();
    if (frame === undefined) return;
    const asked = z.union([request, search]).parse(decode(frame));
    if ('gone' in asked) {
      await stream.send(encode((await engines.gone(asked.gone)) ?? null));
      await stream.close();
      return;
    }
    const { instance, ...query } = asked;
    const gone = new AbortController();
    // The asker says nothing more: what comes is its end.
    stream.receive().then(
      () => gone.abort(),
      () => gone.abort(),
    );
    try {
      for await (const one of engines.logs(instance, query, gone.signal)) await stream.send(encode(one));
    } catch (error) {
      if (!(error instanceof InstanceUnknownError)) throw error;
      await stream.send(encode({ unknown: true }));
    }
    await stream.close();
  };
}

/** Lines of an instance on a linked peer. Ends with the stream or the signal. Rejects with InstanceUnknownError where it has no log there. */
export async function* fetchLogs(
  mesh: Mesh,
  peerId: PeerId,
  asked: LogQuery & { instance: string },
  signal?: AbortSignal,
): AsyncGenerator<LogLine> {
  const stream: FrameStream = await mesh.open(peerId, logsProtocol, signal);
  try {
    await stream.send(encode(asked));
    for (;;) {
      const frame = await stream.receive(signal);
      if (frame === undefined) return;
      const said = z.union([line, unknown]).parse(decode(frame));
      if ('unknown' in said) throw new InstanceUnknownError(asked.instance);
      const { at, ...rest } = said;
      yield { ...rest, at };
    }
  } finally {
    await stream.close().catch(() => undefined);
  }
}

/** What a linked peer says of an instance that is gone from there. */
export async function findGone(
  mesh: Mesh,
  peerId: PeerId,
  name: string,
  signal: AbortSignal,
): Promise<GoneInstance | undefined> {
  const stream: FrameStream = await mesh.open(peerId, logsProtocol, signal);
  try {
    await stream.send(encode({ gone: name }));
    const frame = await stream.receive(signal);
    return frame === undefined ? undefined : (found.parse(decode(frame)) ?? undefined);
  } finally {
    await stream.close().catch(() => undefined);
  }
}

// `/v1/instances/NAME/exec`: a request on the API's socket that asks for another protocol, and becomes a channel of frames. Called by
// api-server.ts. It knows nothing of commands: what is said on the channel is for the function that it is given.

import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { NotFoundError, TooManySessionsError } from './errors.ts';
import { type ExecChannel, execProtocolName } from './exec-frames.ts';
import { execSessionsMax } from './limits.ts';
import { internalProblem, makeProblem, problemOf, problemType } from './problems.ts';
import { createSocketChannel } from './socket-channel.ts';
import type { InstanceView } from './views.ts';

export type Upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

export function createExecUpgrade(options: {
  instance(name: string): Promise<InstanceView | undefined>;
  /** Holds the session; resolves when it is over. */
  exec(instance: InstanceView, channel: ExecChannel): Promise<void>;
  report(error: unknown): void;
}): Upgrade {
  let sessions = 0;

  function refuse(socket: Duplex, error: unknown): void {
    const known = problemOf(error);
    if (known === undefined) options.report(error);
    const problem = known ?? internalProblem;
    const body = JSON.stringify(problem);
    const head = [
      `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? 'Refused'}`,
      `content-type: ${problemType}`,
      `content-length: ${Buffer.byteLength(body)}`,
      'connection: close',
    ];
    socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  }

  async function answer(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const encoded = /^\/v1\/instances\/([^/?]+)\/exec$/.exec(request.url ?? '')?.[1];
    if (encoded === undefined || request.headers.upgrade !== execProtocolName) {
      const problem = makeProblem(
        'no-such-route',
        `there is no ${request.url}`,
        'Use a CLI of the same version as the daemon.',
      );
      refuse(socket, Object.assign(new Error(problem.detail), { id: 'no-such-route', action: problem.action }));
      return;
    }
    const name = decodeURIComponent(encoded);
    const instance = await options.instance(name);
    if (instance === undefined) {
      throw new NotFoundError('instance', name, '`selvedge status` lists those that there are.');
    }
    if (sessions >= execSessionsMax) throw new TooManySessionsError(execSessionsMax);
    sessions += 1;
    try {
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ${execProtocolName}\r\n\r\n`);
      const channel = createSocketChannel(socket, head);
      await options.exec(instance, channel).catch((error: unknown) => {
        options.report(error);
        channel.abort(error as Error);
      });
    } finally {
      sessions -= 1;
    }
  }

  return (request, socket, head) => {
    // A client that goes must not bring the daemon down.
    socket.on('error', () => undefined);
    answer(request, socket, head).catch((error: unknown) => refuse(socket, error));
  };
}

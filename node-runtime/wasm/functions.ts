// The HTTP side of a function: each request becomes one run of the module, and what it prints the response. Called by runner.ts.
// Everything that a caller can bring about is bounded, and no request can keep another one from its turn for longer than timeoutMs.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { cgiEnvironment, cgiResponse } from './cgi.ts';
import { connectionsMax, requestBytesMax, requestReceiveMs } from './limits.ts';
import type { HttpSettings } from './settings.ts';
import type { Threads } from './threads.ts';

export interface Functions {
  readonly server: Server;
  /** Resolves once it listens; rejects when it cannot. */
  listen(): Promise<void>;
  /** No new requests; resolves when the ones that are there are answered. */
  close(): Promise<void>;
}

class BodyTooLongError extends Error {
  override readonly name = 'BodyTooLongError';
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > requestBytesMax) throw new BodyTooLongError();
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    bytes += piece.byteLength;
    if (bytes > requestBytesMax) throw new BodyTooLongError();
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

export function createFunctions(dependencies: {
  threads: Threads;
  http: HttpSettings;
  /** Why a request was not answered by the module: for the instance's log. */
  onFailure(text: string): void;
}): Functions {
  const { threads, http, onFailure } = dependencies;
  const { host, port, timeoutMs } = http;

  function refuse(response: ServerResponse, status: number, text: string): void {
    if (response.headersSent || response.destroyed) return;
    // The rest of a body that nobody reads would be taken for the next request.
    response.writeHead(status, {
      'content-type': 'text/plain; charset=utf-8',
      ...(status === 503 && { 'retry-after': '1' }),
      ...(status === 413 && { connection: 'close' }),
    });
    response.end(`${text}\n`);
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = 'GET', url = '/', headers, httpVersion } = request;
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    let body: Buffer;
    try {
      body = await readBody(request);
    } catch (error) {
      if (!(error instanceof BodyTooLongError)) return;
      return refuse(response, 413, `a request has at most ${requestBytesMax} bytes`);
    }
    const remoteAddress = request.socket.remoteAddress ?? '';
    const asked = { method, url, httpVersion, headers, bodyBytes: body.byteLength, remoteAddress, port };
    const result = await threads.run({ env: cgiEnvironment(asked), input: body }, gone.signal);
    if (result === 'busy') return refuse(response, 503, 'too many requests at a time');
    const fail = (status: number, told: string, why: string): void => {
      onFailure(`${method} ${JSON.stringify(url.slice(0, 200))}: ${why}`);
      refuse(response, status, told);
    };
    if (result === 'late') return fail(504, 'the function took too long', `it took longer than ${timeoutMs} ms`);
    if ('failed' in result) return fail(500, 'the function failed', result.failed);
    const said = cgiResponse(Buffer.from(result.output));
    if (typeof said === 'string') return fail(502, 'the function gave no answer', said);
    if (response.destroyed) return;
    response.writeHead(said.status, { ...said.headers, 'content-length': said.body.byteLength });
    response.end(said.body);
  }

  const server = createServer(
    { requestTimeout: requestReceiveMs, headersTimeout: requestReceiveMs },
    (request, response) => {
      answer(request, response).catch((error: Error) => {
        onFailure(`a request could not be answered: ${error.message}`);
        refuse(response, 500, 'the function failed');
      });
    },
  );
  server.maxConnections = connectionsMax;

  return {
    server,
    async listen() {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      server.once('error', reject);
      server.listen(port, host, resolve);
      await promise;
    },
    async close() {
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      server.closeIdleConnections();
      await promise;
    },
  };
}

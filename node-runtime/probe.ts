// Asks a workload once whether it is well: over HTTP or TCP, or by a command beside it. Called by the probe actor's port, which decides
// how often and what a failure means. It never follows a redirect and never reads more than a bounded body.

import { request } from 'node:http';
import { connect } from 'node:net';
import type { ProbeSpec } from '../control/plan.ts';
import type { ExecOptions, Execution } from './engine.ts';
import {
  PROBE_BODY_BYTES_MAX,
  PROBE_HEADER_BYTES_MAX,
  PROBE_REASON_CHARACTERS_MAX,
  probeOutputBytesMax,
} from './limits.ts';

export type ProbeResult = { ok: true } | { ok: false; reason: string };

export interface ProbeTarget {
  /** IP address that the workload listens on. */
  host: string;
  /** Port name of the microservice to the port that the instance was given. */
  ports: Record<string, number>;
  /** Runs a command beside the workload. */
  exec(command: string[], options: ExecOptions): Promise<Execution>;
}

/**
 * Runs one probe, at most `spec.timeoutMs` long. HTTP: GET, any status from 200 to 399 is well. TCP: a connection is well. Exec: exit
 * status 0 is well. Never rejects: what went wrong, a cancelled `signal` included, is the reason.
 */
export async function runProbe(spec: ProbeSpec, target: ProbeTarget, signal?: AbortSignal): Promise<ProbeResult> {
  const late = AbortSignal.timeout(spec.timeoutMs);
  const either = signal === undefined ? late : AbortSignal.any([signal, late]);
  if (either.aborted) return { ok: false, reason: 'the probe was cancelled' };
  try {
    const refusal = await ask(spec, target, either);
    return refusal === undefined ? { ok: true } : { ok: false, reason: refusal };
  } catch (error) {
    if (signal?.aborted === true) return { ok: false, reason: 'the probe was cancelled' };
    if (late.aborted) return { ok: false, reason: `no answer within ${spec.timeoutMs} ms` };
    return { ok: false, reason: describe(error) };
  }
}

/** Undefined when well, otherwise why not. */
async function ask(spec: ProbeSpec, target: ProbeTarget, signal: AbortSignal): Promise<string | undefined> {
  if ('exec' in spec) return askCommand(target, spec.exec.command, signal);
  const name = 'http' in spec ? spec.http.port : spec.tcp.port;
  const port = Object.hasOwn(target.ports, name) ? target.ports[name] : undefined;
  if (port === undefined) return `the probe names port ${name}, which the instance does not have`;
  return 'http' in spec
    ? await askHttp(target.host, port, spec.http.path, signal)
    : await askTcp(target.host, port, signal);
}

async function askCommand({ exec }: ProbeTarget, command: string[], signal: AbortSignal): Promise<string | undefined> {
  const ended = await exec(command, { signal, outputBytesMax: probeOutputBytesMax });
  if (ended.status === 0) return undefined;
  const how = ended.signal === undefined ? `exit status ${ended.status ?? 'unknown'}` : `ended by ${ended.signal}`;
  const said = excerpt(ended.output);
  return said === '' ? how : `${how}: ${said}`;
}

function askHttp(host: string, port: number, path: string, signal: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const asked = request({
      host,
      port,
      path: path.startsWith('/') ? path : `/${path}`,
      method: 'GET',
      agent: false,
      maxHeaderSize: PROBE_HEADER_BYTES_MAX,
      headers: { 'user-agent': 'selvedge-probe', accept: '*/*', connection: 'close' },
      signal,
    });
    asked.on('error', reject);
    asked.once('response', (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      const decide = () => {
        const status = response.statusCode ?? 0;
        asked.destroy();
        if (status >= 200 && status < 400) return resolve(undefined);
        const body = excerpt(Buffer.concat(chunks).toString());
        resolve(body === '' ? `HTTP status ${status}` : `HTTP status ${status}: ${body}`);
      };
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        bytes += chunk.byteLength;
        if (bytes >= PROBE_BODY_BYTES_MAX) decide();
      });
      response.once('end', decide);
      response.on('error', reject);
      response.once('close', () => reject(new Error('the connection was closed in the middle of the answer')));
    });
    asked.end();
  });
}

function askTcp(host: string, port: number, signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    const abort = () => {
      socket.destroy();
      reject(signal.reason);
    };
    signal.addEventListener('abort', abort, { once: true });
    socket.once('close', () => signal.removeEventListener('abort', abort));
    socket.on('error', reject);
    socket.once('connect', () => {
      socket.destroy();
      resolve(undefined);
    });
  });
}

function describe(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ECONNREFUSED') return 'connection refused: nothing listens there yet';
  if (code === 'ECONNRESET') return 'the connection was reset';
  return excerpt(message === undefined || message === '' ? String(error) : message);
}

/** A workload's own words, cut short and without control characters: they end up in documents and on terminals. */
function excerpt(text: string): string {
  const line = text.replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ').trim();
  return line.length > PROBE_REASON_CHARACTERS_MAX ? `${line.slice(0, PROBE_REASON_CHARACTERS_MAX)}…` : line;
}

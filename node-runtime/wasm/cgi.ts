// A request as the environment of a CGI program, and what such a program prints as a response (RFC 3875). Pure; called by functions.ts.

import { type IncomingHttpHeaders, type OutgoingHttpHeaders, validateHeaderName, validateHeaderValue } from 'node:http';

export interface CgiRequest {
  method: string;
  /** Path and query. */
  url: string;
  httpVersion: string;
  headers: IncomingHttpHeaders;
  bodyBytes: number;
  remoteAddress: string;
  port: number;
}

export interface CgiResponse {
  status: number;
  headers: OutgoingHttpHeaders;
  body: Buffer;
}

/** Of one connection, or variables of their own; `proxy` would become HTTP_PROXY, which libraries obey. */
const notPassedOn = new Set([
  ...['connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'te', 'trailer', 'proxy-connection'],
  ...['content-length', 'content-type', 'proxy'],
]);
/** The node's own HTTP says these. */
const notTaken = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'trailer',
  'content-length',
  'status',
]);
/** Of what a program prints before its body. */
const headerBytesMax = 32 * 1024;

export function cgiEnvironment(request: CgiRequest): Record<string, string> {
  const { method, url, headers, bodyBytes, remoteAddress, port } = request;
  const query = url.indexOf('?');
  const path = query < 0 ? url : url.slice(0, query);
  const env: Record<string, string> = {
    GATEWAY_INTERFACE: 'CGI/1.1',
    SERVER_SOFTWARE: 'selvedge',
    SERVER_NAME: (headers.host ?? '').replace(/:\d+$/, '') || 'localhost',
    SERVER_PORT: `${port}`,
    SERVER_PROTOCOL: `HTTP/${request.httpVersion}`,
    REQUEST_METHOD: method,
    SCRIPT_NAME: '',
    PATH_INFO: decoded(path),
    QUERY_STRING: query < 0 ? '' : url.slice(query + 1),
    REMOTE_ADDR: remoteAddress,
  };
  if (bodyBytes > 0) env['CONTENT_LENGTH'] = `${bodyBytes}`;
  if (headers['content-type'] !== undefined) env['CONTENT_TYPE'] = headers['content-type'];
  for (const [name, value] of Object.entries(headers)) {
    // With '_' in its name it could pass for another one.
    if (value === undefined || notPassedOn.has(name) || !/^[a-z0-9-]+$/.test(name)) continue;
    env[`HTTP_${name.toUpperCase().replaceAll('-', '_')}`] = Array.isArray(value) ? value.join(', ') : value;
  }
  return env;
}

function decoded(path: string): string {
  try {
    const text = decodeURIComponent(path);
    return text.includes('\0') ? path : text;
  } catch {
    return path;
  }
}

/** What was printed as a response, or why it is none. */
export function cgiResponse(output: Buffer): CgiResponse | string {
  const head = output.subarray(0, headerBytesMax).toString('latin1');
  const end = /\r?\n\r?\n/.exec(head);
  if (end === null) return 'it printed no CGI header that ends with an empty line';
  const headers: Record<string, string | string[]> = {};
  let status: number | undefined;
  for (const line of head.slice(0, end.index).split(/\r?\n/)) {
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(colon, 0)).toLowerCase();
    const value = line.slice(colon + 1).trim();
    try {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    } catch {
      return `its CGI header has a line that is no field: ${JSON.stringify(line.slice(0, 80))}`;
    }
    if (name === 'status') {
      status = Number(/^([2-5]\d\d)( |$)/.exec(value)?.[1]);
      if (Number.isNaN(status)) return `its status is none: ${JSON.stringify(value.slice(0, 80))}`;
    }
    if (notTaken.has(name)) continue;
    const before = headers[name];
    headers[name] = before === undefined ? value : [before, value].flat();
  }
  status ??= headers['location'] === undefined ? 200 : 302;
  return { status, headers, body: output.subarray(end.index + end[0].length) };
}

// How a UDP flow is asked for in the tunnel: extended CONNECT (RFC 8441) for `connect-udp`, with the default URI template of RFC 9298,
// section 2. Pure; called by both sides of the tunnel, beside the plain CONNECT of TCP.

import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2';
import type { MicroserviceName, ServicePort } from '../control/plan.ts';

const datagramProtocol = 'connect-udp';

/** On requests and answers: what follows are capsules (RFC 9297, section 3.4). */
export const capsuleHeader = { 'capsule-protocol': '?1' };

export function datagramRequest({ microservice }: Pick<MicroserviceName, 'microservice'>, port: number) {
  return {
    ':method': 'CONNECT',
    ':protocol': datagramProtocol,
    ':scheme': 'https',
    ':authority': microservice,
    ':path': `/.well-known/masque/udp/${microservice}/${port}/`,
    ...capsuleHeader,
  } satisfies OutgoingHttpHeaders;
}

/** Which port of the called microservice a CONNECT of either kind names; a status and a reason when it names none. */
export function requestedPort(
  headers: IncomingHttpHeaders,
  { microservice }: Pick<MicroserviceName, 'microservice'>,
): ServicePort | { status: number; reason: string } {
  if (headers[':method'] !== 'CONNECT') return { status: 405, reason: 'only CONNECT is served' };
  const protocol = headers[':protocol'];
  if (protocol === undefined) {
    const [, service, port] = /^([^:]+):(\d{1,5})$/.exec(headers[':authority'] ?? '') ?? [];
    if (service === microservice) return { port: Number(port) };
    return { status: 404, reason: 'the authority is not <service>:<port> of what is called' };
  }
  if (protocol !== datagramProtocol) return { status: 501, reason: `only ${datagramProtocol} is served` };
  const [, service, port] = /^\/\.well-known\/masque\/udp\/([^/]+)\/(\d{1,5})\/$/.exec(headers[':path'] ?? '') ?? [];
  if (service === undefined)
    return { status: 400, reason: 'the path is not /.well-known/masque/udp/<service>/<port>/' };
  if (service !== microservice) return { status: 404, reason: 'the path does not name what is called' };
  return { port: Number(port), protocol: 'udp' };
}

// Are the ports free that other nodes reach this one at; while a daemon runs, does it have them.

import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { defaultMeshPort, tunnelPort } from '../limits.ts';
import { type DoctorInput, type Finding, ok, ownNode, warn } from './finding.ts';

const mdnsPort = 5353;

/** The error's code; undefined when the port can be listened on. */
async function tcpFault(port: number): Promise<string | undefined> {
  const server = createServer();
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  server.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code ?? 'unknown'));
  server.listen({ port, host: '::', exclusive: true }, () => server.close(() => resolve(undefined)));
  return promise;
}

/** Shared, as mDNS responders do. */
async function udpFault(port: number): Promise<string | undefined> {
  const socket = createSocket({ type: 'udp4', reuseAddr: true });
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code ?? 'unknown'));
  socket.bind({ port, exclusive: true }, () => resolve(undefined));
  const fault = await promise;
  // After an error it is closed already.
  if (fault === undefined) socket.close();
  return fault;
}

/** `7433` of `/ip4/192.0.2.7/tcp/7433`. */
const portsOf = (addresses: readonly string[]): number[] => [
  ...new Set(addresses.map((address) => Number(address.split('/')[4])).filter((port) => port > 0)),
];

const anotherIsTaken =
  'Nothing, where nodes find each other by mDNS: another port is taken. Where they are told addresses (--join) or a firewall ' +
  'stands between them, see who has it (ss -ltnp) and end that.';

function taken(id: string, port: number, what: string, fault: string): Finding {
  return warn(id, `TCP port ${port}, where other nodes reach ${what}, cannot be used: ${fault}`, anotherIsTaken);
}

export async function checkMeshPort(input: DoctorInput): Promise<Finding> {
  const id = 'mesh-port';
  const used = portsOf(ownNode(input)?.addresses ?? []);
  if (used.includes(defaultMeshPort)) return ok(id, `the daemon listens on ${defaultMeshPort}`);
  if (used.length > 0) return ok(id, `the daemon listens on ${used.join(', ')}, not on the usual ${defaultMeshPort}`);
  const fault = await tcpFault(defaultMeshPort);
  return fault === undefined
    ? ok(id, `TCP port ${defaultMeshPort} is free`)
    : taken(id, defaultMeshPort, 'this one', fault);
}

export async function checkTunnelPort(input: DoctorInput): Promise<Finding> {
  const id = 'tunnel-port';
  const fault = await tcpFault(tunnelPort);
  if (fault === undefined) {
    const unused = input.daemon.kind === 'answers' ? ': the daemon has another one' : '';
    return ok(id, `TCP port ${tunnelPort} is free${unused}`);
  }
  // Whose it is only root can see of others' processes; a running daemon has it nearly always.
  if (input.daemon.kind === 'answers' && fault === 'EADDRINUSE') {
    return ok(id, `TCP port ${tunnelPort} is in use while the daemon runs`);
  }
  return taken(id, tunnelPort, 'its workloads', fault);
}

export async function checkMdnsPort(): Promise<Finding> {
  const id = 'mdns-port';
  const fault = await udpFault(mdnsPort);
  if (fault === undefined) return ok(id, `UDP port ${mdnsPort} can be shared`);
  return warn(
    id,
    `UDP port ${mdnsPort} cannot be used: ${fault}; this box finds no others by mDNS`,
    'See who holds it alone (ss -lunp) and let it share the port, or give addresses with --join.',
  );
}

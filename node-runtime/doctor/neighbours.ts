// Whom this node is linked to, and whether it reaches a controller. A running daemon knows; otherwise the known addresses are dialled.

import { connect } from 'node:net';
import { doctorProbeMs } from '../limits.ts';
import { type DoctorInput, type Finding, fail, ok, ownNode, warn } from './finding.ts';

const seeNetwork = 'See `selvedge nodes list` on a controller, cables and firewalls (TCP 7433 and 7434, UDP 5353).';

export function checkDaemon({ daemon, own }: DoctorInput): Finding {
  const id = 'daemon';
  if (daemon.kind === 'answers') return ok(id, `it runs, as ${daemon.status.node}`);
  if (daemon.kind === 'silent')
    return fail(id, daemon.reason, 'Look at its output, or at selvedge.log in the data folder.');
  const start =
    own?.membership === undefined
      ? '`selvedge up` to join a fabric, `selvedge up --found` to found one'
      : '`selvedge up`';
  return warn(id, 'it does not run: what this command finds, it reads from the data folder', `Start it: ${start}.`);
}

export function checkLinks(input: DoctorInput): Finding {
  const id = 'links';
  const node = ownNode(input);
  if (node === undefined || input.daemon.kind !== 'answers')
    return ok(id, 'only a running member of a fabric has links');
  const names = node.links.map(({ node: name }) => name);
  if (names.length > 0)
    return ok(id, `${names.length}: ${names.slice(0, 8).join(', ')}${names.length > 8 ? ', …' : ''}`);
  if (node.controller && input.daemon.status.nodes.length <= 1) return ok(id, 'this is the only node of its fabric');
  return warn(id, 'this node is linked to no other', seeNetwork);
}

/** Host and port of `/ip4/192.0.2.7/tcp/7433`. */
function endpointOf(address: string): { host: string; port: number } | undefined {
  const [, kind, host = '', protocol, port] = address.split('/');
  return protocol === 'tcp' && kind !== undefined && Number(port) > 0 ? { host, port: Number(port) } : undefined;
}

function answers({ host, port }: { host: string; port: number }): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ host, port, timeout: doctorProbeMs });
  socket.once('connect', () => resolve(true));
  socket.once('timeout', () => resolve(false));
  socket.once('error', () => resolve(false));
  return promise.finally(() => socket.destroy());
}

export async function checkControllers({ daemon, own }: DoctorInput): Promise<Finding> {
  const id = 'controllers';
  if (own?.controllerAuthority !== undefined) return ok(id, 'this node is a controller');
  if (own?.membership === undefined) return ok(id, 'this box belongs to no fabric yet');
  const action = `This node goes on with the plan that it has. ${seeNetwork}`;
  if (daemon.kind === 'answers') {
    return daemon.status.controllerReachable ? ok(id, 'one is linked') : warn(id, 'none is reachable', action);
  }
  const endpoints = own.membership.controllers.flatMap(({ addresses }) =>
    addresses.flatMap((one) => endpointOf(one) ?? []),
  );
  const found = await Promise.all(endpoints.slice(0, 16).map(answers));
  const first = endpoints[found.indexOf(true)];
  if (first !== undefined) return ok(id, `something answers at ${first.host}, port ${first.port}`);
  return warn(id, `none answers at the ${endpoints.length} addresses that are known`, action);
}

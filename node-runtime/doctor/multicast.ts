// Do multicast packets pass on each interface: by them boxes find each other (mDNS, RFC 6762). Sends one packet of its own to
// itself, on a port of its own: nobody else hears of it.

import { createSocket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import type { Clock } from '../clock.ts';
import { multicastEchoMs } from '../limits.ts';
import { type DoctorInput, type Finding, ok, warn } from './finding.ts';

const id = 'multicast';
const group = '224.0.0.251';

async function echoes(address: string, clock: Clock): Promise<boolean> {
  const socket = createSocket({ type: 'udp4', reuseAddr: true });
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const timer = clock.setTimeout(() => resolve(false), multicastEchoMs);
  socket.once('error', () => resolve(false));
  socket.once('message', () => resolve(true));
  socket.bind({ port: 0, exclusive: true }, () => {
    try {
      socket.addMembership(group, address);
      socket.setMulticastInterface(address);
      socket.setMulticastLoopback(true);
      socket.setMulticastTTL(0);
      socket.send('selvedge doctor', socket.address().port, group, (error) => error && resolve(false));
    } catch {
      resolve(false);
    }
  });
  try {
    return await promise;
  } finally {
    clock.clearTimeout(timer);
    try {
      socket.close();
    } catch {
      // An error has closed it.
    }
  }
}

export async function checkMulticast({ clock }: DoctorInput): Promise<Finding> {
  const addresses = Object.entries(networkInterfaces()).flatMap(([name, all]) =>
    (all ?? [])
      .filter(({ family, internal }) => family === 'IPv4' && !internal)
      .map(({ address }) => ({ name, address })),
  );
  const give = 'Give addresses instead: selvedge up --join HOST:PORT.';
  if (addresses.length === 0)
    return warn(id, 'this box has no network interface with an IPv4 address', 'Connect it to a network.');
  const heard = await Promise.all(addresses.map(({ address }) => echoes(address, clock)));
  const deaf = addresses.filter((_, index) => !heard[index]).map(({ name, address }) => `${name} (${address})`);
  if (deaf.length === 0) return ok(id, `works on ${addresses.map(({ name }) => name).join(', ')}`);
  return warn(
    id,
    `does not work on ${deaf.join(', ')}: boxes there are not found`,
    `See the firewall (UDP 5353, ${group}). ${give}`,
  );
}

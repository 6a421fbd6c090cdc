// The UDP sockets of a gateway: one for each address of the box, so that an answer comes from the address that was asked (RFC 1122, section
// 4.1.3.5), which one socket for all of them cannot say. Called by gateway-udp.ts. It reads and decides nothing of what arrives.

import type { Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import type { Clock, TimerId } from '../node-runtime/clock.ts';
import { createDatagramSocket, sendFrom } from './datagram-ends.ts';
import { type NetworkInterface, readInterfaces } from './interfaces.ts';
import { interfacePollMs } from './limits.ts';

export interface Source {
  address: string;
  port: number;
}

/** One address of this box. */
export interface GatewaySocket {
  readonly address: string;
  /** False when it has too much to send already, or is closed. */
  send(payload: Uint8Array, to: Source): boolean;
}

export interface GatewaySockets {
  /** Idempotent. */
  close(): void;
}

export interface GatewaySocketsOptions {
  clock: Clock;
  /** All of the box's when left out, also those that come later. */
  address: string | undefined;
  port: number;
  onDatagram(socket: GatewaySocket, payload: Uint8Array, from: Source): void;
  /** The box has this address no more. */
  onGone(socket: GatewaySocket): void;
  /** What the box has; as it says itself when left out. */
  read?: () => NetworkInterface[];
}

interface Open extends GatewaySocket {
  close(): void;
}

/** It went, or is not usable yet: IPv6 addresses are only after a moment in which nobody else has claimed them. */
const isNotThere = (error: unknown): boolean => (error as { code?: string }).code === 'EADDRNOTAVAIL';

/** Link-local addresses with their interface's name: its number is not taken here. */
const addressesOf = (interfaces: readonly NetworkInterface[]): string[] => [
  ...new Set(
    interfaces.flatMap(({ name, addresses }) =>
      addresses.map(({ address, zone }) => (zone === undefined ? address : `${address}%${name}`)),
    ),
  ),
];

/** Resolves once it listens on all that the box has now. Rejects with the system's error, and the address at which it came. */
export async function openGatewaySockets(options: GatewaySocketsOptions): Promise<GatewaySockets> {
  const { clock, address: only, port, onDatagram, onGone, read = () => readInterfaces(() => true) } = options;
  const sockets = new Map<string, Open>();
  let timer: TimerId | undefined;
  let closed = false;

  async function bind(address: string): Promise<Socket> {
    const socket = createDatagramSocket(isIPv6(address.split('%')[0] ?? '') ? 6 : 4);
    try {
      socket.bind({ address, port, exclusive: true });
      await once(socket, 'listening');
    } catch (error) {
      socket.close();
      throw Object.assign(error as Error, { at: address });
    }
    // Of a datagram that could not be read or sent: it is lost, as on a network.
    socket.on('error', () => undefined);
    return socket;
  }

  async function open(address: string): Promise<void> {
    const socket = await bind(address);
    if (closed || sockets.has(address)) {
      socket.close();
      return;
    }
    let isOpen = true;
    const one: Open = {
      address,
      send: (payload, to) => isOpen && sendFrom(socket, payload, () => undefined, to),
      close() {
        isOpen = false;
        socket.close();
      },
    };
    sockets.set(address, one);
    socket.on('message', (payload, from) => {
      if (isOpen) onDatagram(one, payload, from);
    });
  }

  /** As the box is now; what could not be had is asked for again each time. */
  function follow(): void {
    timer = clock.setTimeout(follow, interfacePollMs);
    const now = new Set(addressesOf(read()));
    for (const [address, socket] of [...sockets]) {
      if (now.has(address)) continue;
      sockets.delete(address);
      socket.close();
      onGone(socket);
    }
    for (const address of now) if (!sockets.has(address)) void open(address).catch(() => undefined);
  }

  function close(): void {
    closed = true;
    if (timer !== undefined) clock.clearTimeout(timer);
    timer = undefined;
    for (const socket of sockets.values()) socket.close();
    sockets.clear();
  }

  try {
    for (const address of only === undefined ? addressesOf(read()) : [only]) {
      try {
        await open(address);
      } catch (error) {
        if (only !== undefined || !isNotThere(error)) throw error;
      }
    }
    if (sockets.size === 0) throw new Error('the box has no address');
  } catch (error) {
    close();
    throw error;
  }
  if (only === undefined) timer = clock.setTimeout(follow, interfacePollMs);
  return { close };
}

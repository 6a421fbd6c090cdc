// The ports of this box that its gateways listen on: programs with networks of their own reach them, as everybody on the LAN does. Filled
// by the gateways that are opened through it, read by process-networks.ts. It decides nothing of who is let in: grants do.

import { isIPv4 } from 'node:net';
import type { OpenGateway } from '../mesh/gateway.ts';

export interface PublishedPort {
  /** IPv4, which is what programs have; all of the box's when undefined. */
  address: string | undefined;
  port: number;
  protocol: 'tcp' | 'udp';
}

export interface PublishedPorts {
  /** In an order that depends on nothing but what they are. */
  all(): readonly PublishedPort[];
  /** Called when they are others; in place of who was told before. */
  onChange(tell: () => void): void;
  /** Gateways that are opened by it are among them for as long as they listen. */
  following(open: OpenGateway): OpenGateway;
}

export function createPublishedPorts(): PublishedPorts {
  const listening = new Set<PublishedPort>();
  let tell = (): void => undefined;
  const keyOf = ({ address = '', port, protocol }: PublishedPort): string => `${port} ${protocol} ${address}`;

  return {
    all: () => [...listening].sort((one, other) => (keyOf(one) < keyOf(other) ? -1 : 1)),
    onChange(next) {
      tell = next;
    },
    following: (open) => async (options) => {
      const gateway = await open(options);
      const { address, port } = options;
      const everywhere = address === undefined || address === '0.0.0.0' || address === '::';
      const protocol = options.protocol === 'udp' ? 'udp' : 'tcp';
      const published: PublishedPort = { address: everywhere ? undefined : address, port, protocol };
      if (everywhere || isIPv4(address)) {
        listening.add(published);
        tell();
      }
      return {
        update: (rules) => gateway.update(rules),
        get connections() {
          return gateway.connections;
        },
        get refused() {
          return gateway.refused;
        },
        async close() {
          if (listening.delete(published)) tell();
          await gateway.close();
        },
      };
    },
  };
}

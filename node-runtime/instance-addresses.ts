// Which instance has which address of a range. Pure state; called by docker-network.ts and process-networks.ts. Addresses are given out
// here, so that the node knows an instance's address before it runs and no other one ever gets it in between.

import { createHash } from 'node:crypto';
import { NoFreeRangeError } from './errors.ts';
import { addressText, type Ipv4Range, rangeText } from './ipv4-range.ts';

/** Network, gateway (the first address), and the broadcast address at the end. */
const reservedFirst = 2;

export interface InstanceAddresses {
  /** The one that it has, or one that nobody has: the same for the same name where that is free. Throws NoFreeRangeError. */
  of(instance: string): string;
  has(instance: string): boolean;
  /** No instance has an address of it. */
  empty(): boolean;
  /** What runs already has this address. */
  hold(instance: string, address: string): void;
  /** The address that it had. */
  release(instance: string): string | undefined;
}

/** A number that the same seed always has. */
export const hashNumber = (seed: unknown): number =>
  createHash('sha256').update(JSON.stringify(seed)).digest().readUInt32BE(0);

/** The box's own address in the range. */
export const gatewayOf = ({ first }: Ipv4Range): string => addressText(first + 1);

export function createInstanceAddresses(range: Ipv4Range): InstanceAddresses {
  const byInstance = new Map<string, string>();
  const taken = new Set<string>();
  const hosts = 2 ** (32 - range.prefix) - reservedFirst - 1;

  function hold(instance: string, address: string): void {
    byInstance.set(instance, address);
    taken.add(address);
  }

  return {
    of(instance) {
      const own = byInstance.get(instance);
      if (own !== undefined) return own;
      // As many tries as there are addresses: a node runs fewer instances than that.
      for (let attempt = 0; attempt < hosts; attempt++) {
        const candidate = addressText(range.first + reservedFirst + ((hashNumber(instance) + attempt) % hosts));
        if (taken.has(candidate)) continue;
        hold(instance, candidate);
        return candidate;
      }
      throw new NoFreeRangeError(rangeText(range));
    },
    has: (instance) => byInstance.has(instance),
    empty: () => byInstance.size === 0,
    hold,
    release(instance) {
      const address = byInstance.get(instance);
      taken.delete(address ?? '');
      byInstance.delete(instance);
      return address;
    },
  };
}

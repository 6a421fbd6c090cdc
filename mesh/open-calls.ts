// The calls that are being carried, by instance, so that detaching an instance ends them. State only.

import type { PeerId } from './mesh.ts';

export interface OpenCall {
  reset(): void;
  /** At once, whatever is still to be sent. */
  destroy(): void;
}

export interface OpenCalls {
  /** Returns the function that takes it off again. */
  add(instances: readonly string[], call: OpenCall): () => void;
  count(instance: string): number;
  resetAll(instance: string): void;
  /** What resets have left of all calls. */
  destroyAll(): void;
}

/** What the calls of one node's workloads to an instance are counted by, beside the instance. */
export const callsOfPeer = (instance: string, peerId: PeerId): string => `${instance} ${peerId}`;

/** What the UDP flows of an instance, or to it, are kept by: they take no place of its connections. */
export const datagramsOf = (instance: string): string => `${instance} udp`;

export function createOpenCalls(): OpenCalls {
  const byInstance = new Map<string, Set<OpenCall>>();

  function remove(instance: string, call: OpenCall): void {
    const calls = byInstance.get(instance);
    calls?.delete(call);
    if (calls?.size === 0) byInstance.delete(instance);
  }

  return {
    add(instances, call) {
      for (const instance of instances) {
        const calls = byInstance.get(instance) ?? new Set();
        byInstance.set(instance, calls.add(call));
      }
      return () => {
        for (const instance of instances) remove(instance, call);
      };
    },
    count: (instance) => byInstance.get(instance)?.size ?? 0,
    resetAll(instance) {
      for (const call of [...(byInstance.get(instance) ?? [])]) call.reset();
    },
    destroyAll() {
      for (const calls of [...byInstance.values()]) for (const call of [...calls]) call.destroy();
    },
  };
}

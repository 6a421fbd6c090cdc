// A simulated box's hardware: what a scenario or a test has plugged in. The same port as node-runtime/hardware/system-hardware.ts; it
// outlives the daemon, as devices do.

import type { Device, Hardware } from '../control/hardware.ts';
import type { BoxHardware } from '../node-runtime/hardware/hardware.ts';

export interface SimHardware extends BoxHardware {
  plug(device: Device): void;
  unplug(id: string): void;
}

export function createSimHardware(): SimHardware {
  const listeners = new Set<() => void>();
  let devices: Device[] = [];
  const set = (next: Device[]): void => {
    devices = next;
    for (const listener of [...listeners]) listener();
  };
  return {
    async start() {},
    stop() {},
    current: (): Hardware => ({
      arch: 'x64',
      kernel: 'simulated',
      processor: { cores: 4 },
      memory: { bytes: 8 * 2 ** 30 },
      drives: [],
      networks: [],
      devices,
    }),
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    hostPath: (path) => path,
    plug: (device) => set([...devices.filter(({ id }) => id !== device.id), device]),
    unplug: (id) => set(devices.filter((one) => one.id !== id)),
  };
}

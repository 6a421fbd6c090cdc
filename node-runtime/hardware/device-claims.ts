// Which instance has which device of this box. Called by instances.ts: an instance takes all that it needs before it starts, keeps it
// through restarts, and gives it back when it ends for good or the device goes. It must never give one device to two unless both say
// `shared`, nor take one away that is there.

import { answers, type DeviceNeed, describeNeed, isSameThing } from '../../control/devices.ts';
import type { Device } from '../../control/hardware.ts';
import type { Clock } from '../clock.ts';
import type { Launch } from '../engine.ts';
import type { BoxHardware } from './hardware.ts';

type Needs = readonly DeviceNeed[] | undefined;

export interface DeviceClaims {
  /** Takes all that it needs or nothing; returns why it must wait, undefined when it has it. Safe to call again. */
  claim(instance: string, needs: Needs): string | undefined;
  /** One that ran on has what its environment says, also when that is gone by now: then `lost` says so. */
  adopt(instance: string, needs: Needs, env: Readonly<Record<string, string>>): void;
  /** Why an instance cannot go on with what it has; undefined while all of it is there. */
  lost(instance: string): string | undefined;
  release(instance: string): void;
  /** For its launch: what it is told, and what is put into its container. */
  given(instance: string, engine: string): { env: Record<string, string>; devices: NonNullable<Launch['devices']> };
}

/** What of a device makes it the one that was given: plugged in again it has other numbers, and open files on it are dead. */
type Given = Pick<Device, 'id' | 'paths' | 'plugging' | 'partOf'>;

interface Held {
  need: DeviceNeed;
  device: Given;
}

/** The devices of an instance as the node remembers them in its environment, beside `DEVICE_<NAME>`. */
const memory = 'SELVEDGE_DEVICES';

/** `DEVICE_<NAME>`: where a device is. */
export const deviceVariable = (name: string): string => `DEVICE_${name.toUpperCase().replaceAll('-', '_')}`;

function remembered(env: Readonly<Record<string, string>>, name: string): Given | undefined {
  try {
    const { id, paths, plugging, partOf } = JSON.parse(env[memory] ?? '{}')[name] as Given;
    if (typeof id !== 'string' || !Array.isArray(paths)) return undefined;
    return { id, paths: paths.map(String), ...(plugging !== undefined && { plugging }), ...(partOf && { partOf }) };
  } catch {
    return undefined;
  }
}

const isSamePlugging = (left: Given, right: Given): boolean =>
  left.plugging === right.plugging && left.paths.join() === right.paths.join();

export function createDeviceClaims({
  hardware,
  clock,
  onFreed,
}: {
  hardware: Pick<BoxHardware, 'current' | 'hostPath'>;
  clock: Pick<Clock, 'now'>;
  /** Somebody may have waited for what an instance had. Must not call back at once. */
  onFreed: () => void;
}): DeviceClaims {
  const held = new Map<string, Held[]>();
  /** By instance and name: since when a device is missing that it had. */
  const goneSince = new Map<string, Map<string, number>>();

  /** Why it is not there as it was given. */
  function missing({ device }: Held): string | undefined {
    const now = hardware.current().devices.find(({ id }) => id === device.id);
    if (now === undefined) return 'is gone';
    return isSamePlugging(now, device) ? undefined : 'was plugged in again';
  }

  /** Who has it, unless both can. */
  function holderOf(device: Given, { shared }: DeviceNeed, but: string): string | undefined {
    for (const [instance, devices] of held) {
      if (instance === but) continue;
      const taken = devices.some((one) => isSameThing(one.device, device) && !(shared && one.need.shared));
      if (taken) return instance;
    }
    return undefined;
  }

  function waitsFor(instance: string, need: DeviceNeed, more: string): string {
    const since = goneSince.get(instance)?.get(need.name);
    const gone = since === undefined ? '' : `, gone since ${new Date(since).toISOString()}`;
    return `waits for device ${need.name} (${describeNeed(need)})${more || gone}`;
  }

  function choose(instance: string, needs: readonly DeviceNeed[]): Held[] | string {
    const chosen: Held[] = [];
    for (const need of needs) {
      const fitting = hardware.current().devices.filter((device) => answers(device, need));
      let holder: string | undefined;
      const free = fitting.find((device) => {
        if (chosen.some((one) => isSameThing(one.device, device))) return false;
        const taken = holderOf(device, need, instance);
        holder ??= taken;
        return taken === undefined;
      });
      if (free !== undefined) chosen.push({ need, device: free });
      else if (holder !== undefined) return waitsFor(instance, need, `: ${holder} has it`);
      else return waitsFor(instance, need, fitting.length === 0 ? '' : ': this microservice has it under another name');
    }
    return chosen;
  }

  function drop(instance: string): void {
    if (held.delete(instance)) onFreed();
  }

  function release(instance: string): void {
    goneSince.delete(instance);
    drop(instance);
  }

  return {
    release,
    claim(instance, needs = []) {
      const before = held.get(instance);
      if (needs.length === 0) {
        release(instance);
        return undefined;
      }
      const same = before !== undefined && JSON.stringify(before.map(({ need }) => need)) === JSON.stringify(needs);
      if (same && before.every((one) => missing(one) === undefined)) return undefined;
      const chosen = choose(instance, needs);
      if (typeof chosen === 'string') {
        drop(instance);
        return chosen;
      }
      held.set(instance, chosen);
      goneSince.delete(instance);
      return undefined;
    },
    adopt(instance, needs = [], env) {
      if (needs.length === 0) return;
      const nothing: Given = { id: '', paths: [] };
      const adopted = needs.map((need): Held => {
        const device = remembered(env, need.name);
        // Somebody else got it while its engine was away and nobody knew of this one: then it counts as gone.
        const taken = device === undefined || holderOf(device, need, instance) !== undefined;
        return { need, device: taken ? nothing : device };
      });
      held.set(instance, adopted);
    },
    lost(instance) {
      const reasons = (held.get(instance) ?? []).flatMap((one) => {
        const reason = missing(one);
        if (reason === undefined) return [];
        const since = goneSince.get(instance) ?? new Map<string, number>();
        goneSince.set(instance, since);
        if (!since.has(one.need.name)) since.set(one.need.name, clock.now());
        return [`its device ${one.need.name} (${describeNeed(one.need)}) ${reason}`];
      });
      return reasons.length === 0 ? undefined : reasons.join('; ');
    },
    given(instance, engine) {
      const all = held.get(instance) ?? [];
      if (all.length === 0) return { env: {}, devices: [] };
      const inside = (path: string): string => (engine === 'docker' ? path : hardware.hostPath(path));
      const told = all.map(({ need, device }) => [deviceVariable(need.name), inside(device.paths[0] ?? '')]);
      const kept = all.map(({ need, device: { id, paths, plugging, partOf } }) => [
        need.name,
        { id, paths, plugging, partOf },
      ]);
      return {
        env: { ...Object.fromEntries(told), [memory]: JSON.stringify(Object.fromEntries(kept)) },
        devices: all.flatMap(({ device }) => device.paths.map((path) => ({ host: hardware.hostPath(path), path }))),
      };
    },
  };
}

// Devices and memory in placement: whether a node has what a microservice needs beside what it gave away already. Pure; called by
// placement.ts for places that are new alone: a device that goes moves nothing.

import { answers, type DeviceNeed, describeNeed, isSameThing } from './devices.ts';
import type { MicroserviceSpec, NodeRecord, PlacementHardware } from './fabric.ts';
import { memoryBytes } from './quantity.ts';

type PlacedDevice = PlacementHardware['devices'][number];

/** What of one node is given to instances that have their place there. */
export interface GivenAway {
  devices: { device: PlacedDevice; shared: boolean }[];
  memoryBytes: number;
}

export const nothingGiven = (): GivenAway => ({ devices: [], memoryBytes: 0 });

const declaredBytes = ({ resources }: MicroserviceSpec): number => memoryBytes(resources?.memory ?? '') ?? 0;

function free(device: PlacedDevice, shared: boolean, given: GivenAway['devices']): boolean {
  return !given.some((one) => isSameThing(one.device, device) && !(shared && one.shared));
}

/** The devices that it would get, or the need that nothing answers. */
function choose(needs: readonly DeviceNeed[], has: readonly PlacedDevice[], given: GivenAway['devices']) {
  const chosen: GivenAway['devices'] = [];
  for (const need of needs) {
    const shared = need.shared === true;
    const fitting = has.filter((device) => answers(device, need));
    const device = fitting.find(
      (one) => free(one, shared, given) && !chosen.some((other) => isSameThing(other.device, one)),
    );
    if (device === undefined) return { chosen, lacks: need, taken: fitting.length > 0 };
    chosen.push({ device, shared });
  }
  return { chosen, lacks: undefined, taken: false };
}

const mebibytes = (bytes: number): string => `${Math.floor(bytes / 2 ** 20)}Mi`;

/** Why a node may not get one more instance; undefined when it may. */
export function boxRefusal(
  { placementHardware: hardware }: NodeRecord,
  microservice: MicroserviceSpec,
  given: GivenAway,
): string | undefined {
  const { devices: needs = [] } = microservice.placement;
  const bytes = declaredBytes(microservice);
  if (needs.length > 0) {
    if (hardware === undefined) return 'has not said what devices it has';
    const { lacks, taken } = choose(needs, hardware.devices, given.devices);
    if (lacks !== undefined) return `has no ${taken ? 'free ' : ''}device for ${lacks.name} (${describeNeed(lacks)})`;
    if (microservice.engine === 'docker' && !hardware.devicesAllowed)
      return 'allows containers no devices (`selvedge up --allow devices` on it would)';
  }
  // A node that does not say how much it has is not held to it.
  if (bytes === 0 || hardware === undefined || hardware.memoryBytes === 0) return undefined;
  const left = hardware.memoryBytes - given.memoryBytes;
  if (bytes <= left) return undefined;
  return `has ${mebibytes(Math.max(0, left))} of its ${mebibytes(hardware.memoryBytes)} of memory left, ${microservice.resources?.memory} is wanted`;
}

/** Notes what an instance takes, as far as it is there: of one that waits for its device nothing is taken. */
export function giveAway(
  { placementHardware: hardware }: NodeRecord,
  microservice: MicroserviceSpec,
  given: GivenAway,
): void {
  given.memoryBytes += declaredBytes(microservice);
  const { devices: needs = [] } = microservice.placement;
  given.devices.push(...choose(needs, hardware?.devices ?? [], given.devices).chosen);
}

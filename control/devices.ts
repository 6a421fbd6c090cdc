// What a microservice may ask for of a node's devices, and which device answers it. Pure; called by the manifest's, the record's and the
// plan's schema, by placement and by the node's device claims, so that all of them mean the same device.

import { z } from 'zod';
import { deviceNeedsMax, deviceTextCharactersMax } from './limits.ts';
import { dnsLabelForm, dnsLabelPattern } from './names.ts';

export const deviceKinds = ['serial', 'video', 'usb', 'gpu', 'tpm'] as const;
export type DeviceKind = (typeof deviceKinds)[number];

/** A device that a microservice needs; what is not said does not matter. */
export interface DeviceNeed {
  /** DNS label, unique in the microservice: `DEVICE_<NAME>` says where the device is. */
  name: string;
  kind: DeviceKind;
  /** Four hexadecimal digits, small. */
  vendor?: string;
  product?: string;
  serial?: string;
  /** Of the device or of one of its links: `/dev/serial/by-id/…`. */
  path?: string;
  /** Others that say so too may have it at the same time. */
  shared?: boolean;
}

/** What of a device decides whether it answers a need. */
export interface Answering {
  kind: DeviceKind;
  paths: readonly string[];
  links?: readonly string[] | undefined;
  vendor?: string | undefined;
  product?: string | undefined;
  serial?: string | undefined;
}

export const hexId = z
  .string()
  .regex(/^[0-9a-f]{4}$/)
  .describe("four hexadecimal digits in small letters and in quotes, as `lsusb` prints them: '0403'");

export const devicePath = z
  .string()
  .max(255)
  .regex(/^\/dev(\/[A-Za-z0-9_.:+@=-]*[A-Za-z0-9_:+@=-])+$/)
  .describe('the path of a device: /dev/ttyS0 or /dev/serial/by-id/…');

const need = z
  .strictObject({
    name: z.string().regex(dnsLabelPattern).describe(dnsLabelForm),
    kind: z.enum(deviceKinds).describe("'serial', 'video', 'usb', 'gpu' or 'tpm'"),
    vendor: hexId.optional(),
    product: hexId.optional(),
    serial: z
      .string()
      .min(1)
      .max(deviceTextCharactersMax)
      .describe(`a string of at most ${deviceTextCharactersMax} characters`)
      .optional(),
    path: devicePath.optional(),
    shared: z.boolean().describe('true or false').optional(),
  })
  .describe('{name: meter, kind: serial}');

export const deviceNeeds = z
  .array(need)
  .max(deviceNeedsMax)
  .describe("a list: [{name: meter, kind: serial, vendor: '0403', product: '6001'}]");

export function answers(device: Answering, { kind, vendor, product, serial, path }: DeviceNeed): boolean {
  return (
    device.kind === kind &&
    (vendor === undefined || device.vendor === vendor) &&
    (product === undefined || device.product === product) &&
    (serial === undefined || device.serial === serial) &&
    (path === undefined || device.paths.includes(path) || device.links?.includes(path) === true)
  );
}

/** `serial 0403:6001, serial number A50285BI` */
export function describeNeed({ kind, vendor, product, serial, path }: DeviceNeed): string {
  const ids = vendor === undefined && product === undefined ? '' : ` ${vendor ?? '*'}:${product ?? '*'}`;
  const number = serial === undefined ? '' : `, serial number ${serial}`;
  return `${kind}${ids}${number}${path === undefined ? '' : `, ${path}`}`;
}

/** One thing that both would hold: a serial port and the USB device that it is part of are not for two. */
export function isSameThing(
  left: { id: string; partOf?: string | undefined },
  right: { id: string; partOf?: string | undefined },
): boolean {
  return left.id === right.id || left.partOf === right.id || right.partOf === left.id;
}

/** Keys in this order, and none that was not said: it becomes a part of what a specification's hash is made from. */
export function toNeed({ name, kind, vendor, product, serial, path, shared }: Loose<DeviceNeed>): DeviceNeed {
  return {
    name,
    kind,
    ...(vendor !== undefined && { vendor }),
    ...(product !== undefined && { product }),
    ...(serial !== undefined && { serial }),
    ...(path !== undefined && { path }),
    ...(shared === true && { shared }),
  };
}

type Loose<T> = { [K in keyof T]: undefined extends T[K] ? T[K] | undefined : T[K] };

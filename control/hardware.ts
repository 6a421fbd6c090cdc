// What a node says of its box: the published form (docs/hardware.schema.json is made from it), and reading it back. The node writes it
// (node-runtime/hardware/), controllers read it; nothing in it is taken on trust. It must never be read without these bounds.

import { z } from 'zod';
import { deviceKinds, hexId } from './devices.ts';
import {
  deviceIdCharactersMax,
  devicePathsMax,
  deviceTextCharactersMax,
  drivesMax,
  hardwareDevicesMax,
  hardwareNetworksMax,
} from './limits.ts';

/**
 * No character that steers a terminal, hides, or turns the direction of text. Written out, not by Unicode classes: validators of JSON Schema
 * differ in whether they know those.
 */
const plain =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it keeps out.
  /^[^\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]*$/;
const text = z.string().max(deviceTextCharactersMax).regex(plain);
const bytes = z.int().min(0);
const path = z
  .string()
  .max(255)
  .regex(/^\/dev\/[\x21-\x7e]+$/);

const device = z
  .object({
    id: z
      .string()
      .min(1)
      .max(deviceIdCharactersMax)
      .regex(plain)
      .describe('stays the same when it is plugged in again'),
    kind: z.enum(deviceKinds),
    name: text.describe('what it calls itself; nobody has checked that'),
    paths: z.array(path).min(1).max(devicePathsMax).describe('where it is now; the first is what a workload is told'),
    links: z.array(path).max(devicePathsMax).describe('paths that lead there and stay the same').optional(),
    vendor: hexId.optional(),
    product: hexId.optional(),
    serial: text.describe('the serial number that it tells').optional(),
    port: text.describe('where it is plugged in: the bus and the ports on the way').optional(),
    plugging: z.int().min(0).describe('another number each time that it is plugged in').optional(),
    partOf: z
      .string()
      .max(deviceIdCharactersMax)
      .regex(plain)
      .describe('id of the USB device that it is a part of')
      .optional(),
    driver: text.optional(),
  })
  .describe('a device that a microservice may ask for');

const network = z.object({
  name: text,
  kind: z.enum(['ethernet', 'wireless', 'other']),
  up: z.boolean(),
  mac: z
    .string()
    .regex(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/)
    .optional(),
  speedMbits: z.int().min(0).optional(),
});

const drive = z.object({
  name: text,
  bytes,
  removable: z.boolean(),
  rotating: z.boolean(),
  model: text.optional(),
});

export const hardwareSchema = z
  .object({
    arch: text.describe('as `process.arch` says: x64, arm64, …'),
    kernel: text,
    system: text.describe('name and version of the operating system').optional(),
    machine: text.describe('maker and model of the box').optional(),
    processor: z.object({ model: text.optional(), cores: z.int().min(1) }),
    memory: z.object({ bytes }),
    disk: z.object({ bytes }).describe('the file system of the data folder').optional(),
    drives: z.array(drive).max(drivesMax),
    networks: z.array(network).max(hardwareNetworksMax).describe('interfaces of the box itself, none of containers'),
    devices: z.array(device).max(hardwareDevicesMax),
  })
  .describe('what a Selvedge node says of its box, as `nodes describe -o json` has it in `hardware`');

export type Hardware = z.infer<typeof hardwareSchema>;
export type Device = z.infer<typeof device>;
export type NetworkInterface = z.infer<typeof network>;
export type Drive = z.infer<typeof drive>;

/** Of a node of another version: kinds that this one does not know are left out, the rest counts. */
export function readHardware(value: unknown): Hardware | undefined {
  const list = (value as { devices?: unknown } | null | undefined)?.devices;
  const devices = Array.isArray(list)
    ? list.slice(0, hardwareDevicesMax).filter((one) => device.safeParse(one).success)
    : [];
  const read = hardwareSchema.safeParse({ ...(typeof value === 'object' && value), devices });
  return read.success ? read.data : undefined;
}

/** JSON Schema (draft 2020-12); a newer node may say more than it knows. */
export const hardwareJsonSchema = (): Record<string, unknown> => z.toJSONSchema(hardwareSchema, { io: 'input' });

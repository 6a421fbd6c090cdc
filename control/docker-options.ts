// What a manifest may say of a container beyond its image and command, as zod schemas: their form is the same in a manifest and in a plan.
// Called by the manifest's and the plan's schema. What a node allows is the node's policy (node-runtime/policy.ts), not said here.

import { z } from 'zod';
import { capabilitiesMax, devicesMax } from './limits.ts';
import { dnsLabelForm, dnsLabelPattern } from './names.ts';
import type { DockerOptions } from './plan.ts';

const capability = z
  .string()
  .regex(/^(?!CAP_)[A-Z][A-Z_]{1,40}$/)
  .describe('a capability without CAP_, such as NET_ADMIN, or ALL');
const capabilityList = z.array(capability).max(capabilitiesMax).describe('a list of names without CAP_: [NET_ADMIN]');

const folder = (what: string) =>
  z
    .string()
    .max(1024)
    .regex(/^(\/(?!\.{1,2}(\/|$))[^/\0:,]+)+$/)
    .describe(what);

/** Of programs too, which have neither path nor hostPath (manifest-checks.ts). */
export const volume = z
  .strictObject({
    name: z.string().regex(dnsLabelPattern).describe(dnsLabelForm),
    path: folder('an absolute path in the container, such as /var/lib/data').optional(),
    hostPath: folder('an absolute path of the node, such as /srv/data').optional(),
    readOnly: z.boolean().describe('true or false').optional(),
  })
  .describe('{name: data, path: /var/lib/data}');

export const dockerFields = {
  user: z
    .string()
    .max(128)
    .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?$/)
    .describe("user or user:group, names of the image or numbers, as a string: '1000:1000'")
    .optional(),
  readOnlyRoot: z.boolean().describe('true or false').optional(),
  capabilities: z
    .strictObject({ add: capabilityList.optional(), drop: capabilityList.optional() })
    .describe('{add: [NET_ADMIN], drop: [ALL]}, each as wanted')
    .optional(),
  privileged: z.boolean().describe('true or false').optional(),
  devices: z
    .array(
      z
        .string()
        .max(255)
        .regex(/^\/dev(\/[A-Za-z0-9_.:-]*[A-Za-z0-9_:-])+$/)
        .describe('the path of a device: /dev/ttyUSB0'),
    )
    .max(devicesMax)
    .describe('a list of devices: [/dev/ttyUSB0]')
    .optional(),
};

export const dockerFieldNames = Object.keys(dockerFields) as (keyof typeof dockerFields)[];

type Said = { [Name in keyof DockerOptions]?: unknown };

/** Those that are said: a specification's hash must not follow a version of the program that knows more. */
export function dockerOptionsOf(said: Said): DockerOptions {
  return Object.fromEntries(
    dockerFieldNames.filter((name) => said[name] !== undefined).map((name) => [name, said[name]]),
  ) as DockerOptions;
}

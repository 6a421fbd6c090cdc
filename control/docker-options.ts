// What a manifest may say of a container beyond its image and command, as zod schemas: their form is the same in a manifest and in a plan.
// Called by the manifest's and the plan's schema. What a node allows is the node's policy (node-runtime/policy.ts), not said here.

import { isIP } from 'node:net';
import { z } from 'zod';
import { capabilitiesMax, containerLabelsMax, devicesMax, extraHostsMax, gpusMax, logFilesMax } from './limits.ts';
import { dnsLabelForm, dnsLabelPattern } from './names.ts';
import type { DockerOptions } from './plan.ts';
import { logFileBytes, logFileForm } from './quantity.ts';

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

const ulimitPattern =
  /^(core|cpu|data|fsize|locks|memlock|msgqueue|nice|nofile|nproc|rss|rtprio|rttime|sigpending|stack)$/;
const ulimitForm = 'nofile, nproc, memlock, core or another limit of setrlimit(2), without RLIMIT_';
const ulimit = z.int().min(0).describe('a whole number from 0 on');

/** An index, a UUID, or one of a part of a processor, as NVIDIA names them. */
const gpuPattern = /^[A-Za-z0-9][A-Za-z0-9:/_-]{0,127}$/;

export const dockerFields = {
  user: z
    .string()
    .max(128)
    .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?$/)
    .describe("user or user:group, names of the image or the node, or numbers, as a string: '1000:1000'")
    .optional(),
  readOnlyRoot: z.boolean().describe('true or false').optional(),
  capabilities: z
    .strictObject({ add: capabilityList.optional(), drop: capabilityList.optional() })
    .describe('{add: [NET_ADMIN], drop: [ALL]}, each as wanted')
    .optional(),
  privileged: z.boolean().describe('true or false').optional(),
  hostNetwork: z.boolean().describe('true or false').optional(),
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
  gpus: z
    .union([z.literal('all'), z.int().min(1).max(gpusMax), z.array(z.string().regex(gpuPattern)).min(1).max(gpusMax)])
    .describe(`all, how many (1 to ${gpusMax}), or a list of ids: [GPU-3a23c669]`)
    .optional(),
  logging: z
    .strictObject({
      maxSize: z
        .string()
        .refine((text) => logFileBytes(text) !== undefined)
        .describe(logFileForm)
        .optional(),
      maxFiles: z.int().min(1).max(logFilesMax).describe(`a whole number from 1 to ${logFilesMax}`).optional(),
    })
    .describe('{maxSize: 10Mi, maxFiles: 3}, each as wanted')
    .optional(),
  pullPolicy: z.enum(['ifNotPresent', 'always', 'never']).describe("'ifNotPresent', 'always' or 'never'").optional(),
  platform: z
    .string()
    .regex(/^[a-z0-9]{1,32}\/[a-z0-9_]{1,32}(\/[a-z0-9]{1,16})?$/)
    .describe('os/architecture, with a variant as wanted: linux/arm64')
    .optional(),
  ulimits: z
    .record(
      z.string().regex(ulimitPattern).describe(ulimitForm),
      z.strictObject({ soft: ulimit, hard: ulimit }).describe('{soft: 1024, hard: 4096}'),
    )
    .describe('an object: {nofile: {soft: 1024, hard: 4096}}')
    .optional(),
  labels: z
    .record(
      z
        .string()
        .max(128)
        .regex(/^(?!io\.selvedge\.)[a-z0-9]([a-z0-9._/-]*[a-z0-9])?$/)
        .describe("small letters, digits, '.', '-', '_' and '/', not beginning with io.selvedge."),
      z.string().max(1024).describe('a string of at most 1024 characters'),
    )
    .refine((labels) => Object.keys(labels).length <= containerLabelsMax, `has more than ${containerLabelsMax} labels`)
    .describe('an object of strings: {org.example.team: cooling}')
    .optional(),
  extraHosts: z
    .record(
      z
        .string()
        .max(253)
        .regex(/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/)
        .describe('a host name in small letters'),
      z
        .string()
        .refine((text) => isIP(text) !== 0)
        .describe('an IP address'),
    )
    .refine((hosts) => Object.keys(hosts).length <= extraHostsMax, `has more than ${extraHostsMax} names`)
    .describe('an object: {printer: 192.0.2.7}')
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

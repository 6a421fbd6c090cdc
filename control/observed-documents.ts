// What a node writes into its mailbox, read back: an admitted node may be a broken or a hostile one, so nothing in it is taken on trust.
// Called by status-reader.ts. It must never refuse a whole document for one part that is malformed, nor let through what a view or a
// table cannot show.

import { z } from 'zod';
import type { ObservedInstance, ObservedNode } from './fabric.ts';
import {
  observedAddressesMax,
  observedCostMicrosecondsMax,
  observedHistoryMax,
  observedLinksMax,
  observedNameCharactersMax,
  observedProblemsMax,
  observedReasonCharactersMax,
  observedUnreachedMax,
} from './limits.ts';
import { probeKinds } from './plan.ts';
import { isVersion } from './plan-version.ts';
import { storedProtocol } from './ports.ts';
import type { StoredDocument } from './store.ts';

/** Milliseconds since 1970 that a date can have (ECMA-262, section 21.4.1.1). */
const timeMax = 8.64e15;
const time = z.number().min(-timeMax).max(timeMax);
const cut = (charactersMax: number) => z.string().transform((text) => text.slice(0, charactersMax));
const name = cut(observedNameCharactersMax);
const reason = cut(observedReasonCharactersMax);
const address = z.object({ port: name, host: name, hostPort: z.number(), protocol: storedProtocol });

/** Of a list what has the form; what has not is left out. */
const some = <T extends z.ZodType>(item: T, itemsMax: number) =>
  z.array(z.unknown()).transform((all) =>
    all.slice(0, itemsMax).flatMap((one) => {
      const read = item.safeParse(one);
      return read.success ? [read.data] : [];
    }),
  );

const probe = z.object({ judgement: z.enum(['passing', 'failing', 'failed']), reason, since: time });

/** A node may say more than this version knows: that is left out. */
const observedInstance = z.object({
  instance: z.string(),
  engine: name.catch(''),
  state: name,
  ready: z.boolean(),
  reason,
  since: time.optional(),
  restarts: z.number(),
  specHash: z.string(),
  content: z.string().optional(),
  limits: reason.optional(),
  pid: z.number().optional(),
  nextTryAt: time.optional(),
  failures: z.number().optional(),
  history: some(z.object({ at: time, state: name, ready: z.boolean(), reason }), observedHistoryMax).optional(),
  probes: z.partialRecord(z.enum(probeKinds), probe).optional(),
  exit: z
    .object({
      at: time,
      status: z.number().optional(),
      signal: name.optional(),
      outOfMemory: z.literal(true).optional(),
    })
    .optional(),
  addresses: some(address, observedAddressesMax).optional(),
  version: z.unknown().optional(),
});

/** What is malformed is as if it were not said. */
const maybe = <T extends z.ZodType>(item: T) => item.optional().catch(undefined);
const bytes = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

const link = z.object({
  ...{ peerId: name, node: name, kind: name, roundTripMs: z.number().optional() },
  router: maybe(z.enum(['interior', 'edge'])),
  costMicroseconds: maybe(z.number().int().min(1).max(observedCostMicrosecondsMax)),
  ...{ since: maybe(time), address: maybe(name), through: maybe(name), indirect: maybe(reason) },
  ...{ sentBytes: maybe(bytes), receivedBytes: maybe(bytes) },
});

const observedNode = z.object({
  software: name.catch('another version'),
  links: some(link, observedLinksMax),
  at: maybe(time),
  unreached: maybe(some(z.object({ peerId: name, reason, since: time }), observedUnreachedMax)),
  addresses: some(name, observedAddressesMax),
  problems: some(z.object({ at: time, message: reason }), observedProblemsMax),
  version: z.unknown().optional(),
  policy: z.unknown().optional(),
  hardware: z.unknown().optional(),
  location: z.unknown().optional(),
  staged: z.unknown().optional(),
  calls: z.unknown().optional(),
  gateways: z.unknown().optional(),
});

/** Undefined for what is none. */
export function readObservedInstance(document: StoredDocument): ObservedInstance | undefined {
  const read = observedInstance.safeParse(document);
  const isOwn = read.success && document._id === `observed/instance/${read.data.instance}`;
  return isOwn ? (read.data as unknown as ObservedInstance) : undefined;
}

/** The same. What it says of its policy, its box and what it stages is read where that is used. */
export function readObservedNode(document: StoredDocument | undefined): ObservedNode | undefined {
  if (document === undefined || (document['version'] !== undefined && !isVersion(document['version'])))
    return undefined;
  const read = observedNode.safeParse(document);
  return read.success ? (read.data as unknown as ObservedNode) : undefined;
}

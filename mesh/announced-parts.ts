// Which instances a node says in which part of its announcement. Called by node-runtime/announcer.ts. An instance keeps its part for as
// long as it is announced: when one changes, one part is said again, whatever else the node serves. It signs and sends nothing.

import type { Announcement } from './announcement-format.ts';
import { announcementInstancesMax, announcementPartsMax } from './limits.ts';

type Announced = Announcement['instances'];

export interface AnnouncedParts {
  /** By part, from 0; those that were in use before and are empty now too. What fits in no part is left out. */
  divide(instances: Announced): ReadonlyMap<number, Announced>;
}

export function createAnnouncedParts(): AnnouncedParts {
  const partOf = new Map<string, number>();
  /** How many instances each part has; as long as parts were ever in use, and at least one. */
  const counts = [0];

  function place(): number | undefined {
    const free = counts.findIndex((count) => count < announcementInstancesMax);
    if (free >= 0) return free;
    return counts.length < announcementPartsMax ? counts.push(0) - 1 : undefined;
  }

  return {
    divide(instances) {
      const names = new Set(instances.map(({ instance }) => instance));
      for (const [instance, part] of partOf) {
        if (names.has(instance)) continue;
        partOf.delete(instance);
        counts[part] = (counts[part] ?? 1) - 1;
      }
      const parts = new Map<number, Announced>();
      for (const announced of instances) {
        const part = partOf.get(announced.instance) ?? place();
        if (part === undefined) continue;
        if (!partOf.has(announced.instance)) counts[part] = (counts[part] ?? 0) + 1;
        partOf.set(announced.instance, part);
        parts.set(part, [...(parts.get(part) ?? []), announced]);
      }
      for (const part of counts.keys()) if (!parts.has(part)) parts.set(part, []);
      return parts;
    },
  };
}

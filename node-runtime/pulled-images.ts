// Which images this node pulled: a small journal in the data folder, so that a later daemon knows as well. Called by docker-pulls.ts and
// image-collector.ts. What is not in it is not ours; it never holds up a pull: what cannot be stored is told, and then nobody's.

import type { Clock } from './clock.ts';
import type { Disk } from './disk.ts';
import { pulledImagesMax } from './limits.ts';

export interface PulledImage {
  /** Docker's id of the image. */
  id: string;
  /** What it was pulled as. */
  references: string[];
  /** Milliseconds since 1970. */
  pulledAt: number;
  /** How long looks have found it unused. Counted from look to look, so that a clock that jumps makes no image old. */
  unusedMs: number;
}

export interface Journal {
  /** Of the last look. */
  lookedAt: number;
  /** Pulls that have begun: what a daemon was killed in. */
  pulling: string[];
  images: PulledImage[];
}

export interface PulledImages {
  /** Resolves once it is stored that a pull begins. Never rejects. */
  begin(reference: string): Promise<void>;
  /** `id` is the image that is there now, when it was not on this box before; undefined when nothing came. Never rejects. */
  end(reference: string, id: string | undefined): Promise<void>;
  /** This daemon is pulling it. */
  isPulling(reference: string): boolean;
  read(): Promise<Readonly<Journal>>;
  /** What `next` makes of the journal as it is then; an image that did not change is the same object. Never rejects. */
  change(next: (journal: Journal) => Journal): Promise<void>;
}

const file = 'pulled-images.json';
const empty = (): Journal => ({ lookedAt: 0, pulling: [], images: [] });

const isText = (value: unknown): value is string => typeof value === 'string';

function isPulled(value: unknown): value is PulledImage {
  const { id, references, pulledAt, unusedMs } = (value ?? {}) as Partial<Record<keyof PulledImage, unknown>>;
  const texts = Array.isArray(references) && references.every(isText);
  return isText(id) && texts && Number.isFinite(pulledAt) && Number.isFinite(unusedMs);
}

/** What is dropped stays on the box. */
const bounded = ({ lookedAt, pulling, images }: Journal): Journal => ({
  lookedAt,
  pulling: pulling.slice(-pulledImagesMax),
  images: images.slice(-pulledImagesMax),
});

/** A damaged one is an empty one: then these images stay, which is safe. */
function parse(text: string): Journal {
  try {
    const { lookedAt, pulling, images } = JSON.parse(text) as Partial<Record<keyof Journal, unknown>>;
    return bounded({
      lookedAt: Number.isFinite(lookedAt) ? (lookedAt as number) : 0,
      pulling: Array.isArray(pulling) ? pulling.filter(isText) : [],
      images: Array.isArray(images) ? images.filter(isPulled) : [],
    });
  } catch {
    return empty();
  }
}

export function createPulledImages({
  disk,
  clock,
  onProblem,
}: {
  disk: Disk;
  clock: Clock;
  onProblem(message: string): void;
}): PulledImages {
  let journal: Journal | undefined;
  let last: Promise<unknown> = Promise.resolve();
  const running = new Set<string>();

  async function load(): Promise<Journal> {
    if (journal !== undefined) return journal;
    const content = await disk.read(file);
    journal ??= content === undefined ? empty() : parse(Buffer.from(content).toString('utf8'));
    return journal;
  }

  /** One after the other, and what could not be stored is not remembered either. */
  function change(next: (journal: Journal) => Journal): Promise<void> {
    const done = last.then(async () => {
      try {
        const before = await load();
        const after = bounded(next(before));
        if (JSON.stringify(after) === JSON.stringify(before)) return;
        await disk.write(file, JSON.stringify(after));
        journal = after;
      } catch (error) {
        onProblem(`which images were pulled could not be stored: ${(error as Error).message}`);
      }
    });
    last = done;
    return done;
  }

  return {
    begin(reference) {
      running.add(reference);
      return change((now) => ({ ...now, pulling: [...without(now.pulling, reference), reference] }));
    },
    async end(reference, id) {
      await change((now) => {
        const pulling = without(now.pulling, reference);
        if (id === undefined) return { ...now, pulling };
        const known = now.images.find((image) => image.id === id);
        const references = [...without(known?.references ?? [], reference), reference];
        const image = { id, references, pulledAt: clock.now(), unusedMs: 0 };
        return { ...now, pulling, images: [...now.images.filter((one) => one !== known), image] };
      });
      running.delete(reference);
    },
    isPulling: (reference) => running.has(reference),
    read: load,
    change,
  };
}

const without = (references: readonly string[], reference: string): string[] =>
  references.filter((one) => one !== reference);

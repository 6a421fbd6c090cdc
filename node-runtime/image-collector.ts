// Removes images that this node pulled and that nothing has used for a while, and under disk pressure the one that was unused longest, one
// by one until there is room. Called by docker-engine.ts. It removes nothing before it was told what the plan wants, nothing that a
// container has, and nothing that this node did not pull or that somebody gave another name.

import type { Clock, TimerId } from './clock.ts';
import type { DockerImages, LocalImage } from './docker-image-api.ts';
import { spellingsOf } from './image-names.ts';
import { imageBytesFreeMin, imageBytesFreePartMin, imageLookMs, imageUnusedMsMax } from './limits.ts';
import type { PulledImage, PulledImages } from './pulled-images.ts';

export interface ImageCollector {
  /** References that the plan wants: from now on others may go. */
  want(references: readonly string[]): void;
  /** Looks now: Docker can be used, or something was pulled. */
  soon(): void;
  start(): void;
  /** Removes nothing more; does not wait for an answer of Docker. */
  stop(): void;
}

export interface ImageCollectorDependencies {
  clock: Clock;
  pulled: PulledImages;
  /** After so long an image that nothing uses is removed. */
  unusedMsMax?: number | undefined;
  /** Undefined while Docker is away: then later. */
  docker(): DockerImages | undefined;
  /** What was removed, in words. */
  onRemoved(message: string): void;
  onProblem(message: string): void;
}

/** One spelling of all: `web` is `docker.io/library/web:latest`, which Docker lists as `web:latest` and podman in full. */
export const fullName = (reference: string): string => spellingsOf(reference)[0] ?? reference;

/** `host/name` of `host/name:tag` or `host/name@sha256:…`. */
const repositoryOf = (name: string): string => name.replace(/@.*$/, '').replace(/:[^/]*$/, '');

/** Every name that it has is one under which this node pulled it. */
export function isOurs({ tags, digests }: LocalImage, references: readonly string[]): boolean {
  const ours = references.map(fullName);
  const repositories = new Set(ours.map(repositoryOf));
  return (
    tags.every((tag) => ours.includes(fullName(tag))) &&
    digests.every((digest) => repositories.has(repositoryOf(fullName(digest))))
  );
}

/** Too little is free when both say so: a tenth of a large disk is much, and 2 GiB of a small card are most of it. */
export function isPressed(space: { bytesFree: number; bytes: number } | undefined): boolean {
  if (space === undefined) return false;
  return space.bytesFree < Math.min(imageBytesFreeMin, space.bytes * imageBytesFreePartMin);
}

/** Unused longest first; of those the one that was pulled first. */
const byAge = (one: PulledImage, other: PulledImage): number =>
  other.unusedMs - one.unusedMs || one.pulledAt - other.pulledAt;

export function createImageCollector(dependencies: ImageCollectorDependencies): ImageCollector {
  const { clock, pulled, unusedMsMax = imageUnusedMsMax, docker, onRemoved, onProblem } = dependencies;
  let wanted: ReadonlySet<string> | undefined;
  let timer: TimerId | undefined;
  let stopped = true;
  let looking = false;
  let again = false;
  let said: string | undefined;

  /** Takes out what is no longer there or no longer ours, adds what a killed daemon pulled, and notes who is unused for how long. */
  async function look(api: DockerImages): Promise<{ unused: PulledImage[]; there: Map<string, LocalImage> }> {
    const nothing = { unused: [], there: new Map() };
    const before = await pulled.read();
    const there = new Map((await api.images()).map((image) => [image.id, image]));
    const used = await api.usedImages();
    if (stopped) return nothing;
    for (const { parent } of there.values()) if (parent !== undefined) used.add(parent);
    const left = before.pulling.filter((reference) => !pulled.isPulling(reference));
    const isUsed = ({ id, references }: PulledImage): boolean =>
      used.has(id) || references.some((one) => wanted?.has(one) === true || pulled.isPulling(one));
    const now = clock.now();
    await pulled.change((journal) => {
      // A clock that jumped, and a box that was off, count for one look.
      const passedMs = Math.min(Math.max(0, now - journal.lookedAt), imageLookMs);
      const known = journal.images.flatMap((image) => {
        if (!before.images.includes(image)) return [image];
        const local = there.get(image.id);
        if (local === undefined || !isOurs(local, image.references)) return [];
        if (isUsed(image)) return [image.unusedMs === 0 ? image : { ...image, unusedMs: 0 }];
        return [{ ...image, unusedMs: image.unusedMs + passedMs }];
      });
      const found = left.flatMap((reference) =>
        [...there.values()]
          .filter(
            ({ id, tags }) =>
              tags.some((tag) => fullName(tag) === fullName(reference)) && !known.some((image) => image.id === id),
          )
          .filter((image) => isOurs(image, [reference]))
          .map(({ id }) => ({ id, references: [reference], pulledAt: now, unusedMs: 0 })),
      );
      const images = [...known, ...found];
      const pulling = journal.pulling.filter((reference) => !left.includes(reference));
      const idle = images.every(({ unusedMs }, index) => unusedMs === journal.images[index]?.unusedMs);
      // While everything is used nothing is written.
      return { lookedAt: idle && images.every(isUsed) ? journal.lookedAt : now, pulling, images };
    });
    const { images } = await pulled.read();
    return { unused: images.filter((image) => !isUsed(image)).sort(byAge), there };
  }

  async function remove(api: DockerImages, image: PulledImage, local: LocalImage, why: string): Promise<void> {
    const names = local.tags.length > 0 ? local.tags : [local.id];
    for (const name of names) if (!(await api.removeImage(name))) return;
    await pulled.change((journal) => ({ ...journal, images: journal.images.filter(({ id }) => id !== image.id) }));
    const size = `${Math.round(local.bytes / 1_000_000)} MB`;
    onRemoved(`removed the image ${image.references.join(', ')} (${size}), which this node had pulled: ${why}`);
  }

  async function collect(): Promise<void> {
    const api = docker();
    if (api === undefined || wanted === undefined) return;
    const { images: known, pulling } = await pulled.read();
    if (known.length + pulling.length === 0) return;
    const { unused, there } = await look(api);
    for (const image of unused) {
      const local = there.get(image.id);
      // What was pulled or planned since then is another matter.
      if (stopped || local === undefined || image.references.some((one) => wanted?.has(one) || pulled.isPulling(one)))
        continue;
      if (image.unusedMs >= unusedMsMax) {
        await remove(api, image, local, `nothing has used it for ${(image.unusedMs / 86_400_000).toFixed(0)} days`);
      } else if (isPressed(await api.imageSpace())) {
        await remove(api, image, local, 'nothing uses it, and little room is left where Docker keeps its data');
      }
    }
  }

  async function run(): Promise<void> {
    do {
      again = false;
      try {
        await collect();
        said = undefined;
      } catch (error) {
        // Docker may have gone; the same is not told each time.
        const { message } = error as Error;
        if (docker() !== undefined && said !== message) onProblem(`images were not looked at: ${message}`);
        said = message;
      }
    } while (again && !stopped);
  }

  function soon(): void {
    if (stopped) return;
    again = true;
    if (looking) return;
    looking = true;
    void run().finally(() => {
      looking = false;
      clock.clearTimeout(timer);
      if (!stopped) timer = clock.setTimeout(soon, imageLookMs);
    });
  }

  return {
    want(references) {
      wanted = new Set(references);
      soon();
    },
    soon,
    start() {
      stopped = false;
      soon();
    },
    stop() {
      stopped = true;
      clock.clearTimeout(timer);
    },
  };
}

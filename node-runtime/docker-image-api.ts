// The images that a Docker Engine has, and which containers use: the part of docker-client.ts that image-collector.ts asks. It decides
// nothing.

import { statfs } from 'node:fs/promises';
import type Dockerode from 'dockerode';

export interface LocalImage {
  id: string;
  /** `name:tag`; none when another image has taken them over. */
  tags: string[];
  /** `name@sha256:…` */
  digests: string[];
  /** Of the image that it was built from, where that is known. */
  parent: string | undefined;
  bytes: number;
}

export interface DockerImages {
  images(): Promise<LocalImage[]>;
  /** Ids of the images of all containers, also stopped ones, whoever made them. */
  usedImages(): Promise<Set<string>>;
  /** By tag, which takes this name away and the image with its last one, or by id. False when Docker says that it is used. */
  removeImage(nameOrId: string): Promise<boolean>;
  /** Of the volume on which Docker keeps its data; undefined where it cannot be seen from here. */
  imageSpace(): Promise<{ bytesFree: number; bytes: number } | undefined>;
}

/** Docker's words for none. */
const named = (names: readonly string[] | null | undefined): string[] =>
  (names ?? []).filter((name) => !name.startsWith('<none>'));

export function createDockerImages(
  docker: Dockerode,
  /** Gives each answer a deadline and sorts what went wrong. */
  ask: <T>(what: string, answer: Promise<T>) => Promise<T>,
  unless: <T>(statuses: readonly number[], answer: Promise<T>) => Promise<T | undefined>,
): DockerImages {
  return {
    async images() {
      const found = await ask('list images', docker.listImages({ all: true }));
      return found.map(({ Id, RepoTags, RepoDigests, ParentId, Size }) => ({
        id: Id,
        tags: named(RepoTags),
        digests: named(RepoDigests),
        parent: ParentId === '' ? undefined : ParentId,
        bytes: Size,
      }));
    },
    async usedImages() {
      const containers = await ask('list containers', docker.listContainers({ all: true }));
      return new Set(containers.map(({ ImageID }) => ImageID));
    },
    async removeImage(nameOrId) {
      const removed = ask(
        'remove an image',
        docker
          .getImage(nameOrId)
          .remove()
          .then(() => true),
      );
      return (
        (await unless(
          [409],
          unless([404], removed).then((done) => done ?? true),
        )) ?? false
      );
    },
    async imageSpace() {
      const { DockerRootDir } = (await ask('describe itself', docker.info())) as { DockerRootDir?: string };
      if (DockerRootDir === undefined || DockerRootDir === '') return undefined;
      try {
        const { bavail, blocks, bsize } = await statfs(DockerRootDir);
        return { bytesFree: bavail * bsize, bytes: blocks * bsize };
      } catch {
        // In a container beside the engine its folder is not there.
        return undefined;
      }
    },
  };
}

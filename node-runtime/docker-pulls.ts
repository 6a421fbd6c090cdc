// Images that are not on this box yet: pulled when an instance needs them, not asked for again while they are there unless the
// specification says so. Called by docker-engine.ts. A pull ends when whoever needs it does not any more; the layers that are there by then stay.

import type { DockerSpec } from '../control/plan.ts';
import type { Clock, TimerId } from './clock.ts';
import type { DockerClient, PullStep } from './docker-client.ts';
import { DockerRefusedError, RegistryRefusedError } from './errors.ts';
import { DOCKER_PULL_LAYERS_MAX, DOCKER_PULL_TELL_MS } from './limits.ts';
import type { PulledImages } from './pulled-images.ts';
import { type RegistryCredentials, registryOf } from './registry-auth.ts';

export interface Pulls {
  docker: DockerClient;
  clock: Clock;
  /** What this node has for the registry of an image. */
  credentials?: (image: string) => Promise<RegistryCredentials | undefined>;
  pulled?: PulledImages | undefined;
}

/** How registries, and Docker in their name, say that they want another login. */
const wantsLogin =
  /unauthorized|authentication required|no basic auth credentials|access.* denied|denied:|incorrect username or password/i;

/** Rejects with DockerRefusedError, RegistryRefusedError, RegistryAuthError, DockerUnavailableError, or the signal's reason. */
export async function pullWhereMissing(
  { docker, clock, credentials = async () => undefined, pulled }: Pulls,
  { image: reference, platform, pullPolicy = 'ifNotPresent' }: Pick<DockerSpec, 'image' | 'platform' | 'pullPolicy'>,
  onProgress: (progress: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const there = (await docker.image(reference, platform)) !== undefined;
  if (there && pullPolicy !== 'always') return;
  if (pullPolicy === 'never')
    throw new DockerRefusedError(`run ${reference}`, 'it is not on this node, and its pullPolicy is never');
  signal.throwIfAborted();
  const before = pulled && new Set((await docker.images()).map(({ id }) => id));
  await pulled?.begin(reference);
  let arrived: string | undefined;
  try {
    await pull({ docker, clock, credentials }, { reference, platform }, onProgress, signal);
    arrived = await docker.image(reference, platform);
  } finally {
    await pulled?.end(reference, arrived === undefined || before?.has(arrived) ? undefined : arrived);
  }
  if (arrived === undefined) throw new DockerRefusedError(`pull ${reference}`, 'it is not there afterwards');
}

/** Pulls, and tells how far it is. */
async function pull(
  { docker, clock, credentials }: Required<Pick<Pulls, 'docker' | 'clock' | 'credentials'>>,
  { reference, platform }: { reference: string; platform: string | undefined },
  onProgress: (progress: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const login = await credentials(reference);
  const meter = createPullMeter(reference);
  let told: string | undefined;
  let timer: TimerId | undefined;
  const tell = (): void => {
    timer = undefined;
    if (meter.text() === told) return;
    told = meter.text();
    onProgress(told);
    timer = clock.setTimeout(tell, DOCKER_PULL_TELL_MS);
  };
  tell();
  try {
    const onStep = (step: PullStep): void => {
      meter.take(step);
      if (timer === undefined) tell();
    };
    await docker.pull(reference, { platform, credentials: login }, onStep, signal);
  } catch (error) {
    if (!(error instanceof DockerRefusedError) || !wantsLogin.test(error.message)) throw error;
    throw new RegistryRefusedError(registryOf(reference), login !== undefined, error.message, { cause: error });
  } finally {
    clock.clearTimeout(timer);
  }
}

/** Adds up what Docker says of the layers. Sizes are known once a layer is being downloaded. */
export function createPullMeter(reference: string): { take(step: PullStep): void; text(): string } {
  const layers = new Map<string, { current: number; total: number; done: boolean }>();
  return {
    take({ id, status, progressDetail }) {
      if (id === undefined || (!layers.has(id) && layers.size >= DOCKER_PULL_LAYERS_MAX)) return;
      const layer = layers.get(id) ?? { current: 0, total: 0, done: false };
      if (status === 'Downloading') {
        const { current = 0, total = 0 } = progressDetail ?? {};
        layers.set(id, { current, total: Math.max(current, total), done: false });
      } else if (status === 'Download complete' || status === 'Pull complete' || status === 'Already exists') {
        layers.set(id, { current: layer.total, total: layer.total, done: true });
      } else if (status === 'Pulling fs layer') layers.set(id, layer);
    },
    text() {
      const all = [...layers.values()];
      const [current, total] = [sum(all.map((layer) => layer.current)), sum(all.map((layer) => layer.total))];
      if (all.length > 0 && all.every(({ done }) => done)) return `pulling ${reference}: unpacking`;
      if (total === 0) return `pulling ${reference}`;
      return `pulling ${reference}: ${Math.floor((100 * current) / total)} % of ${megabytes(total)}`;
    },
  };
}

const sum = (numbers: readonly number[]): number => numbers.reduce((one, other) => one + other, 0);

export const megabytes = (bytes: number): string => `${(bytes / 1_000_000).toFixed(bytes < 10_000_000 ? 1 : 0)} MB`;

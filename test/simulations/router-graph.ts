// Graphs of routers for tests and for the bench `routing`, and the wait until nothing is said any more.

import type { SimClock } from '../../simulations/sim-clock.ts';
import type { SimRandom } from '../../simulations/sim-random.ts';
import type { SimRouters, SimTraffic } from '../../simulations/sim-routers.ts';

export interface GraphLink {
  one: number;
  other: number;
  costMicroseconds: number;
}

/** A random connected graph of so many routers with so many links each in the mean; each edge node has two uplinks. */
export function sparseGraph(random: SimRandom, routers: number, edges: number, linksPerRouter: number): GraphLink[] {
  const whole = (below: number): number => Math.floor(random.next() * below);
  const pairs = new Map<string, GraphLink>();
  const add = (one: number, other: number): void => {
    const [low, high] = one < other ? [one, other] : [other, one];
    if (low !== high) pairs.set(`${low} ${high}`, { one: low, other: high, costMicroseconds: 1_000 + whole(9_000) });
  };
  for (let router = 1; router < routers; router++) add(router, whole(router));
  while (pairs.size < (routers * linksPerRouter) / 2) add(whole(routers), whole(routers));
  for (let edge = routers; edge < routers + edges; edge++) {
    add(edge, whole(routers));
    add(edge, whole(routers));
  }
  return [...pairs.values()];
}

/** Lets virtual time go on until no link state has been on its way for two seconds. How long it took until the last one arrived: from now, and from
 * when a lost link was last noticed. */
export async function settle(
  clock: SimClock,
  world: SimRouters,
): Promise<{ tookMs: number; spreadMs: number; traffic: SimTraffic }> {
  const beganAtMs = clock.now();
  const sum: SimTraffic = { messages: 0, bytes: 0, statements: 0, lastAtMs: beganAtMs, noticedAtMs: beganAtMs };
  for (let quiet = 0; quiet < 2; ) {
    await clock.advance(1_000);
    const { messages, bytes, statements, lastAtMs, noticedAtMs } = world.takeTraffic();
    if (noticedAtMs > clock.now() - 1_000) sum.noticedAtMs = noticedAtMs;
    sum.messages += messages;
    sum.bytes += bytes;
    sum.statements += statements;
    quiet = statements === 0 ? quiet + 1 : 0;
    if (statements > 0) sum.lastAtMs = lastAtMs;
  }
  const since = (fromMs: number): number => Math.round(sum.lastAtMs - fromMs);
  return { tookMs: since(beganAtMs), spreadMs: since(sum.noticedAtMs), traffic: sum };
}

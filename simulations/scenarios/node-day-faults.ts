// The faults of node-day.ts, drawn by chance: each begins at once and ends by itself after a while. They act on boxes, engines and the
// network from outside, as the world does.

import type { TimerId } from '../../node-runtime/clock.ts';
import type { Controller } from '../../node-runtime/controller.ts';
import type { World } from '../scenario.ts';
import type { SimBox } from '../sim-node.ts';
import { applicationAt, applicationNames, manifestsOf } from './node-day-wishes.ts';

const minuteMs = 60_000;

export interface DayFaults {
  /** One more. */
  next(): void;
  /** Until when a box is disturbed by what happened so far; in the past when it is calm. */
  disturbedAt(box: string): number;
  /** Ends all that goes on. */
  heal(): Promise<void>;
  counts(): Record<string, number>;
}

export function createDayFaults({
  world,
  boxes,
  hub,
}: {
  world: World;
  boxes: Map<string, SimBox>;
  hub: SimBox;
}): DayFaults {
  const { clock, random, network, note } = world;
  const happened: Record<string, number> = {};
  const disturbed = new Map<string, number>();
  let version = 0;
  /** What ends the faults that go on. */
  const ending = new Set<TimerId>();

  const pick = <T>(list: readonly T[]): T => list[Math.floor(random.next() * list.length)] as T;
  const between = (leastMs: number, mostMs: number): number => Math.round(leastMs + random.next() * (mostMs - leastMs));
  const disturb = (names: Iterable<string>, forMs = 0): void => {
    for (const name of names) disturbed.set(name, Math.max(disturbed.get(name) ?? 0, clock.now() + forMs));
  };
  const later = (delayMs: number, run: () => void): void => {
    const timer = clock.setTimeout(() => {
      ending.delete(timer);
      run();
    }, delayMs);
    ending.add(timer);
  };
  const anyBox = (): [string, SimBox] => pick([...boxes]);

  function begin(name: string, box: SimBox): void {
    disturb([name]);
    // Where it crashes again while it starts, nobody hears of this start.
    if (!box.running) void box.start();
  }

  function killWorkload(): void {
    const [, box] = anyBox();
    const engine = box.containers !== undefined && random.next() < 0.5 ? box.containers.engine : box.engine;
    const living = engine.living();
    if (living.length > 0) engine.kill(pick(living));
  }

  function crashDaemon(): void {
    const [name, box] = anyBox();
    const crashed = (): void => {
      note(`${name} has crashed`);
      const goneMs = between(100, 10 * minuteMs);
      // Without the controller nobody hears of anything.
      disturb(box === hub ? boxes.keys() : [name], goneMs);
      later(goneMs, () => begin(name, box));
    };
    if (!box.running) return;
    if (random.next() < 0.3) {
      box.crash();
      crashed();
      return;
    }
    // A change makes effects, in the middle of which it dies.
    box.crashAtEffect(1 + Math.floor(random.next() * 60), crashed);
    changeApplication();
  }

  function engineOutage(): void {
    const [name, { containers }] = anyBox();
    if (containers === undefined) return;
    containers.outages.goAway(random.next() < 0.5 ? 'refuses' : 'silent');
    const loses = random.next() < 0.4;
    const lastsMs = between(500, 20 * minuteMs);
    disturb([name], lastsMs);
    if (loses) later(lastsMs / 2, () => containers.engine.loseAll());
    later(lastsMs, () => containers.outages.comeBack());
  }

  function partition(): void {
    const [name, box] = anyBox();
    if (!box.running) return;
    const others = [...boxes.values()]
      .filter((other) => other !== box && other.running)
      .map((other) => other.node().peerId);
    network.partition([box.node().peerId], others);
    note(`${name} is cut off`);
    const lastsMs = between(minuteMs, 30 * minuteMs);
    disturb(boxes.keys(), lastsMs);
    later(lastsMs, () => network.heal());
  }

  function jumpClock(): void {
    const [, box] = anyBox();
    box.setClockOffset(between(-30 * minuteMs, 30 * minuteMs));
    later(between(minuteMs, 60 * minuteMs), () => box.setClockOffset(0));
  }

  function withController(run: (controller: Controller) => Promise<unknown>): void {
    const controller = hub.running ? hub.node().member()?.controller : undefined;
    // Refused is no fault of the day: it may be stopping, or the application gone already.
    if (controller !== undefined) run(controller).catch(() => undefined);
  }

  function changeApplication(): void {
    disturb(boxes.keys());
    version += 10;
    const name = pick(applicationNames);
    const wished = applicationAt(random, name, version);
    if (random.next() < 0.15) withController(({ apply }) => apply.deleteApplication('default', name));
    else withController(({ apply }) => apply.apply(manifestsOf([wished])));
  }

  /** Each as often as its weight. */
  const weighted: [string, number, () => void][] = [
    ['kills', 40, killWorkload],
    ['crashes', 18, crashDaemon],
    ['outages', 12, engineOutage],
    ['partitions', 8, partition],
    ['clockJumps', 5, jumpClock],
    ['changes', 17, changeApplication],
  ];
  const kinds = weighted.flatMap(([name, weight, run]) => Array.from({ length: weight }, () => [name, run] as const));

  return {
    disturbedAt: (box) => disturbed.get(box) ?? 0,
    counts: () => ({ ...happened }),
    next() {
      const [name, run] = pick(kinds);
      happened[name] = (happened[name] ?? 0) + 1;
      note(name);
      run();
    },
    async heal() {
      for (const timer of ending) clock.clearTimeout(timer);
      ending.clear();
      network.heal();
      for (const [name, box] of boxes) {
        box.setClockOffset(0);
        box.containers?.outages.comeBack();
        box.crashAtEffect(Number.POSITIVE_INFINITY, () => undefined);
        begin(name, box);
      }
    },
  };
}

// A day of a small fabric on which everything happens: workloads are killed, engines go and lose all, applications and configs change,
// daemons die at any effect, the network parts, clocks jump. No instance is lost or doubled; when the faults end, all is as wished.

import { createRunChecks } from '../run-checks.ts';
import type { Scenario, World } from '../scenario.ts';
import { ScenarioError } from '../scenario.ts';
import type { SimBox } from '../sim-node.ts';
import { createDayFaults } from './node-day-faults.ts';
import { applicationsAt, manifestsOf } from './node-day-wishes.ts';

const limitMs = 60_000;
const hourMs = 3_600_000;
/** The longest wait between two tries of a workload is five minutes; a node looks for its controller more often. */
const convergeMs = 15 * 60_000;
const lookEveryMs = 60_000;

export interface DaySettings {
  /** Virtual time with faults. */
  faultsMs: number;
  /** Between two faults, in the mean. */
  meanPauseMs: number;
}

export const nodeDay =
  ({ faultsMs, meanPauseMs }: DaySettings = { faultsMs: 24 * hourMs, meanPauseMs: 8 * 60_000 }): Scenario =>
  async (world) => {
    const { clock, until, note, random } = world;
    const boxes = new Map<string, SimBox>();
    const checks = createRunChecks({ clock, boxes });
    const hold = (): void => {
      if (checks.violations.length > 0) throw new ScenarioError(checks.violations.join('; '));
    };
    const hub = await foundFabric(world, boxes, checks);
    const controller = () => hub.node().member()?.controller;
    await controller()?.apply.apply(manifestsOf(applicationsAt(random, 0)));
    const status = async () => controller()?.status.status();
    await until('all is well before it begins', async () => (await status())?.ok === true, limitMs);

    note('the day begins');
    const faults = createDayFaults({ world, boxes, hub });
    const endAt = clock.now() + faultsMs;
    let nextLookAt = clock.now();
    while (clock.now() < endAt) {
      const pauseMs = Math.max(1, Math.round(-Math.log(1 - random.next()) * meanPauseMs));
      const faultAt = Math.min(endAt, clock.now() + pauseMs);
      while (clock.now() < faultAt) {
        await clock.advance(Math.min(lookEveryMs, faultAt - clock.now()));
        if (clock.now() >= nextLookAt) {
          checks.look(faults.disturbedAt);
          nextLookAt = clock.now() + lookEveryMs;
        }
        hold();
      }
      faults.next();
    }

    note('the faults end');
    const healedAt = clock.now();
    await faults.heal();
    await until('every daemon is back', () => [...boxes.values()].every((box) => box.running), limitMs);
    await until('the controller is back', () => controller() !== undefined, limitMs);
    const wished = applicationsAt(random, 1_000_000);
    // What was applied last may have been cut off in the middle: the last word is said now.
    await controller()?.apply.apply(manifestsOf(wished));
    const wanted = wished.flatMap(({ name, microservices }) =>
      Object.entries(microservices).flatMap(([microservice, { replicas }]) =>
        Array.from({ length: replicas }, (_, index) => `default.${name}.${microservice}.${index}`),
      ),
    );
    const living = () =>
      [...boxes.values()].flatMap(({ engine, containers }) => [
        ...engine.living(),
        ...(containers?.engine.living() ?? []),
      ]);
    let missing = '';
    const converged = async (): Promise<boolean> => {
      const now = await status();
      const runs = living().sort().join();
      missing = `${now?.problems.slice(0, 3).join('; ')}${runs === [...wanted].sort().join() ? '' : `; it runs ${runs}`}`;
      return now?.ok === true && runs === [...wanted].sort().join();
    };
    const endOfPatience = clock.now() + convergeMs;
    while (!(await converged())) {
      if (clock.now() > endOfPatience) throw new ScenarioError(`not all as wished after ${convergeMs} ms: ${missing}`);
      await clock.advance(1_000);
      hold();
    }
    const convergedMs = clock.now() - healedAt;
    await clock.advance(10 * lookEveryMs);
    checks.look(faults.disturbedAt);
    hold();
    if (!(await converged())) throw new ScenarioError(`it was as wished and is no more: ${missing}`);
    for (const box of [...boxes.values()].reverse()) await box.stop();
    await clock.advance(30_000);
    if (clock.pending() > 0)
      throw new ScenarioError(`${clock.pending()} timers are left when all daemons have stopped`);
    return { ...faults.counts(), launches: checks.launches(), convergedMs };
  };

async function foundFabric(
  { box, until }: World,
  boxes: Map<string, SimBox>,
  checks: ReturnType<typeof createRunChecks>,
): Promise<SimBox> {
  const make = (name: string): SimBox => {
    const made = box(name, {
      containers: true,
      watch: checks.watch(name),
      onEvent: (type, message) => checks.event(name, type, message),
    });
    boxes.set(name, made);
    return made;
  };
  const hub = make('hub');
  await hub.start({ found: true, fabricName: 'simulated', router: 'interior' });
  await until('the founder is a member', () => hub.node().member() !== undefined, limitMs);
  for (const name of ['east', 'west']) {
    const settings = { uses: 1, ttlMs: hourMs, labels: { site: name }, router: 'edge' as const };
    const token = (await hub.node().member()?.controller?.createToken(settings))?.token;
    if (token === undefined) throw new ScenarioError('the hub is no controller');
    const worker = make(name);
    await worker.start({ token });
    await until(`${name} is a member`, () => worker.node().member() !== undefined, limitMs);
  }
  return hub;
}

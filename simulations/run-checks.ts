// What must hold at each step of a scenario, held against the engines themselves: never two runs of an instance, nothing launched or
// ended but what the plan on the node's disk says, no plan older than one that was obeyed. Called by scenarios; it changes nothing.

import type { SimClock } from './sim-clock.ts';
import type { SimBox } from './sim-node.ts';

export interface RunChecks {
  /** SimBoxWishes.watch of a box. */
  watch(box: string): (what: 'launch' | 'terminate', instance: string, specHash: string) => void;
  /** A node's own event: which plan it obeys. */
  event(box: string, type: string, message: string): void;
  /** Looks for instances that run on two boxes; a box that was disturbed lately may not have heard of a move. */
  look(disturbedAt: (box: string) => number): void;
  /** What did not hold, in order. */
  readonly violations: string[];
  readonly launches: () => number;
}

/** A plan counts from the switch of its pointer; what is under way then was right a moment before. */
const movingOnMs = 1_000;
/** A move that both boxes can hear of is done within this: the longest stop and its margin, and one wait of a link. */
const moveMs = 120_000;

interface Obeyed {
  folder: string;
  hashes: Map<string, string>;
}

function obeyedOn({ disk }: SimBox): Obeyed {
  const files = disk.snapshot();
  const text = (path: string) => Buffer.from(files.get(path) ?? []).toString('utf8');
  const folder = text('obeyed/current');
  const payload = text(`${folder}/plan.jws`).split('.')[1];
  if (payload === undefined) return { folder, hashes: new Map() };
  const plan = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as {
    instances: { name: string; specHash: string }[];
  };
  return { folder, hashes: new Map(plan.instances.map(({ name, specHash }) => [name, specHash])) };
}

const livingOn = ({ engine, containers }: SimBox): string[] => [
  ...engine.living(),
  ...(containers?.engine.living() ?? []),
];

export function createRunChecks({ clock, boxes }: { clock: SimClock; boxes: Map<string, SimBox> }): RunChecks {
  const violations: string[] = [];
  /** The obeyed one, and what was obeyed until when: several may come in one moment. */
  const plans = new Map<string, { now: Obeyed; before: { plan: Obeyed; until: number }[] }>();
  const newest = new Map<string, number[]>();
  /** Instances on two boxes, since when. */
  const twice = new Map<string, number>();
  const beganAt = clock.now();
  let launches = 0;

  const violated = (text: string): void => {
    if (violations.length < 20) violations.push(`at ${clock.now() - beganAt} ms: ${text}`);
  };

  function plansOf(name: string, box: SimBox) {
    const current = obeyedOn(box);
    const known = plans.get(name) ?? { now: current, before: [] };
    const before = known.before.filter(({ until }) => clock.now() - until < movingOnMs);
    if (known.now.folder !== current.folder) before.push({ plan: known.now, until: clock.now() });
    const next = { now: current, before };
    plans.set(name, next);
    return next;
  }

  return {
    violations,
    launches: () => launches,
    watch: (name) => (what, instance, specHash) => {
      const box = boxes.get(name);
      if (box === undefined) return;
      const { now, before } = plansOf(name, box);
      const wants = ({ hashes }: Obeyed): boolean => hashes.get(instance) === specHash;
      const isWanted = wants(now);
      if (what === 'terminate') {
        if (isWanted && before.every(({ plan }) => wants(plan)))
          violated(`${name} ends ${instance}, which its plan wants as it is`);
        return;
      }
      launches += 1;
      if (!isWanted && !before.some(({ plan }) => wants(plan)))
        violated(`${name} launches ${instance}, which its plan does not want so`);
      if (livingOn(box).includes(instance)) violated(`${instance} runs twice on ${name}`);
    },
    event(name, type, message) {
      const version = type === 'plan-obeyed' ? /(\d+)\.(\d+)\.(\d+)/.exec(message)?.slice(1).map(Number) : undefined;
      if (version === undefined) return;
      const known = newest.get(name) ?? [0, 0, 0];
      const place = version.findIndex((part, index) => part !== known[index]);
      if (place >= 0 && (version[place] ?? 0) < (known[place] ?? 0))
        violated(`${name} went back to plan ${version.join('.')}`);
      newest.set(name, version);
      const box = boxes.get(name);
      if (box !== undefined) plansOf(name, box);
    },
    look(disturbedAt) {
      const on = new Map<string, string[]>();
      for (const [name, box] of boxes) {
        for (const instance of livingOn(box)) on.set(instance, [...(on.get(instance) ?? []), name]);
      }
      for (const [instance, names] of on) {
        if (names.length < 2) {
          twice.delete(instance);
          continue;
        }
        const quietSince = Math.max(twice.get(instance) ?? clock.now(), ...names.map(disturbedAt));
        if (!twice.has(instance)) twice.set(instance, clock.now());
        if (clock.now() - quietSince > moveMs) violated(`${instance} runs on ${names.join(' and ')}`);
      }
    },
  };
}

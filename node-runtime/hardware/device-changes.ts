// What came and went between two looks, in words. Pure; called by member.ts, for whoever watches the daemon.

import type { Device } from '../../control/hardware.ts';

function named({ id, name, paths }: Device): string {
  return `${id}${name === '' || id.endsWith(name) ? '' : ` (${name})`}, ${paths[0]}`;
}

export function deviceChanges(before: readonly Device[], after: readonly Device[]): string[] {
  const [old, now] = [new Map(before.map((one) => [one.id, one])), new Map(after.map((one) => [one.id, one]))];
  return [
    ...before.filter(({ id }) => !now.has(id)).map((one) => `gone: ${named(one)}`),
    ...after.flatMap((one) => {
      const was = old.get(one.id);
      if (was === undefined) return [`there: ${named(one)}`];
      const moved = was.plugging !== one.plugging || was.paths.join() !== one.paths.join();
      return moved ? [`plugged in again: ${named(one)}`] : [];
    }),
  ];
}

// What a node lets workloads have of its box, in words. Called by nodes.ts and status-text.ts. What a node says of itself is made printable.

import type { NodeView } from '../views.ts';
import { printable } from './table.ts';

type Policy = NonNullable<NodeView['policy']>;

const programsText = (user: string | null): string =>
  user === null ? "run as the daemon's user unless they name another" : `run as ${printable(user)}`;

/** Lines for the facts of a node; none where it says nothing of it, as older ones do. */
export function policyFacts({ policy }: Pick<NodeView, 'policy'>): [string, string | undefined][] {
  if (policy === undefined) return [];
  const { allow, images, processUser } = policy;
  return [
    ['allows', allow.map(printable).join(' ') || 'nothing beyond a container'],
    ['images', images?.map(printable).join(' ')],
    ['programs', processUser === undefined ? undefined : programsText(processUser)],
  ];
}

/** One line of what was chosen for the box; undefined where nothing was. */
export function policyLine(policy: Policy): string | undefined {
  const { allow, images, processUser } = policy;
  const said = [
    ...(typeof processUser === 'string' ? [`programs run as ${printable(processUser)}`] : []),
    ...(images === undefined ? [] : [`images: ${images.map(printable).join(' ')}`]),
    ...(allow.length === 0 ? [] : [`allowed: ${allow.map(printable).join(' ')}`]),
  ];
  return said.length === 0 ? undefined : said.join('; ');
}

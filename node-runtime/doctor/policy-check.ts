// What the plan wants of this node that its policy refuses: the running daemon says so of its instances.

import { isPolicyRefusal } from '../policy.ts';
import { type DoctorInput, type Finding, ok, ownNode, warn } from './finding.ts';

/** The others are in `selvedge status`. */
const shownMax = 4;

export function checkPolicy(input: DoctorInput): Finding {
  const id = 'policy';
  const node = ownNode(input);
  if (node === undefined) return ok(id, 'only the running daemon of a node refuses anything');
  const refused = node.instances.filter(({ reason }) => isPolicyRefusal(reason));
  if (refused.length === 0) return ok(id, 'nothing that is planned here is refused');
  const shown = refused.slice(0, shownMax).map(({ name, reason }) => `${name}: ${reason}`);
  const more = refused.length > shownMax ? [`${refused.length - shownMax} more`] : [];
  return warn(
    id,
    [...shown, ...more].join('; '),
    'Change the microservice, place it on another node, or start the daemon of this node with the option that is named (an installed one: `selvedge uninstall --keep-workloads`, and install it with that).',
  );
}

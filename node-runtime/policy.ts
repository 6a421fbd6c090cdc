// What a node lets workloads have of its box: nothing that reaches past a container unless the one who runs the box said so. Pure;
// called by engines.ts before anything is fetched or started. A plan cannot change it: it comes with `selvedge up`.

import { describeNeed } from '../control/devices.ts';
import type { WorkloadSpec } from '../control/plan.ts';
import { spellingsOf } from './image-names.ts';

export const allowances = ['privileged', 'capabilities', 'devices', 'host-paths'] as const;
export type Allowance = (typeof allowances)[number];

export interface NodePolicy {
  allow: readonly Allowance[];
  /** Patterns, in which `*` stands for any characters, of names however they are written; undefined: every image. */
  images?: readonly string[];
}

export const nothingAllowed: NodePolicy = { allow: [] };

function matches(pattern: string, image: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  if (rest.length === 0) return image === pattern;
  const last = rest.pop() as string;
  if (!image.startsWith(first) || !image.endsWith(last) || image.length < first.length + last.length) return false;
  // Each part at its first place after the one before: no pattern takes more than one walk over the name.
  let at = first.length;
  for (const part of rest) {
    const found = image.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= image.length - last.length;
}

function wants(spec: WorkloadSpec): [Allowance, string][] {
  const paths = (spec.volumes ?? []).flatMap(({ hostPath }) => hostPath ?? []);
  const reached: [Allowance, string][] =
    paths.length > 0
      ? [['host-paths', `${paths.join(', ')} of its box in a ${spec.engine === 'wasm' ? 'module' : 'container'}`]]
      : [];
  if (spec.engine === 'wasm') {
    const { module } = spec;
    return 'hostPath' in module ? [...reached, ['host-paths', `the module ${module.hostPath} of its box`]] : reached;
  }
  if (spec.engine !== 'docker') return [];
  const { privileged, capabilities, devices = [], deviceNeeds = [], gpus } = spec;
  const added = capabilities?.add ?? [];
  const wanted: [Allowance, string][] = [];
  if (privileged === true) wanted.push(['privileged', 'a privileged container']);
  if (added.length > 0) wanted.push(['capabilities', `the capabilities ${added.join(', ')}`]);
  if (devices.length > 0) wanted.push(['devices', `the devices ${devices.join(', ')}`]);
  if (deviceNeeds.length > 0) wanted.push(['devices', `devices (${deviceNeeds.map(describeNeed).join('; ')})`]);
  if (gpus !== undefined) wanted.push(['devices', `the gpus ${Array.isArray(gpus) ? gpus.join(', ') : gpus}`]);
  return [...wanted, ...reached];
}

/** Why the node does not run it, and what would change that; undefined when it does. */
export function policyRefusal(spec: WorkloadSpec, { allow, images }: NodePolicy): string | undefined {
  for (const [allowance, what] of wants(spec)) {
    if (!allow.includes(allowance))
      return `this node does not allow ${what}; \`selvedge up --allow ${allowance}\` on it would`;
  }
  if (spec.engine !== 'docker' || images === undefined) return;
  const spellings = spellingsOf(spec.image);
  if (images.some((pattern) => spellings.some((spelling) => matches(pattern, spelling)))) return;
  return `this node does not allow the image ${spec.image}, only ${images.join(', ')}; \`selvedge up --allow-image PATTERN\` on it adds to these`;
}

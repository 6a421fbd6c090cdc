// What a node lets workloads have of its box: nothing that reaches past a container, and for programs no other user than the one that was
// chosen for them, unless the one who runs the box said so. Pure;
// called by engines.ts before anything is fetched or started. A plan cannot change it: it comes with `selvedge up`.

import type { Allowance, BoxOptions } from '../control/box-options.ts';
import { describeNeed } from '../control/devices.ts';
import type { StageSpec } from '../control/plan.ts';
import { spellingsOf } from './image-names.ts';

export interface NodePolicy {
  allow: readonly Allowance[];
  /** Patterns, in which `*` stands for any characters, of names however they are written; undefined: every image. */
  images?: readonly string[];
  /** Whom programs run as that name nobody; with it, those that name another one need leave. */
  processUser?: string;
}

export const nothingAllowed: NodePolicy = { allow: [] };

export const policyOf = ({ allow = [], allowImage, processUser }: BoxOptions): NodePolicy => ({
  allow,
  ...(allowImage !== undefined && { images: allowImage }),
  ...(processUser !== undefined && { processUser }),
});

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

/** What is given takes the place of what is kept: all of it. */
const withAllowance = (allow: readonly Allowance[], more: Allowance): string =>
  [...allow, more].map((one) => `--allow ${one}`).join(' ');

/** Where nobody was chosen, programs run as the daemon does: naming a user only takes rights away. */
function wantsUser(spec: StageSpec, { allow, processUser }: NodePolicy): string | undefined {
  if (spec.engine !== 'process' || spec.user === undefined || processUser === undefined) return undefined;
  if (spec.user === processUser || allow.includes('users')) return undefined;
  return `this node runs programs as ${processUser}, and does not allow ${spec.user}; \`selvedge up ${withAllowance(allow, 'users')}\` on it would`;
}

function wants(spec: StageSpec): [Allowance, string][] {
  const paths = (spec.volumes ?? []).flatMap(({ hostPath }) => hostPath ?? []);
  const reached: [Allowance, string][] =
    paths.length > 0
      ? [['host-paths', `${paths.join(', ')} of its box in a ${spec.engine === 'wasm' ? 'module' : 'container'}`]]
      : [];
  if (spec.engine === 'wasm') {
    const { module } = spec;
    return 'hostPath' in module ? [...reached, ['host-paths', `the module ${module.hostPath} of its box`]] : reached;
  }
  if (spec.engine === 'process')
    return spec.hostNetwork === true ? [['host-network', 'the network of its box in a program']] : [];
  const { privileged, capabilities, hostNetwork, devices = [], deviceNeeds = [], gpus } = spec;
  const added = capabilities?.add ?? [];
  const wanted: [Allowance, string][] = [];
  if (privileged === true) wanted.push(['privileged', 'a privileged container']);
  if (added.length > 0) wanted.push(['capabilities', `the capabilities ${added.join(', ')}`]);
  if (hostNetwork === true) wanted.push(['host-network', 'the network of its box in a container']);
  if (devices.length > 0) wanted.push(['devices', `the devices ${devices.join(', ')}`]);
  if (deviceNeeds.length > 0) wanted.push(['devices', `devices (${deviceNeeds.map(describeNeed).join('; ')})`]);
  if (gpus !== undefined) wanted.push(['devices', `the gpus ${Array.isArray(gpus) ? gpus.join(', ') : gpus}`]);
  return [...wanted, ...reached];
}

/** Whether the reason of an instance is one of those below: what is observed of it has no more than words. */
export const isPolicyRefusal = (reason: string): boolean =>
  /^this node (?:runs programs as \S+, and )?does not allow /.test(reason);

/** Why the node does not run it, and what would change that; undefined when it does. */
export function policyRefusal(spec: StageSpec, policy: NodePolicy): string | undefined {
  const { allow, images } = policy;
  const user = wantsUser(spec, policy);
  if (user !== undefined) return user;
  for (const [allowance, what] of wants(spec)) {
    if (!allow.includes(allowance))
      return `this node does not allow ${what}; \`selvedge up ${withAllowance(allow, allowance)}\` on it would`;
  }
  if (spec.engine !== 'docker' || images === undefined) return;
  const spellings = spellingsOf(spec.image);
  if (images.some((pattern) => spellings.some((spelling) => matches(pattern, spelling)))) return;
  return `this node does not allow the image ${spec.image}, only ${images.join(', ')}; \`selvedge up\` on it with an --allow-image for each of these and for that one would`;
}

// The labels that say whose a container is and what was launched in it. Pure; called by the docker engine's parts. What does not
// carry both owner labels is never touched.

import type { EngineOwner } from './engine.ts';

export const labelsOf = {
  fabric: 'io.selvedge.fabric',
  node: 'io.selvedge.node',
  instance: 'io.selvedge.instance',
  /** The spec's hash: another one means replace. */
  spec: 'io.selvedge.spec',
  /** Hash of all that the container was made from: the same one can be started again. */
  launch: 'io.selvedge.launch',
  /** Names of the variables that the launch gave, with spaces between: the others are the image's. */
  variables: 'io.selvedge.variables',
  /** Of the network: the range of service addresses. */
  services: 'io.selvedge.services',
} as const;

export function ownerLabels({ fabricId, node }: EngineOwner): Record<string, string> {
  return { [labelsOf.fabric]: fabricId, [labelsOf.node]: node };
}

export function ownsLabels(labels: Record<string, string> | undefined, { fabricId, node }: EngineOwner): boolean {
  return labels?.[labelsOf.fabric] === fabricId && labels[labelsOf.node] === node;
}

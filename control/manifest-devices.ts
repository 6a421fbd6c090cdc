// What concerns several of the devices that a microservice asks for. Pure; called by manifest-checks.ts.

import type { FieldIssue } from './manifest-issues.ts';
import type { ParsedMicroservice } from './manifest-schema.ts';

/** Names become `DEVICE_<NAME>`; two that ask for one path, or two instances on one node, would wait for each other for ever. */
export function checkDevices({ placement, replicas }: ParsedMicroservice, at: (string | number)[]): FieldIssue[] {
  const { devices = [], node } = placement;
  const issues: FieldIssue[] = [];
  const add = (index: number, field: string, reason: string, accepted: string): void =>
    void issues.push({ path: [...at, index, field], reason, accepted });
  for (const [index, need] of devices.entries()) {
    const before = devices.slice(0, index);
    if (before.some(({ name }) => name === need.name))
      add(index, 'name', `${JSON.stringify(need.name)} is there twice`, 'another name');
    if (need.path === undefined) continue;
    if (before.some(({ path }) => path === need.path))
      add(index, 'path', `${need.path} is there twice`, 'each device once');
    if (node !== undefined && replicas > 1 && need.shared !== true)
      add(index, 'path', `is one device for ${replicas} instances on ${node}`, 'shared: true, or replicas: 1');
  }
  return issues;
}

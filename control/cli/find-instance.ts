// Finds an instance by its name, or by a part of it that only one has. Called by `describe instance` and `logs`.

import type { GoneInstanceView, InstanceView } from '../views.ts';
import type { Client } from './client.ts';
import { RefusedError, UsageError } from './errors.ts';

const httpNotFound = 404;

/** Throws UsageError when several fit, and what the daemon says when none does. */
export async function findInstance(client: Client, name: string): Promise<InstanceView> {
  try {
    return await client.instance(name);
  } catch (error) {
    if (!(error instanceof RefusedError) || error.status !== httpNotFound) throw error;
    const status = await client.status();
    const all = [
      ...status.nodes.flatMap((node) => node.instances),
      ...status.applications.flatMap((app) => app.instances),
    ];
    const fitting = new Map(
      all.filter((one) => `.${one.name}.`.includes(`.${name}.`)).map((instance) => [instance.name, instance] as const),
    );
    const [first] = fitting.values();
    if (first === undefined) throw error;
    if (fitting.size === 1) return first;
    throw new UsageError(`${JSON.stringify(name)} fits several instances: ${[...fitting.keys()].join(', ')}`, {
      action: 'Give the whole name of one.',
    });
  }
}

/** The same, or one that is gone and whose last lines are kept. */
export async function findLog(client: Client, name: string): Promise<InstanceView | GoneInstanceView> {
  try {
    return await findInstance(client, name);
  } catch (error) {
    if (!(error instanceof RefusedError) || error.status !== httpNotFound) throw error;
    return await client.goneInstance(name);
  }
}

// The log of an instance, wherever it runs or ran: on this node, or on a linked one when this is a controller. Called by daemon.ts for the
// API. It reads, and asks only nodes that are linked.

import type { GoneInstanceView } from '../control/views.ts';
import type { Mesh } from '../mesh/mesh.ts';
import type { Clock } from './clock.ts';
import type { Controller } from './controller.ts';
import type { LogLine, LogQuery } from './engine.ts';
import type { Engines } from './engines.ts';
import { goneLogSearchMs } from './limits.ts';
import { fetchLogs, findGone } from './log-protocol.ts';

export interface InstanceLogs {
  /** Lines of an instance on the node of that name. */
  read(instance: string, node: string | undefined, query: LogQuery, signal: AbortSignal): AsyncGenerator<LogLine>;
  /** An instance that is gone, by its name or a part of it: the last to go. On a worker only its own. */
  gone(name: string): Promise<GoneInstanceView | undefined>;
}

export function createInstanceLogs(dependencies: {
  clock: Clock;
  /** Name of this node. */
  self(): string;
  engines: Engines;
  mesh(): Promise<Mesh>;
  controller(): Pick<Controller, 'peerOf' | 'status'> | undefined;
}): InstanceLogs {
  const { clock, self, engines, mesh, controller } = dependencies;

  /** Those that do not answer have none. */
  async function goneElsewhere(name: string): Promise<GoneInstanceView[]> {
    const nodes = (await controller()?.status.nodes()) ?? [];
    const others = nodes.filter((node) => node.name !== self() && node.state === 'connected');
    const late = new AbortController();
    const timer = clock.setTimeout(() => late.abort(), goneLogSearchMs);
    const ask = async (node: string, peerId: string): Promise<GoneInstanceView[]> => {
      const found = await findGone(await mesh(), peerId, name, late.signal).catch(() => undefined);
      return found === undefined ? [] : [{ name: found.instance, node, goneAt: found.goneAt }];
    };
    try {
      return (await Promise.all(others.map(({ name: node, peerId }) => ask(node, peerId)))).flat();
    } finally {
      clock.clearTimeout(timer);
    }
  }

  return {
    async *read(instance, node, query, signal) {
      const peerId = node === undefined || node === self() ? undefined : await controller()?.peerOf(node);
      if (peerId === undefined) yield* engines.logs(instance, query, signal);
      else yield* fetchLogs(await mesh(), peerId, { instance, ...query }, signal);
    },

    async gone(name) {
      const here = await engines.gone(name);
      const own = here === undefined ? [] : [{ name: here.instance, node: self(), goneAt: here.goneAt }];
      const all = [...own, ...(await goneElsewhere(name))].sort((one, other) => other.goneAt - one.goneAt);
      return all.find((one) => one.name === name) ?? all[0];
    },
  };
}

// Commands beside instances for who sits at this node: here, or on the linked node that has the instance. Called by daemon.ts. On a
// controller each is in the ledger before it is run, and when it has ended.

import type { ExecBegin, ExecChannel } from '../control/exec-frames.ts';
import type { InstanceView } from '../control/views.ts';
import type { Mesh, PeerId } from '../mesh/mesh.ts';
import type { Clock } from './clock.ts';
import type { Controller } from './controller.ts';
import type { Engines } from './engines.ts';
import {
  createExecSessions,
  type ExecEvent,
  execEvent,
  execText,
  receiveBegin,
  refuseSession,
  relayExec,
} from './exec-sessions.ts';
import type { Report } from './node-ports.ts';

export function createExecRouting(dependencies: {
  clock: Clock;
  engines: Engines;
  mesh(): Promise<Mesh>;
  self: { name: string; peerId: PeerId };
  /** Undefined on a worker. */
  controller(): Pick<Controller, 'ledger' | 'peerOf'> | undefined;
  report: Report;
}): (instance: Pick<InstanceView, 'name' | 'node'>, channel: ExecChannel) => Promise<void> {
  const { clock, engines, mesh, self, controller, report } = dependencies;

  async function record(event: ExecEvent): Promise<void> {
    await controller()?.ledger.append({ type: 'exec', subject: event.instance, message: execText(event), each: true });
  }

  /** Nobody waits for the record of an end. */
  function ended(begin: ExecBegin, how: string): void {
    record(execEvent(begin, self.name, how)).catch((error: unknown) =>
      report('problem', `the end of a command beside ${begin.instance} is not recorded: ${(error as Error).message}`),
    );
  }

  const run = createExecSessions({
    clock,
    engines,
    told(event) {
      report('exec', execText(event), { instance: event.instance });
    },
    problem: (_by, message) => report('problem', message),
  });

  return async ({ name, node: place }, channel) => {
    let begin: ExecBegin | undefined;
    try {
      const asked = await receiveBegin(channel);
      if (asked === undefined) return;
      begin = { ...asked, instance: name };
      await record(execEvent(begin, self.name));
      const peerId = place === undefined ? undefined : await controller()?.peerOf(place);
      const here = peerId === undefined || peerId === self.peerId;
      ended(begin, here ? await run(channel, begin, self.name) : await relayExec(await mesh(), peerId, channel, begin));
    } catch (error) {
      const { message } = error as Error;
      if (begin !== undefined) ended(begin, message);
      report('problem', `a command beside ${name} could not be run: ${message}`);
      await refuseSession(channel, error);
    }
  };
}

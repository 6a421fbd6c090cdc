// The protocols that a member serves to its peers, registered on the mesh. Called by member.ts. `enroll` is the only one that
// the unadmitted can open; each of the others asks again who is at the far end.

import { createReplicationServer } from '../control/replication-server.ts';
import type { Database } from '../control/store.ts';
import type { Mesh, PeerId } from '../mesh/mesh.ts';
import { enrollmentProtocol } from '../pki/enrollment-frames.ts';
import { createEnrollmentServer } from '../pki/enrollment-server.ts';
import type { VerifyChain } from '../pki/identity.ts';
import type { Clock } from './clock.ts';
import type { Controller } from './controller.ts';
import type { Engines } from './engines.ts';
import { createExecSessions, type ExecEvent, execProtocol, serveExec } from './exec-sessions.ts';
import type { Links } from './links.ts';
import { logsProtocol, serveLogs } from './log-protocol.ts';
import type { Membership } from './membership.ts';
import { replicateProtocol } from './replicas.ts';

export function serveProtocols(dependencies: {
  mesh: Mesh;
  clock: Clock;
  membership: Membership;
  /** This node's chain as it shows it: DER. */
  presented: () => Uint8Array[];
  verifyChain: VerifyChain;
  links: Links;
  engines: Engines;
  bulletin: Database;
  controller: Controller | undefined;
  /** A controller has a command run beside an instance, or that has ended. */
  executed(event: ExecEvent): void;
  /** Told of what peers ask for and do not get. */
  problem(from: PeerId, message: string): void;
}): void {
  const { mesh, clock, membership, presented, verifyChain, links, engines, bulletin, controller, problem, executed } =
    dependencies;
  const { fabricId, fabricName } = membership;

  /** What a member asked for and did not get is told to the operator. */
  function refuse(from: PeerId, what: string, reason: string): void {
    controller?.refusedRequest(from, `${what}: ${reason}`);
    problem(from, `a request of ${from} for ${what} was refused: ${reason}`);
  }

  mesh.handle(
    enrollmentProtocol,
    'anyone',
    createEnrollmentServer({
      fabricId,
      fabricName,
      chain: presented,
      verifyChain,
      clock,
      onAdmitted: (peerId, identity) => links.admitted(peerId, identity),
      onRefused({ peerId, reason }) {
        controller?.refused(peerId, reason);
        problem(peerId, `${peerId} was refused: ${reason}`);
      },
      ...(controller && { admission: controller.admission }),
    }),
  );

  mesh.handle(
    replicateProtocol,
    'admitted',
    createReplicationServer({
      async resolve(from, kind) {
        if (kind === 'bulletin') {
          return { database: bulletin, guard: () => 'facts are read from a bulletin, never pushed into it' };
        }
        const mailbox = await controller?.mailboxOf(from);
        return mailbox && { database: mailbox.database, guard: mailbox.guard };
      },
      onRefused: ({ from, database, reason, document }) =>
        refuse(from, document === undefined ? database : `${document} of ${database}`, reason),
    }),
  );

  const forControllers =
    (what: string) =>
    (peerId: PeerId): boolean => {
      if (links.linked().some((peer) => peer.peerId === peerId && peer.identity.kind === 'controller')) return true;
      refuse(peerId, what, 'they are for controllers');
      return false;
    };
  mesh.handle(logsProtocol, 'admitted', serveLogs({ engines, isController: forControllers('logs') }));
  const run = createExecSessions({ clock, engines, told: executed, problem });
  mesh.handle(execProtocol, 'admitted', serveExec({ run, isController: forControllers('commands') }));
}

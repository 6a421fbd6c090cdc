// One node from start to stop: identity, mesh, and then founding, enrolling, or going on as the member that it is. Called by
// daemon.ts with real ports and by the simulator with its own. It prints nothing: what happens is reported.

import { toDnsLabel } from '../control/names.ts';
import type { StatusView } from '../control/views.ts';
import type { Mesh } from '../mesh/mesh.ts';
import { peerIdOf } from '../pki/peer-id.ts';
import { validityOf } from '../pki/rotation.ts';
import { createActorSystem } from './actor-system.ts';
import { type Approving, startApproving } from './approving.ts';
import { enroll } from './enrolling.ts';
import { AlreadyMemberError } from './errors.ts';
import { foundFabric, readControllerAuthority } from './founding.ts';
import { type Member, startMember } from './member.ts';
import { authorityFile, createKeyFile, identityFile, type Membership } from './membership.ts';
import type { NodePorts, NodeSettings, Report } from './node-ports.ts';
import { readOwnFiles } from './own-files.ts';

export interface SelvedgeNode {
  readonly peerId: string;
  /** Name of the node; a wish while it is not admitted. */
  name(): string;
  /** Undefined until it belongs to a fabric. */
  member(): Member | undefined;
  /** Resolves once it is a member and everything has started; rejects when that cannot come true. */
  readonly joined: Promise<Member>;
  status(): Promise<StatusView>;
  stop(options: { workloads: boolean }): Promise<void>;
}

/** Whether this data folder is, or is about to become, a controller's. */
export async function isController(ports: Pick<NodePorts, 'disk' | 'keys'>, settings: NodeSettings): Promise<boolean> {
  return settings.found || (await readControllerAuthority(ports.disk, ports.keys)) !== undefined;
}

function isExpired({ chain }: Membership, nowMs: number): boolean {
  return chain.some((certificate) => validityOf(Buffer.from(certificate, 'base64')).notAfterMs < nowMs);
}

/** Resolves once the node is on the network; `joined` tells how it goes on. */
export async function startNode(ports: NodePorts, settings: NodeSettings, report: Report): Promise<SelvedgeNode> {
  const { clock, random, keys, disk } = ports;
  const own = await readOwnFiles(disk, keys);
  const { membership: stored, controllerAuthority } = own;
  if (stored !== undefined && settings.found && controllerAuthority === undefined) {
    throw new AlreadyMemberError(stored.fabricName, stored.node);
  }
  const identityKey = own.identityKey ?? (await createKeyFile(disk, keys, identityFile, 'Ed25519'));
  const authorityKey = own.authorityKey ?? (await createKeyFile(disk, keys, authorityFile, 'P-256'));
  const wishedName = settings.name ?? toDnsLabel(ports.hostName) ?? 'node';
  const peerId = peerIdOf(identityKey.publicKey);
  const jitter = (): number => random.next();
  let member: Member | undefined;
  const name = (): string => member?.membership().node ?? stored?.node ?? wishedName;
  const actors = createActorSystem({ clock, node: name, ...(ports.trace && { trace: ports.trace }) });
  let approving: Approving | undefined;
  const mesh: Mesh = await ports.createMesh(identityKey);
  const stopping = new AbortController();
  await mesh.start();
  for (const warning of own.warnings) report('problem', warning);
  report('listening', `this is ${name()}, peer ${peerId}`, { node: name(), peerId, addresses: mesh.addresses() });

  /** Nothing to join with: shows a code and waits, until the node is stopped. */
  function waitForApproval(): Promise<Membership> {
    report(
      'searching',
      'this box belongs to no fabric and looks for one on the local network; `selvedge up --found` founds one instead',
    );
    approving = startApproving({
      ports,
      settings,
      jitter,
      disk,
      mesh,
      actors,
      authorityKey,
      nodeName: wishedName,
      report,
      signal: stopping.signal,
    });
    return approving.joined;
  }

  async function becomeMember(): Promise<Membership> {
    // Whose certificate has expired is admitted again with the same keys: nobody else could renew it.
    const again = stored !== undefined && settings.token !== undefined && isExpired(stored, clock.now());
    if (stored !== undefined && !again) {
      if (settings.token !== undefined)
        report('joined', `this box is a member of ${stored.fabricName} already; the token was not used`);
      return stored;
    }
    if (settings.found) {
      const fabricName = settings.fabricName ?? 'selvedge';
      const founded = await foundFabric({
        clock,
        random,
        keys,
        disk,
        fabricName,
        node: wishedName,
        peerId,
        router: settings.router ?? 'interior',
        labels: settings.labels,
        authorityKey,
      });
      report('founded', `founded the fabric ${fabricName}`, { fabricId: founded.fabricId, fabricName });
      return founded;
    }
    const { token } = settings;
    const joined = await (token === undefined
      ? waitForApproval()
      : enroll({
          ports,
          settings: { ...settings, token },
          clock,
          jitter,
          disk,
          mesh,
          actors,
          authorityKey,
          nodeName: wishedName,
          report,
          signal: stopping.signal,
        }));
    approving = undefined;
    report('joined', `joined ${joined.fabricName} as ${joined.node}`, { fabricId: joined.fabricId, node: joined.node });
    return joined;
  }

  async function run(): Promise<Member> {
    const membership = await becomeMember();
    stopping.signal.throwIfAborted();
    member = await startMember({
      ports,
      membership,
      authorityKey,
      controllerAuthority: await readControllerAuthority(disk, keys),
      mesh,
      actors,
      jitter,
      report,
    });
    return member;
  }

  const joined = run();
  // Whoever waits for it sees the failure; nobody has to.
  joined.catch(() => undefined);
  let stopped: Promise<void> | undefined;

  async function stopOnce(workloads: boolean): Promise<void> {
    report('stopping', workloads ? 'stopping, with the workloads' : 'stopping; workloads go on');
    stopping.abort(new Error('the node is stopping'));
    await joined.then(
      (running) => running.stop({ workloads }),
      () => undefined,
    );
    await mesh.stop();
    report('stopped', 'stopped');
  }

  return {
    peerId,
    name,
    member: () => member,
    joined,
    async status() {
      if (member !== undefined) {
        const status = await (member.controller?.status ?? member).status();
        const notices = [...member.notices(), ...(status.notices ?? [])];
        return { ...status, ...(notices.length > 0 && { notices }) };
      }
      const problem = stored === undefined ? 'this box belongs to no fabric yet' : 'this node is starting';
      const approval = approving?.view();
      return {
        scope: 'node',
        fabric: { id: stored?.fabricId ?? '', name: stored?.fabricName ?? '' },
        node: name(),
        ok: false,
        problems: [problem],
        controllerReachable: false,
        ...(approval && { approval }),
        nodes: [],
        applications: [],
      };
    },
    stop({ workloads }) {
      stopped ??= stopOnce(workloads);
      return stopped;
    },
  };
}

// A box without a fabric looks for one and asks to be admitted with its token. Called by node.ts; ends with a membership
// that is on disk. What answers on the network is trusted only as far as pki/enrollment-client.ts has verified it.

import { fromPromise, waitFor } from 'xstate';
import { type Candidate, enrollmentMachine } from '../actors/enrollment.ts';
import type { Mesh } from '../mesh/mesh.ts';
import { type Enrolled, enrollWithToken } from '../pki/enrollment-client.ts';
import { enrollmentProtocol } from '../pki/enrollment-frames.ts';
import type { PrivateKey } from '../pki/keys.ts';
import { parseToken } from '../pki/tokens.ts';
import type { ActorSystem } from './actor-system.ts';
import type { Clock } from './clock.ts';
import type { Disk } from './disk.ts';
import { EnrollmentEndedError } from './errors.ts';
import { establishMs } from './limits.ts';
import { type Membership, saveMembership } from './membership.ts';
import type { NodePorts, NodeSettings, Report } from './node-ports.ts';

/** `192.0.2.7:7433`, `[2001:db8::7]:7433`, `box1.example:7433` or a multiaddr. */
export function joinAddress(text: string): string {
  if (text.startsWith('/')) return text;
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const [, v6, host = '', port] = match ?? [];
  if (match === null || Number(port) > 65_535) return '';
  if (v6 !== undefined) return `/ip6/${v6}/tcp/${port}`;
  return `/${/^\d+\.\d+\.\d+\.\d+$/.test(host) ? 'ip4' : 'dns'}/${host}/tcp/${port}`;
}

/** What is kept of an admission; `by` is the controller that gave it. */
export function membershipOf(
  enrolled: Enrolled,
  by: { peerId: string; addresses: readonly string[] },
  { router, labels }: Pick<NodeSettings, 'router' | 'labels'>,
): Membership {
  const { fabricId, fabricName, node, chain, controllers } = enrolled;
  const said = controllers.find(({ peerId }) => peerId === by.peerId)?.addresses ?? [];
  const others = controllers.filter(({ peerId }) => peerId !== by.peerId);
  return {
    fabricId,
    fabricName,
    node,
    // A node may do less than its admission allows, never more.
    router: router === 'edge' ? 'edge' : enrolled.router,
    labels,
    chain: chain.map((der) => Buffer.from(der).toString('base64')),
    controllers: [{ peerId: by.peerId, addresses: [...new Set([...by.addresses, ...said])] }, ...others],
  };
}

export async function enroll(dependencies: {
  ports: Pick<NodePorts, 'platform' | 'software' | 'hostName' | 'engines'>;
  settings: NodeSettings & { token: string };
  clock: Clock;
  jitter: () => number;
  disk: Disk;
  mesh: Mesh;
  actors: ActorSystem;
  authorityKey: PrivateKey;
  /** A DNS label: as chosen, or made of the host's name. */
  nodeName: string;
  report: Report;
  signal: AbortSignal;
}): Promise<Membership> {
  const { ports, settings, clock, disk, mesh, actors, authorityKey, report, signal } = dependencies;
  const { fabricId } = parseToken(settings.token);

  async function ask(candidate: Candidate, abort: AbortSignal): Promise<Membership> {
    const deadline = new AbortController();
    const timer = clock.setTimeout(() => deadline.abort(new Error('it took too long')), establishMs);
    const limit = AbortSignal.any([abort, deadline.signal]);
    try {
      const peerId = await mesh.connect(candidate, limit);
      report('joining', `asking ${peerId} to be admitted`, { peerId });
      const enrolled = await enrollWithToken({
        stream: await mesh.open(peerId, enrollmentProtocol, limit),
        peerId,
        clock,
        signal: limit,
        token: settings.token,
        self: mesh.peerId,
        name: dependencies.nodeName,
        nameChosen: settings.name !== undefined,
        key: authorityKey,
        labels: settings.labels,
        engines: ports.engines.offered(),
        platform: { ...ports.platform, software: ports.software },
      });
      const membership = membershipOf(enrolled, { peerId, addresses: candidate.addresses }, settings);
      await saveMembership(disk, membership);
      return membership;
    } finally {
      clock.clearTimeout(timer);
    }
  }

  const machine = enrollmentMachine.provide({
    actors: {
      enroll: fromPromise<unknown, { candidate: Candidate }>(({ input, signal: abort }) => ask(input.candidate, abort)),
    },
  });
  const join = settings.join.map((address) => ({ addresses: [joinAddress(address)] }));
  const actor = actors.spawn('enrollment', machine, { join, jitter: dependencies.jitter });
  let told = '';
  actor.subscribe(({ context: { reason } }) => {
    if (reason !== '' && reason !== told) report('problem', reason);
    told = reason;
  });
  const offer = (found: { peerId: string; addresses: string[]; fabricId: string | undefined }): void => {
    // Another fabric on the same network is left alone.
    if (found.fabricId !== fabricId) return;
    report('found', `found ${found.peerId} of the token's fabric`, {
      peerId: found.peerId,
      addresses: found.addresses,
    });
    actor.send({ type: 'FOUND', candidate: { peerId: found.peerId, addresses: found.addresses } });
  };
  const unsubscribe = mesh.subscribe((event) => {
    if (event.type === 'found') offer(event);
  });
  for (const found of mesh.found()) offer(found);
  try {
    report('searching', 'looking for the fabric of the token on the local network', { fabricId });
    const { value, context } = await waitFor(actor, ({ status }) => status !== 'active', {
      timeout: Number.POSITIVE_INFINITY,
      signal,
    });
    if (value !== 'joined') throw new EnrollmentEndedError(context.reason);
    return context.membership as Membership;
  } finally {
    unsubscribe();
    actor.stop();
  }
}

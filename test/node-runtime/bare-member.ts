// A member that does not run Selvedge: it has joined honestly, and then opens what it likes and sends what it likes. For tests
// of what the others let it do, on the simulated and on the real mesh.

import { randomUUID } from 'node:crypto';
import { createMessageChannel } from '../../control/message-channel.ts';
import type { Address, FrameStream, Mesh, PeerId } from '../../mesh/mesh.ts';
import type { Clock } from '../../node-runtime/clock.ts';
import { replicateProtocol } from '../../node-runtime/replicas.ts';
import { type Enrolled, enrollWithToken, presentMembership } from '../../pki/enrollment-client.ts';
import { enrollmentProtocol } from '../../pki/enrollment-frames.ts';
import type { SignPayload } from '../../pki/identity.ts';
import type { Keys, PrivateKey } from '../../pki/keys.ts';
import { createSigner } from '../../pki/signature.ts';
import { createChainVerifier } from '../../pki/verify-chain.ts';

export interface BareMember {
  mesh: Mesh;
  enrolled: Enrolled;
  authorityKey: PrivateKey;
  sign: SignPayload;
  controller: PeerId;
  /** Dials the controller and proves membership; again after the connection was lost. */
  present(): Promise<void>;
  open(protocol: string): Promise<FrameStream>;
  /** Opens a database by replication. */
  replication(database: string): Promise<BareReplication>;
}

export interface BareReplication {
  stream: FrameStream;
  /** What opening was answered. */
  opening: unknown;
  /** Asks and returns the answer, other messages skipped; undefined when the stream is over. */
  ask(method: string, ...args: unknown[]): Promise<Record<string, unknown> | undefined>;
  receive(): Promise<unknown>;
}

export async function joinAsBareMember({
  mesh,
  clock,
  keys,
  controller,
  addresses,
  token,
  name = `bare-${randomUUID().slice(0, 8)}`,
}: {
  /** Started. */
  mesh: Mesh;
  clock: Clock;
  keys: Keys;
  controller: PeerId;
  addresses: readonly Address[];
  token: string;
  name?: string;
}): Promise<BareMember> {
  const authorityKey = keys.create('P-256');
  await mesh.connect({ peerId: controller, addresses });
  const enrolled = await enrollWithToken({
    stream: await mesh.open(controller, enrollmentProtocol),
    ...{ peerId: controller, clock, token, name, self: mesh.peerId, key: authorityKey },
    nameChosen: true,
    labels: {},
    engines: ['process'],
    platform: { os: 'linux', arch: 'x64', software: 'bare' },
  });
  const { fabricId, chain } = enrolled;
  const verifyChain = createChainVerifier({ fabricId, clock });
  const open = (protocol: string): Promise<FrameStream> => mesh.open(controller, protocol);

  return {
    ...{ mesh, enrolled, authorityKey, controller, open },
    sign: createSigner({ key: authorityKey, chain }),
    async present() {
      await mesh.connect({ peerId: controller, addresses });
      await presentMembership({
        stream: await open(enrollmentProtocol),
        ...{ peerId: controller, chain, verifyChain, clock },
        onVerified: () => mesh.admit(controller),
      });
    },
    async replication(database) {
      const stream = await open(replicateProtocol);
      const channel = createMessageChannel(stream);
      await channel.send(JSON.stringify({ open: database }));
      const opening = await channel.receive();
      let id = 0;
      return {
        stream,
        opening,
        receive: () => channel.receive(),
        async ask(method, ...args) {
          id += 1;
          await channel.send(JSON.stringify({ id, method, args }));
          for (;;) {
            const answer = (await channel.receive()) as Record<string, unknown> | undefined;
            if (answer === undefined || answer['id'] === id) return answer;
          }
        },
      };
    },
  };
}

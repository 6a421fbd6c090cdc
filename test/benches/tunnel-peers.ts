// Nodes for the tunnel's paths that daemons on one box do not take, each a process of its own (tunnel-peer.ts): two that call and are called,
// a router between them, and one that is called over a long path. Called by tunnel-paths.ts.

import { spawn } from 'node:child_process';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { MicroserviceName } from '../../control/plan.ts';
import type { PeerId } from '../../mesh/mesh.ts';
import { peerIdOf } from '../../pki/peer-id.ts';
import { eventually } from '../eventually.ts';
import { createTestFabric, type TestNode } from '../mesh/credentials.ts';
import { createIdentityPem } from '../mesh/libp2p-world.ts';
import type { BenchRun } from './run.ts';
import type { TunnelPeerCalls, TunnelPeerSettings } from './tunnel-peer.ts';

const script = fileURLToPath(new URL('tunnel-peer.ts', import.meta.url));

type Answered<F> = F extends (...given: never[]) => infer R ? Awaited<R> : never;

export interface TunnelPeer extends TestNode {
  pid: number;
  call<Name extends keyof TunnelPeerCalls>(
    name: Name,
    ...given: Parameters<TunnelPeerCalls[Name]>
  ): Promise<Answered<TunnelPeerCalls[Name]>>;
}

type PeerRun = Pick<BenchRun, 'atEnd' | 'nodeOptions'>;

function startPeer(run: PeerRun, node: TestNode, settings: TunnelPeerSettings): TunnelPeer {
  // As the program keeps its own (bin/selvedge.js), and to collect garbage when it is asked for.
  const options = ['--semi-space-growth-factor=1', '--expose-gc', ...run.nodeOptions, script];
  const child = spawn(process.execPath, options, {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, MALLOC_ARENA_MAX: '1' },
  });
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  run.atEnd(async () => {
    child.stdin.end();
    const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
    await closed;
    clearTimeout(timer);
  });
  child.stdin.on('error', () => undefined);
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  child.stdin.write(`${JSON.stringify(settings)}\n`);
  let turn: Promise<unknown> = answers.next();
  return {
    ...node,
    pid: child.pid ?? 0,
    call(name, ...given) {
      const answered = turn.then(async () => {
        child.stdin.write(`${JSON.stringify([name, ...given])}\n`);
        const { value: line } = await answers.next();
        const { value, error = 'it ended' } = JSON.parse(line ?? '{}') as { value?: unknown; error?: string };
        if (value === undefined) throw new Error(`${node.name}, ${name}: ${error}`);
        return value as never;
      });
      turn = answered.catch(() => undefined);
      return answered;
    },
  };
}

export interface TunnelPeers {
  near: TunnelPeer;
  router: TunnelPeer;
  far: TunnelPeer;
  distant: TunnelPeer;
}

/** `near` and `far` are linked to the router, and to each other through it; `distant` is linked to nobody. */
export async function startTunnelPeers(
  run: PeerRun,
  { calling, called }: { calling: MicroserviceName; called: MicroserviceName },
): Promise<TunnelPeers> {
  const fabric = createTestFabric();
  const create = (name: string, covers: MicroserviceName[]) => {
    const identityPem = createIdentityPem();
    const key = createPublicKey(createPrivateKey(identityPem)).export({ type: 'spki', format: 'der' });
    return { identityPem, node: fabric.node(name, covers, peerIdOf(key)) };
  };
  const made = {
    ...{ near: create('near', [calling]), router: create('router', []) },
    ...{ far: create('far', [called]), distant: create('distant', [called]) },
  };
  const [nearId, routerId, farId] = [made.near.node.peerId, made.router.node.peerId, made.far.node.peerId];
  const start = (of: keyof typeof made, router: 'interior' | 'edge', nextHops: Record<PeerId, PeerId>): TunnelPeer => {
    const { identityPem, node } = made[of];
    const { fabricId, rootDer } = fabric;
    const root = Buffer.from(rootDer).toString('base64');
    const credential = node.ownCredential;
    return startPeer(run, node, { identityPem, peerId: node.peerId, fabricId, root, credential, router, nextHops });
  };
  const near = start('near', 'edge', { [farId]: routerId, [routerId]: routerId });
  const router = start('router', 'interior', { [nearId]: nearId, [farId]: farId });
  const far = start('far', 'edge', { [nearId]: routerId, [routerId]: routerId });
  const distant = start('distant', 'edge', {});
  await linkTogether(near, router, await router.call('addresses'));
  await linkTogether(far, router, await router.call('addresses'));
  await linkTogether(near, far, []);
  // What links tell: calls through the router go on sessions with it.
  const tell = async (to: TunnelPeer, of: TunnelPeer): Promise<void> => {
    const { addresses = [] } = (await of.call('offer')) ?? {};
    await to.call('setOffer', of.peerId, { addresses, authorityKeySha256: of.authorityKeySha256 });
  };
  for (const end of [near, far]) await Promise.all([tell(end, router), tell(router, end)]);
  return { near, router, far, distant };
}

/** By addresses of the other; without any, through others. */
export async function linkTogether(one: TunnelPeer, other: TunnelPeer, addresses: string[]): Promise<void> {
  await one.call('connect', other.peerId, addresses);
  await eventually(() => other.call('isConnected', one.peerId), { deadlineMs: 60_000, what: 'both ends to be linked' });
  await one.call('admit', other.peerId);
  await other.call('admit', one.peerId);
}

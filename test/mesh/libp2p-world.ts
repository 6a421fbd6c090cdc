// Real nodes on loopback for the tests of libp2p-mesh.ts, each with a key of its own, without discovery.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:net';
import type { ExecutionContext } from 'ava';
import { createLibp2pMesh, type Libp2pMeshOptions } from '../../mesh/libp2p-mesh.ts';
import type { Mesh } from '../../mesh/mesh.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSystemRandom } from '../../node-runtime/system-random.ts';

/** A new Ed25519 key, PKCS#8 PEM. */
export function createIdentityPem(): string {
  return generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** A started node; stopped when the test ends. */
export async function startNode(t: ExecutionContext, options: Partial<Libp2pMeshOptions> = {}): Promise<Mesh> {
  const mesh = await createLibp2pMesh({
    identityPem: createIdentityPem(),
    clock: createSystemClock(),
    random: createSystemRandom(),
    listen: { port: 0, hosts: ['127.0.0.1'] },
    discovery: false,
    ...options,
  });
  t.teardown(() => mesh.stop());
  await mesh.start();
  return mesh;
}

/** A port of 127.0.0.1 on which nobody listens, as far as one can know. */
export async function freePort(): Promise<number> {
  const server = createServer();
  const port = await new Promise<number>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
  });
  await new Promise((resolve) => {
    server.close(resolve);
  });
  return port;
}

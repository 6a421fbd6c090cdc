// Listening on several hosts of both families. Called by libp2p-mesh.ts.

import { ListenError } from './errors.ts';
import type { Libp2pNode } from './libp2p-node.ts';

/** Every address of both families: a box may have only one of them. */
const ANY_HOST = ['0.0.0.0', '::'] as const;

/**
 * Port 0 takes any, the same one for both families where it can be had: shorter to read, and one rule in a firewall. A host
 * that the box does not have is left out, unless none is left; a given port that is taken is an error. Rejects with ListenError.
 */
export async function listenOnHosts(
  node: Libp2pNode,
  { port, hosts = ANY_HOST }: { port: number; hosts?: readonly string[] },
): Promise<{ host: string; port: number }[]> {
  const listening: { host: string; port: number }[] = [];
  let failure: unknown = new ListenError('there is no host to listen on');
  for (const host of hosts) {
    const wanted = port === 0 ? (listening[0]?.port ?? 0) : port;
    try {
      listening.push({ host, port: await listenOn(node, host, wanted, port === 0) });
    } catch (error) {
      if (port !== 0 && isTaken(error)) throw error;
      failure = error;
    }
  }
  if (listening.length === 0) throw failure;
  return listening;
}

async function listenOn(node: Libp2pNode, host: string, port: number, orAny: boolean): Promise<number> {
  try {
    return await node.listen(host, port);
  } catch (error) {
    if (orAny && port !== 0 && isTaken(error)) return node.listen(host, 0);
    throw error;
  }
}

function isTaken(error: unknown): boolean {
  return error instanceof ListenError && error.cause instanceof Error && error.cause.message.includes('EADDRINUSE');
}

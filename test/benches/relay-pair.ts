// Two processes in front of a server that carry each connection over TLS between them: the least that a secure tunnel made of
// node:tls can be. Called by tunnel.ts.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { createTestFabric } from '../mesh/credentials.ts';
import type { BenchRun } from './run.ts';
import type { RelaySettings } from './tls-relay.ts';

const script = fileURLToPath(new URL('tls-relay.ts', import.meta.url));

export interface Relay {
  port: number;
  pid: number;
}

async function startRelay(run: Pick<BenchRun, 'atEnd'>, settings: RelaySettings): Promise<Relay> {
  const child = spawn(process.execPath, [script], { stdio: ['pipe', 'pipe', 'inherit'] });
  run.atEnd(() => void child.kill('SIGKILL'));
  child.stdin.on('error', () => undefined);
  child.stdin.write(`${JSON.stringify(settings)}\n`);
  for await (const line of createInterface({ input: child.stdout })) return { port: Number(line), pid: child.pid ?? 0 };
  throw new Error('a relay ended at once');
}

/** The near end, which is connected to, and the far one. The same kind of certificates as workloads have. */
export async function startRelayPair(
  run: Pick<BenchRun, 'atEnd'>,
  target: { host: string; port: number },
): Promise<{ near: Relay; far: Relay }> {
  const name = { project: 'default', application: 'bench', microservice: 'relay' };
  const fabric = createTestFabric();
  const { keyPem, chainPem } = fabric.node('relay', [name]).issue(name);
  const rootPem = `-----BEGIN CERTIFICATE${chainPem.split('-----BEGIN CERTIFICATE').at(-1)}`;
  const credential = { keyPem, chainPem, rootPem };
  const far = await startRelay(run, { mode: 'listen', target, ...credential });
  const near = await startRelay(run, { mode: 'dial', target: { host: '127.0.0.1', port: far.port }, ...credential });
  return { near, far };
}

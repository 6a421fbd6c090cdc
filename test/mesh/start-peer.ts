// Starts mesh-peer.ts, also inside a network namespace, and reads what it prints.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { eventually } from '../eventually.ts';
import type { PeerSettings } from './mesh-peer.ts';

export interface PeerLine {
  atMs: number;
  type: string;
  peerId?: string;
  addresses?: string[];
  fabricId?: string;
  address?: string;
  message?: string;
}

export interface Peer {
  pid: number;
  peerId: string;
  addresses: string[];
  /** Everything it has printed. */
  lines: PeerLine[];
  signal(name: NodeJS.Signals): void;
  /** Closes its input; resolves when it has ended. */
  end(): Promise<void>;
}

/** Resolves when it is ready; it is killed when the test ends. */
export async function startPeer(t: ExecutionContext, settings: PeerSettings, namespace?: string): Promise<Peer> {
  const program = fileURLToPath(new URL('mesh-peer.ts', import.meta.url));
  const command = [process.execPath, program, JSON.stringify(settings)];
  const [file = '', ...args] = namespace === undefined ? command : ['ip', 'netns', 'exec', namespace, ...command];
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const lines: PeerLine[] = [];
  let complaints = '';
  let ended = false;
  child.stderr.on('data', (data) => {
    complaints += data;
  });
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(JSON.parse(line) as PeerLine));
  const closed = new Promise<void>((resolve) => {
    child.once('close', () => {
      ended = true;
      resolve();
    });
  });
  child.stdin.on('error', () => {});
  t.teardown(async () => {
    child.kill('SIGKILL');
    await closed;
  });
  const ready = await eventually(
    () => {
      if (ended) throw new Error(`the peer ended: ${complaints}`);
      return lines.find(({ type }) => type === 'ready');
    },
    { deadlineMs: 60_000, what: 'the peer is ready' },
  );
  return {
    pid: child.pid ?? 0,
    peerId: ready.peerId ?? '',
    addresses: ready.addresses ?? [],
    lines,
    signal: (name) => child.kill(name),
    async end() {
      child.stdin.end();
      await closed;
    },
  };
}

// The box's side of an approval: the code that it shows, and the controllers' proofs that it checks. Made by
// node-runtime/approving.ts while the box belongs to no fabric. The code leaves it by `current` alone, for the box's own screen.

import type { Clock, TimerId } from '../node-runtime/clock.ts';
import type { Random } from '../node-runtime/random.ts';
import { approvalCodeBytes, formatApprovalCode, newApprovalCode } from './approval-code.ts';
import { approvalProof, type DeriveKey, isSameProof, type ProofContext } from './approval-proof.ts';
import {
  approvalChecksPerPeerMax,
  approvalChecksPerSecondMax,
  approvalCodeLifetimeMs,
  approvalNonceBytes,
  approvalPeersCountedMax,
} from './limits.ts';
import { createRateLimiter } from './rate-limit.ts';

export interface ShownCode {
  /** As it is shown: `K7-ABCD-EFGH-JK`. */
  code: string;
  handle: string;
  /** Salt of the key and the box's nonce in both proofs; public. */
  nonce: Uint8Array;
  expiresAt: number;
}

export type ProofVerdict =
  | { verdict: 'busy' }
  | { verdict: 'wrong' }
  /** The controller knows the code; `proof` is this box's own. */
  | { verdict: 'right'; proof: Uint8Array };

export interface ApprovalDesk {
  /** Resolves once the first code has its key. */
  start(): Promise<void>;
  stop(): void;
  current(): ShownCode;
  /** Called with each new code, once it can be used: after an hour, and after use. */
  subscribe(listener: (shown: ShownCode) => void): () => void;
  /** Checks a controller's proof in constant time. One that is right uses up the code. */
  check(given: Omit<ProofContext, 'nodePeerId' | 'nodeNonce'> & { proof: Uint8Array }): ProofVerdict;
}

interface Shown extends ShownCode {
  key: Uint8Array;
}

export function createApprovalDesk(dependencies: {
  clock: Clock;
  random: Random;
  deriveKey: DeriveKey;
  /** This box's peer id. */
  self: string;
  /** Deriving a key failed: the code stays as it is until the next try. */
  onFailed: (error: unknown) => void;
}): ApprovalDesk {
  const { clock, random, deriveKey, self, onFailed } = dependencies;
  const checks = createRateLimiter({
    clock,
    windowMs: 1000,
    perKeyMax: approvalChecksPerPeerMax,
    totalMax: approvalChecksPerSecondMax,
    keysMax: approvalPeersCountedMax,
  });
  const listeners = new Set<(shown: ShownCode) => void>();
  let shown: Shown | undefined;
  let timer: TimerId | undefined;
  let stopped = false;

  async function begin(): Promise<void> {
    const { code, handle } = newApprovalCode(random.bytes(approvalCodeBytes));
    const nonce = random.bytes(approvalNonceBytes);
    const key = await deriveKey(code, nonce);
    if (stopped) return;
    const expiresAt = clock.now() + approvalCodeLifetimeMs;
    shown = { code: formatApprovalCode(code), handle, nonce, expiresAt, key };
    timer = clock.setTimeout(renew, approvalCodeLifetimeMs);
    for (const listener of [...listeners]) listener(view(shown));
  }

  /** The old code is worth nothing from here on, whether or not the new one is ready. */
  function renew(): void {
    clock.clearTimeout(timer);
    if (shown !== undefined) shown.key = random.bytes(shown.key.length);
    begin().catch((error: unknown) => {
      onFailed(error);
      if (!stopped) timer = clock.setTimeout(renew, 1000);
    });
  }

  const view = ({ code, handle, nonce, expiresAt }: Shown): ShownCode => ({ code, handle, nonce, expiresAt });

  return {
    start: begin,
    stop() {
      stopped = true;
      clock.clearTimeout(timer);
      shown = undefined;
      listeners.clear();
    },
    current() {
      if (shown === undefined) throw new Error('there is no code: the desk does not run');
      return view(shown);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    check({ proof, ...given }) {
      if (!checks.allow(given.controllerPeerId)) return { verdict: 'busy' };
      if (shown === undefined || clock.now() >= shown.expiresAt) return { verdict: 'wrong' };
      const { key, nonce } = shown;
      const context = { ...given, nodePeerId: self, nodeNonce: nonce };
      if (!isSameProof(proof, approvalProof(key, 'controller', context))) return { verdict: 'wrong' };
      const own = approvalProof(key, 'node', context);
      renew();
      return { verdict: 'right', proof: own };
    },
  };
}

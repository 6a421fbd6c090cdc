// The controller's side of an approval: somebody typed a code; which of the boxes that wait shows it? Called by
// node-runtime/admissions.ts. The controller proves first that it knows the code, and each proof is made for one box alone. It
// never shows a code, and keeps none longer than one approval takes.

import type { Clock } from '../node-runtime/clock.ts';
import type { Random } from '../node-runtime/random.ts';
import { parseApprovalCode } from './approval-code.ts';
import { approvalProof, type DeriveKey, isSameProof } from './approval-proof.ts';
import { ApprovalBusyError, ApprovalFailedError, ApprovalRefusedError } from './errors.ts';
import {
  approvalAnswerMs,
  approvalDerivationsMax,
  approvalNonceBytes,
  approvalQuietMs,
  approvalRetryMs,
  approvalsMax,
  approvalTimeoutMs,
} from './limits.ts';
import type { AdmissionWish, PendingEntry, PendingRequests } from './pending-requests.ts';

export interface Approved {
  node: string;
  peerId: string;
}

export interface Approvals {
  /**
   * Tries every box that claims the code's handle, also those that come meanwhile, and admits the one that proves that it shows
   * the code. Throws ApprovalCodeError, ApprovalFailedError (nobody did), ApprovalRefusedError (it may not have that name),
   * ApprovalBusyError.
   */
  approve(code: string, wish: Omit<AdmissionWish, 'by'>): Promise<Approved>;
}

/** At most so many at a time; the others wait in order. */
function createGate(max: number): <T>(run: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (run) => {
    if (running >= max) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await run();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  };
}

interface Tries {
  asked: number;
  /** Boxes that said that our proof is wrong, or that is what a mistyped code looks like. */
  wrong: number;
  /** Boxes, or what poses as such, whose own proof was wrong. */
  forged: number;
  running: number;
  lastAt: number;
}

export function createApprovals(dependencies: {
  clock: Clock;
  random: Random;
  deriveKey: DeriveKey;
  fabricId: string;
  /** This controller's peer id. */
  self: string;
  pending: PendingRequests;
  /** A box claimed the handle and answered with a wrong proof. */
  onForged: (forgery: { peerId: string; address: string }) => void;
}): Approvals {
  const { clock, random, deriveKey, fabricId, self, pending, onForged } = dependencies;
  const derive = createGate(approvalDerivationsMax);
  let approvals = 0;

  /** The box's request once it has proved itself; undefined when it did not. Rejects when it went away or was silent. */
  async function tryOne(
    entry: PendingEntry,
    code: string,
    tries: Tries,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const key = await derive(async () => {
      signal.throwIfAborted();
      if (!pending.entries().includes(entry)) throw new Error('it went away while others were tried');
      return await deriveKey(code, entry.nonce);
    });
    for (;;) {
      signal.throwIfAborted();
      const controllerNonce = random.bytes(approvalNonceBytes);
      const peers = { controllerPeerId: self, nodePeerId: entry.peerId };
      const context = { ...peers, controllerNonce, nodeNonce: entry.nonce, fabricId };
      const question = {
        type: 'prove' as const,
        nonce: Buffer.from(controllerNonce).toString('base64'),
        proof: Buffer.from(approvalProof(key, 'controller', context)).toString('base64'),
      };
      const options = { timeoutMs: approvalAnswerMs, signal };
      const reply = await entry.ask(question, ['proved', 'wrong', 'busy'], options);
      tries.lastAt = clock.now();
      if (reply.type === 'busy') {
        await clock.sleep(approvalRetryMs * (1 + random.next()), signal);
        continue;
      }
      if (reply.type === 'wrong') {
        tries.wrong += 1;
        return undefined;
      }
      if (isSameProof(Buffer.from(reply.proof, 'base64'), approvalProof(key, 'node', context))) return reply.request;
      tries.forged += 1;
      onForged(entry);
      await entry.end();
      return undefined;
    }
  }

  function failure(handle: string, { asked, wrong, forged }: Tries): ApprovalFailedError {
    if (asked === 0) return new ApprovalFailedError(`no box with the handle ${handle} waits here`);
    const said = [
      wrong > 0 && `${wrong} said that the code is wrong`,
      forged > 0 && `${forged} did not know it`,
      asked > wrong + forged && `${asked - wrong - forged} did not answer`,
    ].filter((text) => text !== false);
    return new ApprovalFailedError(`of ${asked} with the handle ${handle} none shows this code: ${said.join(', ')}`);
  }

  async function run(code: string, handle: string, wish: Omit<AdmissionWish, 'by'>): Promise<Approved> {
    const { promise: proved, resolve: succeed } = Promise.withResolvers<{ entry: PendingEntry; request: string }>();
    const others = new AbortController();
    const seen = new Set<number>();
    const startedAt = clock.now();
    const tries: Tries = { asked: 0, wrong: 0, forged: 0, running: 0, lastAt: startedAt };
    let found = false;

    function begin(entry: PendingEntry): void {
      if (found || entry.handle !== handle || seen.has(entry.id)) return;
      seen.add(entry.id);
      tries.asked += 1;
      tries.running += 1;
      tries.lastAt = clock.now();
      tryOne(entry, code, tries, others.signal)
        .then(
          (request) => {
            if (request === undefined || found) return;
            found = true;
            succeed({ entry, request });
          },
          () => undefined,
        )
        .finally(() => {
          tries.running -= 1;
        });
    }

    /** Resolves when nothing is left to wait for. */
    async function untilQuiet(): Promise<void> {
      for (;;) {
        await clock.sleep(approvalRetryMs, others.signal);
        const now = clock.now();
        if (now - startedAt >= approvalTimeoutMs) return;
        if (tries.running === 0 && now - tries.lastAt >= approvalQuietMs) return;
      }
    }

    const unsubscribe = pending.subscribe(begin);
    for (const entry of pending.entries()) begin(entry);
    try {
      const winner = await Promise.race([proved, untilQuiet().then(() => undefined)]);
      if (winner === undefined) throw failure(handle, tries);
      const { entry, request } = winner;
      const outcome = await entry.admit(request, { ...wish, by: 'approval' });
      if ('refused' in outcome) throw new ApprovalRefusedError(outcome.refused);
      return { node: outcome.admitted.node, peerId: entry.peerId };
    } finally {
      unsubscribe();
      found = true;
      others.abort(new Error('the approval has ended'));
    }
  }

  return {
    async approve(text, wish) {
      const { code, handle } = parseApprovalCode(text);
      if (approvals >= approvalsMax) throw new ApprovalBusyError(`${approvalsMax} approvals run already`);
      approvals += 1;
      try {
        return await run(code, handle, wish);
      } finally {
        approvals -= 1;
      }
    },
  };
}

// Dials several addresses of one peer, a few at a time, until one answers. Called by libp2p-mesh.ts. It does not know what
// a connection is: `dial` makes one, `discard` closes one that came too late.

import type { Clock } from '../node-runtime/clock.ts';
import { PeerMismatchError, UnreachableError } from './errors.ts';
import { connectTimeoutMs, dialAddressesMax, dialStaggerMs, dialsInParallelMax, dialTimeoutMs } from './limits.ts';
import type { Address } from './mesh.ts';

export interface DialPorts<Connection> {
  clock: Clock;
  dial(address: Address, signal: AbortSignal): Promise<Connection>;
  discard(connection: Connection): void;
}

/**
 * The next address starts when one has failed or `dialStaggerMs` have passed (RFC 8305, section 5), in the given order.
 * Rejects with PeerMismatchError when somebody else answered and the peer did not, else with UnreachableError.
 */
export async function dialAny<Connection>(
  addresses: readonly Address[],
  { clock, dial, discard }: DialPorts<Connection>,
  signal?: AbortSignal,
): Promise<Connection> {
  signal?.throwIfAborted();
  const waiting = [...new Set(addresses)].slice(0, dialAddressesMax);
  const failures: { address: Address; error: unknown }[] = [];
  // One controller per attempt, and none is aborted once its attempt has succeeded: Node ties the whole life of a socket to
  // the signal that it was connected with.
  const attempts = new Set<AbortController>();
  let over = false;
  const outcome = Promise.withResolvers<Connection>();
  const cleanUps: (() => void)[] = [];
  let running = 0;

  function after(delayMs: number, run: () => void): () => void {
    const timer = clock.setTimeout(run, delayMs);
    const cancel = () => clock.clearTimeout(timer);
    cleanUps.push(cancel);
    return cancel;
  }

  function startNext(): void {
    if (over || running >= dialsInParallelMax) return;
    const address = waiting.shift();
    if (address === undefined) {
      if (running === 0) outcome.reject(failureOf(failures));
      return;
    }
    running++;
    void dialOne(address);
    if (waiting.length > 0) after(dialStaggerMs, startNext);
  }

  async function dialOne(address: Address): Promise<void> {
    const attempt = new AbortController();
    attempts.add(attempt);
    const cancel = after(dialTimeoutMs, () => attempt.abort(new Error(`no answer within ${dialTimeoutMs} ms`)));
    try {
      const connection = await dial(address, attempt.signal);
      attempts.delete(attempt);
      if (over) {
        discard(connection);
      } else {
        // At once: a second dial that is about to succeed must not be handed out too.
        finish();
        outcome.resolve(connection);
      }
    } catch (error) {
      attempts.delete(attempt);
      failures.push({ address, error: attempt.signal.aborted ? attempt.signal.reason : error });
    }
    cancel();
    running--;
    startNext();
  }

  function finish(): void {
    over = true;
    for (const attempt of attempts) attempt.abort(new Error('the dial is over'));
    attempts.clear();
  }

  const abort = () => outcome.reject(signal?.reason);
  signal?.addEventListener('abort', abort, { once: true });
  after(connectTimeoutMs, () =>
    outcome.reject(
      failureOf([...failures, ...waiting.map((address) => ({ address, error: new Error('not reached in time') }))]),
    ),
  );
  startNext();
  try {
    return await outcome.promise;
  } finally {
    signal?.removeEventListener('abort', abort);
    for (const cleanUp of cleanUps) cleanUp();
    finish();
  }
}

function failureOf(failures: { address: Address; error: unknown }[]): Error {
  const mismatch = failures.find(({ error }) => error instanceof PeerMismatchError);
  if (mismatch !== undefined) return mismatch.error as PeerMismatchError;
  const tried = failures.map(
    ({ address, error }) => `${address}: ${error instanceof Error ? error.message : String(error)}`,
  );
  return new UnreachableError(
    tried.length === 0 ? 'there is no address to dial' : `no address answered (${tried.join('; ')})`,
    {
      cause: failures[0]?.error,
    },
  );
}

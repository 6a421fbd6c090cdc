// The open window, on a controller: for a while boxes that were started with --trust-lan are admitted without a proof. Called by
// node-runtime/admissions.ts. It is in memory alone, so that a restart closes it; both sides must want it, and it closes by itself.

import type { Clock, TimerId } from '../node-runtime/clock.ts';
import { readAddressRanges } from './address-ranges.ts';
import { WindowRefusedError } from './errors.ts';
import { approvalAnswerMs, windowAdmissionsMax, windowMsMax, windowMsMin, windowRangesMax } from './limits.ts';
import type { AdmissionWish, PendingEntry, PendingRequests } from './pending-requests.ts';

export interface WindowRequest {
  forMs: number;
  /** `192.0.2.0/24`, `2001:db8::/32`: where boxes may come from. At least one. */
  cidrs: string[];
  max: number;
  labels: Record<string, string>;
  router: AdmissionWish['router'];
}

export interface WindowState extends WindowRequest {
  openedAt: number;
  until: number;
  /** Names of the nodes that it admitted. */
  admitted: string[];
}

export interface EnrollWindow {
  /** Throws WindowRefusedError: one is open, or the bounds are not accepted. */
  open(request: WindowRequest): WindowState;
  /** What was closed; undefined when none was open. */
  close(): WindowState | undefined;
  /** Undefined while none is open. */
  state(): WindowState | undefined;
}

export function createEnrollWindow(dependencies: {
  clock: Clock;
  pending: PendingRequests;
  onAdmitted: (node: string, entry: PendingEntry) => void;
  onClosed: (state: WindowState, reason: string) => void;
}): EnrollWindow {
  const { clock, pending, onAdmitted, onClosed } = dependencies;
  let current: { state: WindowState; contains(address: string): boolean; closing: AbortController } | undefined;
  let timer: TimerId | undefined;
  let unsubscribe: (() => void) | undefined;
  /** Invited and not yet decided: they count, so that a burst never admits more than `max`. */
  let invited = 0;

  function shut(reason: string): WindowState | undefined {
    if (current === undefined) return undefined;
    const { state, closing } = current;
    current = undefined;
    clock.clearTimeout(timer);
    unsubscribe?.();
    closing.abort(new Error('the window was closed'));
    onClosed(state, reason);
    return state;
  }

  function inviteAll(): void {
    for (const entry of pending.entries()) consider(entry);
  }

  function consider(entry: PendingEntry): void {
    if (current === undefined || !entry.trustLan || !current.contains(entry.address)) return;
    const { state, closing } = current;
    if (state.admitted.length + invited >= state.max) return;
    invited += 1;
    invite(entry, state, closing.signal)
      // It went away, or was too slow: the next one may have its place.
      .catch(() => undefined)
      .finally(() => {
        invited -= 1;
        if (current?.state === state && state.admitted.length >= state.max) shut(`it admitted ${state.max}`);
      });
  }

  async function invite(entry: PendingEntry, state: WindowState, signal: AbortSignal): Promise<void> {
    // A box looks round for other fabrics before it answers.
    const options = { timeoutMs: 4 * approvalAnswerMs, signal };
    const reply = await entry.ask({ type: 'invite' }, ['accept', 'decline'], options);
    if (reply.type === 'decline' || current?.state !== state || clock.now() >= state.until) return;
    const { labels, router } = state;
    const outcome = await entry.admit(reply.request, { by: 'window', labels, router });
    if ('refused' in outcome) return;
    state.admitted.push(outcome.admitted.node);
    onAdmitted(outcome.admitted.node, entry);
  }

  function check({ forMs, cidrs, max }: WindowRequest): void {
    if (current !== undefined) throw new WindowRefusedError('a window is open already');
    if (!(forMs >= windowMsMin && forMs <= windowMsMax)) throw new WindowRefusedError('the time is out of bounds');
    if (!(Number.isInteger(max) && max >= 1 && max <= windowAdmissionsMax)) {
      throw new WindowRefusedError('the number of boxes is out of bounds');
    }
    if (cidrs.length < 1 || cidrs.length > windowRangesMax) {
      throw new WindowRefusedError(`give 1 to ${windowRangesMax} address ranges`);
    }
  }

  return {
    open(request) {
      check(request);
      const { contains } = readAddressRanges(request.cidrs);
      const openedAt = clock.now();
      const state: WindowState = { ...request, openedAt, until: openedAt + request.forMs, admitted: [] };
      current = { state, contains, closing: new AbortController() };
      timer = clock.setTimeout(() => shut('its time is over'), request.forMs);
      unsubscribe = pending.subscribe(consider);
      inviteAll();
      return state;
    },
    close: () => shut('an operator closed it'),
    state: () => current?.state,
  };
}

// The life of one UDP flow of a caller: datagrams wait, a few, until an instance is reached, then go both ways until it is silent, ended or
// no longer allowed. Called by datagram-calls.ts for each new source address. It never sends to anybody but the instance that was reached.

import type { CallableService } from '../control/plan.ts';
import type { Clock } from '../node-runtime/clock.ts';
import type { DatagramEnd, DatagramEvents, UnsentBytes } from './datagram-ends.ts';
import type { Flow } from './datagram-flows.ts';
import { datagramRetryMs, datagramsWaitingBytesMax, datagramsWaitingMax } from './limits.ts';
import type { LocalInstance } from './local-instances.ts';
import type { Reached, ServiceCalls } from './service-calls.ts';
import type { Endpoint } from './service-network.ts';

export interface DatagramCall {
  send(payload: Uint8Array): void;
  end(): void;
}

export interface DatagramCallOptions {
  clock: Clock;
  caller: LocalInstance;
  wanted: CallableService;
  reach: ServiceCalls['reach'];
  connect(endpoint: Endpoint, events: DatagramEvents, signal: AbortSignal): Promise<DatagramEnd>;
  /** Its place among the flows that are open; `end` when it must give way. */
  enter(end: () => void): Flow;
  /** Until the flow has ended or failed: `reset` is called when policy allows it no longer. */
  watch(reset: () => void): () => void;
  /** While it is open: `reset` is called when one of its instances goes. */
  register(endpoint: Endpoint, reset: () => void): () => void;
  unsent: UnsentBytes;
  onAnswer(payload: Uint8Array): void;
  onDrop(reason: string): void;
  /** Once. */
  onEnd(): void;
}

/** Datagrams of a flow that is not open yet: bounded, and none is kept for longer than its opening takes. */
function createWaiting(unsent: UnsentBytes) {
  let payloads: Uint8Array[] = [];
  let bytes = 0;
  return {
    add(payload: Uint8Array): boolean {
      if (payloads.length >= datagramsWaitingMax || bytes + payload.length > datagramsWaitingBytesMax) return false;
      if (!unsent.take(payload.length)) return false;
      bytes += payload.length;
      payloads.push(payload);
      return true;
    },
    takeAll(): Uint8Array[] {
      const taken = payloads;
      unsent.give(bytes);
      payloads = [];
      bytes = 0;
      return taken;
    },
  };
}

export function createDatagramCall(options: DatagramCallOptions): DatagramCall {
  const { clock, caller, wanted, reach, connect, onAnswer, onDrop } = options;
  const abort = new AbortController();
  const waiting = createWaiting(options.unsent);
  let reached: Reached<DatagramEnd> | undefined;
  let answered = false;
  let timer: unknown;
  /** `held`: it failed, and stays for a moment, so that a caller that goes on sending does not ask anew with each datagram. */
  let state: 'opening' | 'open' | 'held' | 'ended' = 'opening';
  let unregister = (): void => undefined;

  function letGo(): void {
    unwatch();
    unregister();
    abort.abort(new Error('the flow has ended'));
    waiting.takeAll();
    reached?.release();
    reached?.far.close();
    reached = undefined;
  }

  function end(): void {
    if (state === 'ended') return;
    state = 'ended';
    clock.clearTimeout(timer);
    letGo();
    flow.remove();
    options.onEnd();
  }

  function hold(): void {
    if (state === 'ended' || state === 'held') return;
    state = 'held';
    letGo();
    timer = clock.setTimeout(end, datagramRetryMs);
  }

  function reset(): void {
    reached?.far.reset();
    end();
  }

  function onClosed(broken: string | undefined): void {
    if (state !== 'open') return;
    // One that never answered may be dead: others come first for a while.
    if (broken !== undefined && !answered) reached?.failed(broken);
    if (broken === undefined) end();
    else hold();
  }

  async function open(): Promise<void> {
    let closed = false;
    const events: DatagramEvents = {
      onDatagram(payload) {
        if (state !== 'open') return;
        answered = true;
        flow.used();
        onAnswer(payload);
      },
      onClosed(broken) {
        closed = true;
        onClosed(broken);
      },
    };
    const found = await reach({
      ...{ caller, wanted, abort },
      connect: (endpoint, signal) => connect(endpoint, events, signal),
      isGone: () => state === 'ended',
    });
    if ('reason' in found) return hold();
    if (state !== 'opening' || closed) {
      found.release();
      found.far.close();
      return hold();
    }
    reached = found;
    state = 'open';
    unregister = options.register(found.endpoint, reset);
    for (const payload of waiting.takeAll()) send(payload);
  }

  function send(payload: Uint8Array): void {
    flow.used();
    if (state === 'open') {
      if (reached?.far.send(payload) !== true) onDrop('the way there is backed up');
    } else if (state === 'opening' && !waiting.add(payload)) onDrop('the flow was not open yet');
  }

  const flow = options.enter(end);
  const unwatch = options.watch(reset);
  void open();
  return { send, end };
}

// How one node gets a connection: to addresses, through others where none answers, and what it makes of the ways that led to no good end. Called by
// libp2p-mesh.ts. It never decides whom to dial, and keeps no connection.

import type { Clock } from '../node-runtime/clock.ts';
import { raceAddresses } from './address-race.ts';
import { createBoundedMap } from './bounded-map.ts';
import { dialAny } from './dialler.ts';
import { RouteError, UnreachableError } from './errors.ts';
import { type Harm, harmOf } from './harm.ts';
import type { Links } from './libp2p-links.ts';
import type { Connection, Libp2pNode } from './libp2p-node.ts';
import { rememberedPeersMax, routedAfterMs, routedAgainAfterMs, routedRetryMs, routedTriesMax } from './limits.ts';
import type { Address, FrameStream, PeerId } from './mesh.ts';
import type { RoutedStreams } from './routed-streams.ts';
import type { WayMarks } from './way-marks.ts';

export interface Dials {
  /** Whoever answers there. */
  anybody(addresses: readonly Address[], signal: AbortSignal): Promise<PeerId>;
  /** That peer, if need be through others unless it has to be direct. Of one peer one dial at a time, and beside it one that has to be direct. */
  expected(peerId: PeerId, addresses: readonly Address[], direct: boolean, signal: AbortSignal): Promise<PeerId>;
  /** A connection that came through others; lasts as long as that. */
  accept(stream: FrameStream, neighbour: PeerId, from: PeerId): Promise<void>;
  /** The first connection of the peer is there, whoever made it. */
  reached(peerId: PeerId, throughOthers: boolean): void;
}

export interface DialsOptions {
  clock: Clock;
  node: Pick<Libp2pNode, 'dial' | 'dialOver' | 'acceptOver'>;
  links: Pick<Links, 'has' | 'preferred'>;
  marks: WayMarks;
  routed: Pick<RoutedStreams, 'leads' | 'open'>;
  /** Where this node itself is dialled. */
  own(): readonly Address[];
  onHarmed(peerId: PeerId, harm: Harm, through: PeerId): void;
}

export function createDials({ clock, node, links, marks, routed, own, onHarmed }: DialsOptions): Dials {
  const dialling = new Map<PeerId, Promise<PeerId>>();
  /** Addresses may be silent for seconds: who may go through others does not wait for those that may not. */
  const diallingDirectly = new Map<PeerId, Promise<PeerId>>();
  /** Whether the last first connection to the peer went through others: the next one hardly finds it elsewhere. */
  const wentThrough = createBoundedMap<PeerId, boolean>(rememberedPeersMax);

  async function dialRouted(expected: PeerId, signal: AbortSignal): Promise<Connection> {
    const { stream, neighbour } = await routed.open(expected, signal);
    try {
      return await withHarmTold(node.dialOver(stream, neighbour, expected, signal), expected, neighbour);
    } catch (error) {
      // Unless somebody else was faster, or the neighbour is gone itself: a way that leads to nothing is silent as well.
      if (!links.has(expected) && links.has(neighbour)) marks.mark(expected, neighbour);
      throw error;
    }
  }

  /** A handshake that fails as it fails when somebody on the way had a hand in it. */
  async function withHarmTold<T>(handshake: Promise<T>, peerId: PeerId, through: PeerId): Promise<T> {
    try {
      return await handshake;
    } catch (error) {
      const harm = harmOf(error as Error);
      if (harm !== undefined) onHarmed(peerId, harm, through);
      throw error;
    }
  }

  /** Tables that do not agree yet do so in a moment, and addresses that are tried beside it may be silent for long. */
  async function dialRoutedAgain(expected: PeerId, signal: AbortSignal): Promise<Connection> {
    for (let tries = 1; ; tries += 1)
      try {
        return await dialRouted(expected, signal);
      } catch (error) {
        if (!(error instanceof RouteError) || signal.aborted || tries >= routedTriesMax) throw error;
        await clock.sleep(routedRetryMs * tries, signal);
      }
  }

  async function dial(
    wanted: readonly Address[],
    expected: PeerId | undefined,
    onlyDirect: boolean,
    signal: AbortSignal,
  ): Promise<PeerId> {
    const afterMs = expected !== undefined && wentThrough.get(expected) ? routedAgainAfterMs : routedAfterMs;
    const lastResort =
      expected !== undefined && !onlyDirect && routed.leads(expected)
        ? { attempt: (limit: AbortSignal) => dialRoutedAgain(expected, limit), afterMs }
        : undefined;
    const direct = (_all: string, limit: AbortSignal) => dialDirect(wanted, expected, limit);
    const places = wanted.length === 0 && lastResort !== undefined ? [] : ['its addresses'];
    const connection = await raceAddresses(clock, places, direct, signal, lastResort);
    return connection.remotePeer.toString();
  }

  function dialDirect(wanted: readonly Address[], expected: PeerId | undefined, signal: AbortSignal) {
    // Another network may use the addresses of this one; dialled, this node itself would answer.
    const ourselves = new Set(own());
    const others = wanted.filter((address) => !ourselves.has(address));
    if (others.length === 0 && wanted.length > 0)
      return Promise.reject(new UnreachableError('its addresses are those of this node: it is on another network'));
    return dialAny(
      others,
      {
        clock,
        dial: (address, attempt) => node.dial(address, expected, attempt),
        discard: (late) => late.abort(new Error('another address answered first')),
      },
      signal,
    );
  }

  /** Whoever comes while a dial is under way waits for it, and tries its own addresses if it fails. */
  async function dialExpected(
    wanted: readonly Address[],
    expected: PeerId,
    direct: boolean,
    signal: AbortSignal,
  ): Promise<PeerId> {
    const isThere = () => (direct ? links.preferred(expected)?.routed === false : links.has(expected));
    const underWay = () => dialling.get(expected) ?? (direct ? diallingDirectly.get(expected) : undefined);
    for (let other = underWay(); other !== undefined; other = underWay()) {
      await other.catch(() => {
        // Its caller has it.
      });
      signal.throwIfAborted();
    }
    if (isThere()) return expected;
    const dialled = dial(wanted, expected, direct, signal);
    const own = direct ? diallingDirectly : dialling;
    own.set(expected, dialled);
    try {
      return await dialled;
    } catch (error) {
      // It may have dialled us meanwhile.
      if (isThere()) return expected;
      throw error;
    } finally {
      own.delete(expected);
    }
  }

  return {
    anybody: (addresses, signal) => dial(addresses, undefined, true, signal),
    expected: (peerId, addresses, direct, signal) => dialExpected(addresses, peerId, direct, signal),
    accept: (stream, neighbour, from) => withHarmTold(node.acceptOver(stream, neighbour, from), from, neighbour),
    reached: (peerId, throughOthers) => wentThrough.set(peerId, throughOthers),
  };
}

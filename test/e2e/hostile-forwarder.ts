// A router of ours that harms what it carries: loaded into a daemon by NODE_OPTIONS (hostileEnv), it puts itself between the mesh and the real
// forwarder of mesh/routed-streams.ts, and carries calls on streams of links alone. The first word of a file says what it does, and may change at any time; what it sees of streams that it
// carries for others is appended to a second file.

import { appendFileSync, readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import type { FrameStream, StreamHandler } from '../../mesh/mesh.ts';
import {
  createRoutedStreams as createReal,
  type RoutedStreams,
  type RoutedStreamsOptions,
} from '../../mesh/routed-streams.ts';
import {
  createTunnelThroughNodes as createRealThroughNodes,
  type TunnelThroughNodes,
  type TunnelThroughNodesOptions,
} from '../../mesh/tunnel-through-nodes.ts';

export type HarmDone =
  | 'none'
  | 'flips'
  | 'replays'
  | 'reorders'
  | 'leaves out'
  | 'swaps'
  | 'is silent'
  | 'impersonates';

/** The environment of a daemon that becomes such a router; `order` is the file with what to do, `seen` that for what it sees. */
export const hostileEnv = (order: string, seen: string): Record<string, string> => ({
  NODE_OPTIONS: `--import=${import.meta.url}`,
  SELVEDGE_TEST_HARM: order,
  SELVEDGE_TEST_SEEN: seen,
});

const { SELVEDGE_TEST_HARM: order, SELVEDGE_TEST_SEEN: seen } = process.env;

/** In the daemon alone: tests import this file too. */
if (order !== undefined) {
  registerHooks({
    resolve(specifier, context, next) {
      const isWrapped = specifier.endsWith('/routed-streams.ts') || specifier.endsWith('/tunnel-through-nodes.ts');
      const isOurs = isWrapped && context.parentURL !== import.meta.url;
      return isOurs ? { url: import.meta.url, shortCircuit: true } : next(specifier, context);
    },
  });
}

function ordered(): HarmDone {
  try {
    return readFileSync(order ?? '', 'utf8') as HarmDone;
  } catch {
    return 'none';
  }
}

/** The last frame of each stream that was carried: what `swaps` puts in the place of another's. */
let lastSeen: Uint8Array = new Uint8Array();

/** What becomes of the frames of one direction. */
function harmed(): (frame: Uint8Array) => Uint8Array[] {
  let held: Uint8Array | undefined;
  let count = 0;
  return (frame) => {
    appendFileSync(seen ?? '', frame);
    count += 1;
    const other = lastSeen;
    lastSeen = frame;
    switch (ordered()) {
      // Streams that it carries already have to go first.
      case 'impersonates':
      case 'flips': {
        const copy = Uint8Array.from(frame);
        const at = copy.length >> 1;
        copy[at] = (copy[at] ?? 0) ^ 1;
        return [copy];
      }
      case 'replays':
        return [frame, frame];
      case 'reorders': {
        const before = held;
        held = before === undefined ? frame : undefined;
        return before === undefined ? [] : [frame, before];
      }
      case 'leaves out':
        return count % 2 === 0 ? [] : [frame];
      case 'swaps':
        return [other];
      case 'is silent':
        return [];
      default:
        return [frame];
    }
  };
}

/** Both directions of a stream that is carried, after the wish and its answer. */
function between(stream: FrameStream, wish: Uint8Array): FrameStream {
  const [there, back] = [harmed(), harmed()];
  const arriving: Uint8Array[] = [wish];
  let answered = false;
  return {
    protocol: stream.protocol,
    async receive(signal) {
      for (;;) {
        const ready = arriving.shift();
        if (ready !== undefined) return ready;
        const frame = await stream.receive(signal);
        if (frame === undefined) return undefined;
        arriving.push(...there(frame));
      }
    },
    async send(frame) {
      if (!answered) {
        answered = true;
        return stream.send(frame);
      }
      for (const each of back(frame)) await stream.send(each);
    },
    close: () => stream.close(),
    abort: (reason) => stream.abort(reason),
  };
}

/** As it came, with the frame that was read of it already. */
function first(stream: FrameStream, wish: Uint8Array): FrameStream {
  let read = false;
  return {
    ...stream,
    receive(signal) {
      if (read) return stream.receive(signal);
      read = true;
      return Promise.resolve(wish);
    },
  };
}

/** As the mesh calls it, in the place of the real one. */
export function createRoutedStreams(options: RoutedStreamsOptions): RoutedStreams {
  const { mesh, self, onArrived } = options;
  const carry =
    (handler: StreamHandler): StreamHandler =>
    async (stream, sender) => {
      const wish = (await stream.receive()) ?? new Uint8Array();
      const { to, from } = JSON.parse(Buffer.from(wish).toString('utf8')) as { to: string; from: string };
      if (to === self) return handler(first(stream, wish), sender);
      if (ordered() !== 'impersonates') return handler(between(stream, wish), sender);
      // It answers itself, with what it has of its own.
      await stream.send(Buffer.from('{}'));
      await onArrived({ stream, neighbour: sender }, from);
    };
  return createReal({
    ...options,
    mesh: { open: mesh.open, handle: (protocol, audience, handler) => mesh.handle(protocol, audience, carry(handler)) },
  });
}

/** Calls that it refuses to carry go over streams of links. */
export function createTunnelThroughNodes(options: TunnelThroughNodesOptions): TunnelThroughNodes {
  const step: TunnelThroughNodesOptions['step'] = (stream) =>
    stream.from === undefined ? options.step(stream) : { type: 'refuse', reason: 'it carries none' };
  return createRealThroughNodes({ ...options, step });
}

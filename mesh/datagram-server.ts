// The called side of UDP flows: a stream of the tunnel that was admitted, and a socket of its own to the instance's port. Called by
// tunnel-server.ts. It decides nothing: who may call what is known when it gets a stream.

import { constants, type ServerHttp2Stream } from 'node:http2';
import type { CountDrop } from './datagram-drops.ts';
import { connectDatagrams, type DatagramEnd, streamDatagrams, type UnsentBytes } from './datagram-ends.ts';
import { createDatagramFlows } from './datagram-flows.ts';
import { capsuleHeader } from './datagram-requests.ts';
import { datagramFlowsPerPeerMax, datagramServedFlowsMax, datagramSilentSweepsMax } from './limits.ts';
import type { PeerId } from './mesh.ts';
import { callsOfPeer, datagramsOf, type OpenCalls } from './open-calls.ts';
import type { TunnelTarget } from './tunnel-admission.ts';
import { resetStream } from './tunnel-relay.ts';

export interface DatagramServer {
  /** Answers the stream with 200 and carries until one of both ends; resolves with false, and has not answered, when it cannot. */
  carry(stream: ServerHttp2Stream, target: TunnelTarget, caller: PeerId): Promise<boolean>;
  /** Once a second: ends flows that are silent. */
  sweep(): void;
}

export interface DatagramServerOptions {
  openCalls: OpenCalls;
  unsent: UnsentBytes;
  countDrop: CountDrop;
}

export function createDatagramServer({ openCalls, unsent, countDrop }: DatagramServerOptions): DatagramServer {
  const flows = createDatagramFlows({
    flowsMax: datagramServedFlowsMax,
    flowsPerOwnerMax: datagramFlowsPerPeerMax,
    silentSweepsMax: datagramSilentSweepsMax,
  });

  return {
    async carry(stream, { instance: { instance }, host, port }, caller) {
      const drop = (from: string, to: string): void => countDrop(from, to, 'the way there is backed up');
      let far: DatagramEnd | undefined;
      let near: DatagramEnd;
      try {
        near = await connectDatagrams(host, port, {
          onDatagram(payload) {
            flow.used();
            if (far?.send(payload) === false) drop(instance, `callers on ${caller}`);
          },
          onClosed(broken) {
            if (broken === undefined) far?.close();
            else far?.reset();
          },
        });
      } catch {
        return false;
      }
      if (stream.closed || stream.destroyed) {
        near.close();
        return true;
      }
      stream.respond({ ':status': 200, ...capsuleHeader });
      const end = (): void => {
        far?.close();
        near.close();
      };
      const flow = flows.add(callsOfPeer(instance, caller), end);
      const reset = (): void => resetStream(stream, constants.NGHTTP2_CONNECT_ERROR);
      const unregister = openCalls.add([datagramsOf(instance)], { reset, destroy: reset });
      far = streamDatagrams(stream, unsent, {
        onDatagram(payload) {
          flow.used();
          if (!near.send(payload)) drop(`callers on ${caller}`, instance);
        },
        onClosed() {
          flow.remove();
          unregister();
          near.close();
        },
      });
      return true;
    },

    sweep: () => flows.sweep(),
  };
}

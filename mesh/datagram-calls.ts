// UDP calls of this node's instances: a socket at each of their service addresses, and for each source address there one flow to one
// instance of the service. Called by service-addresses.ts, which says where, and by tunnel-network.ts. A flow is chosen and allowed as a
// connection is; what it carries is not looked at.

import { once } from 'node:events';
import type { CallableService } from '../control/plan.ts';
import type { Clock } from '../node-runtime/clock.ts';
import type { AllowedCalls } from './allowed-calls.ts';
import { createDatagramCall, type DatagramCall, type DatagramCallOptions } from './datagram-call.ts';
import type { CountDrop } from './datagram-drops.ts';
import {
  connectDatagrams,
  createDatagramSocket,
  type DatagramEvents,
  sendFrom,
  streamDatagrams,
  type UnsentBytes,
} from './datagram-ends.ts';
import { createDatagramFlows } from './datagram-flows.ts';
import { TunnelUnreachableError } from './errors.ts';
import {
  datagramFlowsMax,
  datagramFlowsPerInstanceMax,
  datagramNewFlowsPerSecondMax,
  datagramSilentSweepsMax,
} from './limits.ts';
import type { LocalInstance, LocalInstances } from './local-instances.ts';
import type { PeerId } from './mesh.ts';
import { datagramsOf, type OpenCalls } from './open-calls.ts';
import type { ListenDatagrams } from './service-addresses.ts';
import type { ServiceCalls } from './service-calls.ts';
import { portText, serviceKey } from './service-names.ts';
import type { Endpoint } from './service-network.ts';
import type { TunnelClient } from './tunnel-client.ts';

export interface DatagramCallsOptions {
  clock: Clock;
  localPeerId: PeerId;
  instances: LocalInstances;
  openCalls: OpenCalls;
  client: Pick<TunnelClient, 'open'>;
  reach: ServiceCalls['reach'];
  allowedCalls: Pick<AllowedCalls, 'watch'>;
  unsent: UnsentBytes;
  countDrop: CountDrop;
}

export interface DatagramCalls {
  listen: ListenDatagrams;
  /** Once a second: ends flows that are silent. */
  sweep(): void;
}

const nameOf = (service: CallableService): string => `${serviceKey(service)}:${portText(service)}`;

export function createDatagramCalls(options: DatagramCallsOptions): DatagramCalls {
  const { clock, localPeerId, instances, openCalls, client, reach, allowedCalls, unsent, countDrop } = options;
  const flows = createDatagramFlows({
    flowsMax: datagramFlowsMax,
    flowsPerOwnerMax: datagramFlowsPerInstanceMax,
    silentSweepsMax: datagramSilentSweepsMax,
  });
  /** Since the last sweep, of each instance. */
  const begun = new Map<string, number>();

  async function connect(caller: LocalInstance, endpoint: Endpoint, events: DatagramEvents, signal: AbortSignal) {
    if (endpoint.peerId === localPeerId) {
      const listens = instances.get(endpoint.instance)?.listens ?? [];
      const listen = listens.find((one) => portText(one) === portText(endpoint));
      if (listen === undefined) throw new TunnelUnreachableError('the instance is not attached');
      return connectDatagrams(listen.host, listen.hostPort, events);
    }
    const microservice = instances.byName(caller);
    if (microservice === undefined) throw new TunnelUnreachableError('the caller is not attached');
    return streamDatagrams(await client.open(microservice, endpoint, signal), unsent, events);
  }

  function mayBegin(instance: string): boolean {
    const count = (begun.get(instance) ?? 0) + 1;
    begun.set(instance, count);
    return count <= datagramNewFlowsPerSecondMax;
  }

  /** Undefined when the instance calls no such thing (any more), or too much. */
  function begin(
    instance: string,
    service: CallableService,
    ends: Pick<DatagramCallOptions, 'onAnswer' | 'onEnd'>,
  ): DatagramCall | undefined {
    const caller = instances.get(instance);
    // As the plan says it now: with the balancing of this moment.
    const wanted = caller?.calls.find((one) => nameOf(one) === nameOf(service));
    if (caller === undefined || wanted === undefined) return undefined;
    const onDrop = (reason: string): void => countDrop(instance, nameOf(wanted), reason);
    if (!mayBegin(instance)) {
      onDrop(`more than ${datagramNewFlowsPerSecondMax} new flows in one second`);
      return undefined;
    }
    return createDatagramCall({
      ...{ clock, caller, wanted, reach, unsent, onDrop, ...ends },
      connect: (endpoint, events, signal) => connect(caller, endpoint, events, signal),
      enter: (end) => flows.add(instance, end),
      watch: (reset) => allowedCalls.watch({ caller, callerPeerId: localPeerId, called: wanted }, reset),
      register(endpoint, reset) {
        const isLocal = endpoint.peerId === localPeerId;
        const counted = [datagramsOf(instance), ...(isLocal ? [datagramsOf(endpoint.instance)] : [])];
        return openCalls.add(counted, { reset, destroy: reset });
      },
    });
  }

  return {
    async listen({ address, port, from }, instance, service) {
      const socket = createDatagramSocket(4);
      const bound = once(socket, 'listening');
      socket.bind({ address, port, exclusive: true });
      try {
        await bound;
      } catch (error) {
        socket.close();
        throw error;
      }
      // Of a datagram that could not be read or sent: it is lost, as on a network.
      socket.on('error', () => undefined);
      const bySource = new Map<string, DatagramCall>();
      let closed = false;

      socket.on('message', (payload, { address: sourceAddress, port: sourcePort }) => {
        // At port 0 nobody can be answered.
        if ((from !== undefined && sourceAddress !== from) || sourcePort === 0) return;
        const source = `${sourceAddress}:${sourcePort}`;
        const onAnswer = (answer: Uint8Array): void => {
          const to = { address: sourceAddress, port: sourcePort };
          if (!closed && !sendFrom(socket, answer, () => undefined, to))
            countDrop(nameOf(service), instance, 'the socket to the caller is backed up');
        };
        const call =
          bySource.get(source) ?? begin(instance, service, { onAnswer, onEnd: () => bySource.delete(source) });
        if (call === undefined) return;
        bySource.set(source, call);
        call.send(payload);
      });
      return {
        close() {
          if (closed) return;
          closed = true;
          for (const call of [...bySource.values()]) call.end();
          socket.close();
        },
      };
    },

    sweep() {
      begun.clear();
      flows.sweep();
    },
  };
}

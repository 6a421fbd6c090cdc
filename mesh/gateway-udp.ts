// A gateway of UDP: each client (address and port) is a flow to one instance of the service. Called by gateway-listener.ts. It sends
// nothing but what the service answers, to nobody but who has asked, and looks at nothing of what it carries.

import type { Clock } from '../node-runtime/clock.ts';
import type { DatagramCall } from './datagram-call.ts';
import { createDatagramFlows, type Flow } from './datagram-flows.ts';
import type { GatewayOptions, GatewayRules, ListeningGateway } from './gateway.ts';
import { plainAddress } from './gateway-grants.ts';
import { originOf } from './gateway-origins.ts';
import { createGrantTimes } from './gateway-times.ts';
import { type GatewaySocket, openGatewaySockets, type Source } from './gateway-udp-sockets.ts';
import {
  gatewayBegunSweepsMax,
  gatewayFlowsMax,
  gatewayFlowsOfOriginMax,
  gatewayNewFlowsMax,
  gatewayNewFlowsOfOriginMax,
  gatewayProvenSweepsMax,
  gatewaySweepMs,
} from './limits.ts';

interface ClientFlow {
  address: string;
  socket: GatewaySocket;
  call: DatagramCall;
  /** Among those that have begun, and from its second datagram after an answer on among those that are proven. */
  place: Flow;
  isProven: boolean;
  answered: boolean;
}

const noGrant = 'no grant lets in who comes from there';

/** Rejects with the system's error. */
export async function openGatewayUdp({ clock }: { clock: Clock }, options: GatewayOptions): Promise<ListeningGateway> {
  const { address, port, carryDatagrams, onRefused } = options;
  let rules: GatewayRules = options;
  const hold = createGrantTimes({ clock });
  let grants = hold(rules.grants);
  const limits = { flowsMax: gatewayFlowsMax, flowsPerOwnerMax: gatewayFlowsOfOriginMax };
  const begun = createDatagramFlows({ ...limits, silentSweepsMax: gatewayBegunSweepsMax });
  const proven = createDatagramFlows({ ...limits, silentSweepsMax: gatewayProvenSweepsMax });
  /** By socket, and by the client there. */
  const flows = new Map<GatewaySocket, Map<string, ClientFlow>>();
  /** Since the last look, of each origin. */
  const newOf = new Map<string, number>();
  let newOfAll = 0;
  let refused = 0;
  let closed = false;

  function turnAway(from: string, reason: string): undefined {
    refused += 1;
    onRefused(from, reason);
  }

  /** Whatever it might show elsewhere: a datagram shows where it comes from. */
  const isLetIn = (from: string): boolean =>
    'grant' in grants.judge({ address: from, certificates: [], chained: false, tokenSha256: undefined }, clock.now());

  function tooMany(origin: string): string | undefined {
    if (newOfAll >= gatewayNewFlowsMax) return `more than ${gatewayNewFlowsMax} flows begin at once`;
    const count = newOf.get(origin) ?? 0;
    if (count >= gatewayNewFlowsOfOriginMax)
      return `more than ${gatewayNewFlowsOfOriginMax} flows from there begin at once`;
    newOfAll += 1;
    newOf.set(origin, count + 1);
    return undefined;
  }

  function begin(socket: GatewaySocket, from: Source, key: string): ClientFlow | undefined {
    const plain = plainAddress(from.address);
    const [route] = rules.routes;
    if (route === undefined) return undefined;
    if (!isLetIn(plain)) return turnAway(plain, noGrant);
    const origin = originOf(plain);
    const reason = tooMany(origin);
    if (reason !== undefined) return turnAway(plain, reason);
    const of = flows.get(socket) ?? new Map<string, ClientFlow>();
    const call = carryDatagrams(route.to, {
      onAnswer(payload) {
        if (of.get(key) !== flow) return true;
        flow.answered = true;
        return socket.send(payload, from);
      },
      onEnd() {
        flow.place.remove();
        if (of.get(key) === flow) of.delete(key);
        if (of.size === 0 && flows.get(socket) === of) flows.delete(socket);
      },
    });
    if (call === undefined) return undefined;
    const end = (): void => call.end();
    const flow: ClientFlow = {
      ...{ address: plain, socket, call, isProven: false, answered: false },
      place: begun.add(origin, end),
    };
    flows.set(socket, of.set(key, flow));
    return flow;
  }

  function prove(flow: ClientFlow): void {
    flow.isProven = true;
    flow.place.remove();
    flow.place = proven.add(originOf(flow.address), () => flow.call.end());
  }

  function endAll(isOver: (flow: ClientFlow) => boolean): void {
    for (const flow of [...flows.values()].flatMap((of) => [...of.values()])) if (isOver(flow)) flow.call.end();
  }

  /** Ends what grants no longer let in, and what is silent. */
  function sweep(): void {
    newOf.clear();
    newOfAll = 0;
    endAll((flow) => !isLetIn(flow.address));
    begun.sweep();
    proven.sweep();
  }

  const sockets = await openGatewaySockets({
    ...{ clock, address, port },
    onDatagram(socket, payload, from) {
      if (closed) return;
      const key = `${from.address} ${from.port}`;
      const flow = flows.get(socket)?.get(key) ?? begin(socket, from, key);
      if (flow === undefined) return;
      if (flow.answered && !flow.isProven) prove(flow);
      else flow.place.used();
      flow.call.send(payload);
    },
    onGone: (gone) => endAll(({ socket }) => socket === gone),
  });
  const again = (): void => {
    sweep();
    timer = clock.setTimeout(again, gatewaySweepMs);
  };
  let timer = clock.setTimeout(again, gatewaySweepMs);

  return {
    update(next) {
      grants = hold(next.grants);
      rules = next;
      endAll((flow) => !isLetIn(flow.address));
    },
    get connections() {
      return begun.size + proven.size;
    },
    get refused() {
      return refused;
    },
    async close() {
      closed = true;
      clock.clearTimeout(timer);
      endAll(() => true);
      sockets.close();
    },
  };
}

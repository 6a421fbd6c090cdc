// Waits until the nodes of a gateway have heard of a change, and says how each of them is. Called by publish.ts and grants.ts: who revokes
// wants to know whether it holds.

import type { GatewayView } from '../views.ts';
import type { Context } from './context.ts';
import { gatewayEveryMs, gatewaySettledMs } from './limits.ts';
import { printable } from './table.ts';

type Place = GatewayView['nodes'][number];

/** One that is out of reach cannot be waited for; one that does not listen is given a moment. */
const isSettled = ({ state, current }: Place): boolean =>
  state === 'unreachable' || (current && state !== 'planned' && state !== 'waiting');

/** As it is then, or when time is over. */
export async function settled(context: Context, project: string, name: string): Promise<GatewayView> {
  const { client, host } = context;
  const endAt = host.clock.now() + gatewaySettledMs;
  for (;;) {
    const view = await client.gateway(project, name);
    if (view.nodes.every(isSettled) || host.clock.now() >= endAt) return view;
    await host.clock.sleep(gatewayEveryMs);
  }
}

function placeText({ node, state, current, reason }: Place): string {
  if (state === 'unreachable') return `${node} is unreachable and goes on as before until it hears of it`;
  if (!current) return `${node} has not heard of it yet`;
  if (state === 'listening') return reason === '' ? `${node} listens` : `${node} listens: ${reason}`;
  return `${node} does not listen: ${reason === '' ? state : reason}`;
}

/** `box2 listens; box3 is unreachable …` */
export function placesText({ nodes }: GatewayView): string {
  return nodes.length === 0 ? 'no node is it for' : printable(nodes.map(placeText).join('; '));
}

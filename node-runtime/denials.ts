// Calls that this node denied lately, as `observed/node` tells them: a controller makes events of them. Called by member.ts for what the
// service network denies. State only: it bounds how many are kept, the network bounds how often they come.

import type { ObservedDenial } from '../control/fabric.ts';
import type { MicroserviceName, ServicePort } from '../control/plan.ts';
import { portText } from '../control/ports.ts';
import type { DeniedCall } from '../mesh/denied-calls.ts';
import type { Clock } from './clock.ts';
import { observedDenialsMax } from './limits.ts';

export interface Denials {
  /** Who, what and why, in one sentence. Of a stranger, who is nobody that an event could name, nothing is kept. */
  add(denied: DeniedCall): string;
  /** Newest first; bounded. */
  lately(): ObservedDenial[];
}

const textOf = ({ project, application, microservice }: MicroserviceName): string =>
  `${project}.${application}.${microservice}`;

const serviceText = ({ port, protocol, ...name }: MicroserviceName & Partial<ServicePort>): string =>
  port === undefined ? textOf(name) : `${textOf(name)}:${portText({ port, protocol })}`;

export function createDenials({ clock, self }: { clock: Clock; self: string }): Denials {
  const kept: ObservedDenial[] = [];
  let count = 0;

  return {
    add({ kind, caller, callerPeerId, called, port, protocol, reason, leftOut }) {
      const who = caller === undefined ? 'a stranger' : textOf(caller);
      const what =
        called === undefined
          ? 'nothing here'
          : serviceText({ ...called, ...(port !== undefined && { port }), ...(protocol && { protocol }) });
      const from = callerPeerId === undefined || callerPeerId === self ? '' : ` on ${callerPeerId}`;
      const others = leftOut === 0 ? '' : ` (and ${leftOut} calls before it)`;
      if (kind === 'call-denied' && caller !== undefined) {
        count += 1;
        const at = clock.now();
        kept.unshift({
          id: `${at}.${count}`,
          at,
          caller: who,
          from: callerPeerId ?? self,
          called: what,
          reason: `${reason}${others}`,
        });
        kept.length = Math.min(kept.length, observedDenialsMax);
      }
      return `a call of ${who}${from} to ${what} was denied: ${reason}${others}`;
    },
    lately: () => [...kept],
  };
}

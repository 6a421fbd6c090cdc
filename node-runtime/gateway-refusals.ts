// Who gateways turn away, told in the daemon's output at a bounded rate: whoever knocks must not fill it. Called by member.ts; how many
// there were each gateway counts.

import { createRateLimiter } from '../pki/rate-limit.ts';
import type { Clock } from './clock.ts';
import {
  gatewayRefusalAddressesMax,
  gatewayRefusalsMax,
  gatewayRefusalsTotalMax,
  gatewayRefusalsWindowMs,
} from './limits.ts';
import type { Report } from './node-ports.ts';

export type TellRefusal = (gateway: string, address: string, reason: string) => void;

export function createGatewayRefusals({ clock, report }: { clock: Clock; report: Report }): TellRefusal {
  const limiter = createRateLimiter({
    clock,
    windowMs: gatewayRefusalsWindowMs,
    perKeyMax: gatewayRefusalsMax,
    totalMax: gatewayRefusalsTotalMax,
    keysMax: gatewayRefusalAddressesMax,
  });
  return (gateway, address, reason) => {
    if (!limiter.allow(address)) return;
    report('gateway', `Gateway ${gateway} turned away ${address}: ${reason}`, { gateway, address, reason });
  };
}

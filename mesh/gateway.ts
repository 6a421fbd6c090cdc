// The gateway port: one published port of this node, and who is let in. Adapter: gateway-listener.ts (real sockets). Called by
// node-runtime/gateways.ts, which gives it what a plan says; it hands over connections and never looks for services itself.

import type { GatewayGrant, GatewayMatch } from '../control/gateway.ts';
import type { CallableService } from '../control/plan.ts';
import type { RelayEnd } from './tunnel-relay.ts';

export interface GatewayTlsMaterial {
  /** PEM, leaf first. */
  chainPem: string;
  keyPem: string;
}

/** What may change while it listens; open connections are held against it at once. */
export interface GatewayRules {
  /** Where it has TLS and nothing is said, what it had before. */
  tls: GatewayTlsMaterial | undefined;
  routes: readonly (GatewayMatch & { to: CallableService })[];
  grants: readonly GatewayGrant[];
}

export interface GatewayOptions extends GatewayRules {
  protocol: 'tcp' | 'http';
  /** All of the box's when left out. */
  address: string | undefined;
  port: number;
  /** Carries a connection to a service; it resets what nobody answers. */
  carry(near: RelayEnd, to: CallableService): void;
  /** Somebody was turned away. */
  onRefused(address: string, reason: string): void;
}

export interface ListeningGateway {
  /** Throws GatewayTlsError when certificate and key cannot be used: those of before stay, and the rest holds. */
  update(rules: GatewayRules): void;
  readonly connections: number;
  /** So often somebody was turned away. */
  readonly refused: number;
  /** Closes what is open. Idempotent. */
  close(): Promise<void>;
}

/** Resolves once it listens. Rejects with GatewayPortTakenError, GatewayPortNotPermittedError, GatewayAddressError or GatewayTlsError. */
export type OpenGateway = (options: GatewayOptions) => Promise<ListeningGateway>;

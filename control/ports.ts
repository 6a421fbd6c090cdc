// The ports of services: their protocol in manifests, and how a port is written where it is shown. Pure; called by the schemas, the plan
// compiler and the views. The number alone says nothing: the same one may be TCP and UDP.

import { z } from 'zod';
import type { ServicePort } from './plan.ts';

export const protocolField = z.enum(['tcp', 'udp']).default('tcp').describe("'tcp' or 'udp'");

/** As stored and planned. */
export const storedProtocol = z.literal('udp').optional();

/** `8080`, `53/udp` */
export function portText({ port, protocol }: { port: number; protocol?: string | undefined }): string {
  return protocol === 'udp' ? `${port}/udp` : `${port}`;
}

/** What is not said is left out: nothing that runs is replaced for a field that it does not use. */
export function toPort<Port extends { protocol: 'tcp' | 'udp' }>({
  protocol,
  ...port
}: Port): Omit<Port, 'protocol'> & Pick<ServicePort, 'protocol'> {
  return { ...port, ...(protocol === 'udp' && { protocol }) };
}

/** The numbers of one protocol. */
export function portsOf(ports: readonly ServicePort[], protocol?: 'udp'): number[] {
  return ports.filter((one) => one.protocol === protocol).map(({ port }) => port);
}

// Which ports of the box programs are let to because a gateway listens there.

import test from 'ava';
import type { GatewayOptions, ListeningGateway } from '../../mesh/gateway.ts';
import { createPublishedPorts } from '../../node-runtime/published-ports.ts';

const at = (port: number, address?: string, protocol: GatewayOptions['protocol'] = 'http'): GatewayOptions => ({
  ...{ protocol, address, port, tls: undefined, routes: [], grants: [] },
  carry: () => undefined,
  carryDatagrams: () => undefined,
  onRefused: () => undefined,
});

test('a port is published for as long as its gateway listens there, where programs have addresses', async (t) => {
  const ports = createPublishedPorts();
  const closed: number[] = [];
  let told = 0;
  ports.onChange(() => {
    told++;
  });
  const open = ports.following(async ({ port }): Promise<ListeningGateway> => {
    if (port === 1) throw new Error('it is taken');
    return { update: () => undefined, connections: port, refused: 2, close: async () => void closed.push(port) };
  });
  await t.throwsAsync(open(at(1)));
  t.deepEqual([ports.all(), told], [[], 0], 'what does not listen is not published');

  const [everywhere, one] = [await open(at(9080, '::')), await open(at(443, '10.9.0.1', 'udp'))];
  await open(at(8080, '2001:db8::1'));
  const both = [
    { address: '10.9.0.1', port: 443, protocol: 'udp' as const },
    { address: undefined, port: 9080, protocol: 'tcp' as const },
  ];
  t.deepEqual([ports.all(), told], [both, 2], 'IPv6 is not theirs');
  t.deepEqual([everywhere.connections, everywhere.refused], [9080, 2]);

  await one.close();
  await one.close();
  t.deepEqual([ports.all(), told, closed], [[{ address: undefined, port: 9080, protocol: 'tcp' }], 3, [443, 443]]);
});

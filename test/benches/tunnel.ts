// Service calls between two real nodes: throughput of one connection, added time of a round trip, new connections. One calling
// workload measures all paths to one called workload, in turns: plain TCP, a bare pair of node:tls relays, and the tunnel.

import { fileURLToPath } from 'node:url';
import { startFabric } from './fabric.ts';
import { atLeast, atMost, unbudgeted } from './figures.ts';
import { startRelayPair } from './relay-pair.ts';
import type { Bench } from './run.ts';
import { beside, gibibyte, inTurns, middle, type Path, type Target } from './tunnel-orders.ts';
import { tunnelPaths } from './tunnel-paths.ts';

const roundsUsual = 9;
const budgetRatio = 0.8;
const budgetAddedUs = 100;
const budgetConnections = 1_500;
const parallel = 32;
/** Rounds of three seconds: so long V8 compiles what a connection takes, while a fresh daemon makes a quarter fewer of them. */
const connectionsWarmUp = 7;
const loopback = '127.0.0.1';

const scriptOf = (name: string): string => fileURLToPath(new URL(`workloads/${name}`, import.meta.url));

const microservice = (name: string, node: string, script: string): unknown => ({
  name,
  engine: 'process',
  command: [process.execPath, scriptOf(script)],
  // What it is compared with is on loopback of the box.
  hostNetwork: true,
  ports: [{ name: 'raw', port: 8080 }],
  placement: { node },
  probes: { readiness: { tcp: { port: 'raw' } } },
});

export const tunnel: Bench = async (run) => {
  // A controller is a node as well: one process less to start where nothing is measured.
  const fabric = await startFabric(run, { workers: run.brief ? 1 : 2, allow: ['host-network'] });
  const [near, far] = run.brief ? fabric.nodes : fabric.workers;
  if (near === undefined || far === undefined) throw new Error('there are no two nodes');
  const microservices = [
    microservice('server', far.name, 'tunnel-server.js'),
    microservice('client', near.name, 'tunnel-client.js'),
  ];
  const manifest = {
    apiVersion: 'selvedge/v1',
    kind: 'Application',
    metadata: { name: 'bench' },
    spec: { microservices },
  };
  await fabric.control.client.apply([manifest], ['bench']);
  await Promise.all([fabric.ready('default.bench.server.0'), fabric.ready('default.bench.client.0')]);
  const place = async (name: string): Promise<Target> => {
    const { addresses = [] } = await fabric.control.client.instance(`default.bench.${name}.0`);
    const [address] = addresses;
    if (address === undefined) throw new Error(`${name} has no address`);
    return { host: address.host, port: address.hostPort };
  };
  const client = await place('client');
  const plain = await place('server');
  const relays = await startRelayPair(run, plain);
  const paths: Record<string, Path> = {
    plain: { target: plain },
    relays: {
      target: { host: loopback, port: relays.near.port },
      carriers: { caller: relays.near.pid, called: relays.far.pid },
    },
    tunnel: { target: { host: 'server', port: 8080 }, carriers: { caller: near.pid, called: far.pid } },
  };
  const setup = { client, paths, rounds: run.rounds ?? roundsUsual };
  const bytes = run.brief ? gibibyte / 512 : gibibyte / 4;
  const trips = run.brief ? 50 : 2_000;
  const seconds = run.brief ? 0.2 : 3;
  const throughput = await inTurns(
    run,
    setup,
    { measure: 'throughput', bytes },
    { of: () => gibibyte / bytes, per: 'a GiB' },
  );
  const perTrips = { of: () => 1_000 / trips, per: 'for 1,000 round trips' };
  const latency = await inTurns(run, setup, { measure: 'latency', trips }, perTrips);
  const perConnections = { of: (rate: number, took: number) => 1_000 / (rate * took), per: 'for 1,000 connections' };
  const connections = await inTurns(
    run,
    { ...setup, warmUp: connectionsWarmUp },
    { measure: 'connections', seconds, parallel },
    perConnections,
  );
  await Promise.all(fabric.nodes.map((node) => node.end()));
  return {
    bench: 'tunnel',
    figures: [
      atLeast(budgetRatio, {
        name: 'tunnel.throughput.ratio',
        value: beside(throughput, 'tunnel', 'relays', (one, other) => one / other),
        unit: 'ratio',
        against: { name: 'node:tls relay pair, MB/s', value: middle(throughput, 'relays') / 1e6 },
      }),
      atMost(budgetAddedUs, {
        name: 'tunnel.latency.added.p50',
        value: beside(latency, 'tunnel', 'relays', (one, other) => one - other),
        unit: 'µs',
        against: { name: 'round trip through the node:tls relay pair, p50 µs', value: middle(latency, 'relays') },
      }),
      atLeast(budgetConnections, {
        name: 'tunnel.connections',
        value: middle(connections, 'tunnel'),
        unit: '1/s',
        against: { name: 'node:tls relay pair, 1/s', value: middle(connections, 'relays') },
      }),
      unbudgeted({
        name: 'tunnel.processor',
        value: throughput.processor.get('tunnel') ?? Number.NaN,
        unit: 's/GiB',
        against: { name: 'node:tls relay pair, s/GiB', value: throughput.processor.get('relays') ?? Number.NaN },
      }),
      unbudgeted({
        name: 'tunnel.connections.processor',
        value: connections.processor.get('tunnel') ?? Number.NaN,
        unit: 'ms',
        against: { name: 'node:tls relay pair, ms', value: connections.processor.get('relays') ?? Number.NaN },
      }),
      ...(await tunnelPaths(run)),
    ],
  };
};

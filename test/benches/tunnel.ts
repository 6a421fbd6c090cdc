// Service calls between two real nodes: throughput of one connection, added time of a round trip, new connections. One calling
// workload measures all paths to one called workload, in turns: plain TCP, a bare pair of node:tls relays, and the tunnel.

import { once } from 'node:events';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { startFabric } from './fabric.ts';
import { atLeast, atMost, median } from './figures.ts';
import { processorSeconds } from './processor-time.ts';
import { startRelayPair } from './relay-pair.ts';
import type { Bench } from './run.ts';

const roundsUsual = 9;
const budgetRatio = 0.8;
const budgetAddedUs = 100;
const budgetConnections = 1_500;
const gibibyte = 1024 ** 3;
const bytes = gibibyte / 4;
const trips = 2_000;
const count = 600;
const parallel = 32;
const loopback = '127.0.0.1';

const scriptOf = (name: string): string => fileURLToPath(new URL(`workloads/${name}`, import.meta.url));

const microservice = (name: string, node: string, script: string): unknown => ({
  name,
  engine: 'process',
  command: [process.execPath, scriptOf(script)],
  ports: [{ name: 'raw', port: 8080 }],
  placement: { node },
  probes: { readiness: { tcp: { port: 'raw' } } },
});

type Target = { host: string; port: number };
type Order = { measure: 'throughput'; bytes: number } | { measure: 'latency'; trips: number } | Connections;
type Connections = { measure: 'connections'; count: number; parallel: number };

/** Gives the calling workload one order. */
async function order(client: Target, what: Order, target: Target): Promise<number> {
  const socket = connect(client);
  socket.on('error', () => undefined);
  socket.write(`${JSON.stringify({ ...what, ...target })}\n`);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  await once(socket, 'close');
  const answer = JSON.parse(Buffer.concat(chunks).toString() || '{"error":"no answer"}') as Answer;
  if (answer.value === undefined) throw new Error(`${what.measure} to ${target.host}:${target.port}: ${answer.error}`);
  return answer.value;
}
/** What the processor time of a measurement is told for: `of` of them are one of `per`. */
type Cost = { of: number; per: string };
type Answer = { value?: number; error?: string };

export const tunnel: Bench = async (run) => {
  const fabric = await startFabric(run, { workers: 2 });
  const [near, far] = fabric.workers;
  if (near === undefined || far === undefined) throw new Error('there are no two workers');
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
  const paths: Record<string, Target> = {
    plain,
    relays: { host: loopback, port: relays.near.port },
    tunnel: { host: 'server', port: 8080 },
  };
  const carriers: Record<string, readonly number[]> = {
    relays: [relays.near.pid, relays.far.pid],
    tunnel: [near.pid, far.pid],
  };
  const names = Object.keys(paths);

  /** All paths in turns, another one first in each round; without what the first round gave, which warms up. */
  async function inTurns(what: Order, cost: Cost): Promise<Map<string, number[]>> {
    const spent = new Map<string, number[]>();
    const values = new Map<string, number[]>(names.map((name) => [name, []]));
    const rounds = run.rounds ?? roundsUsual;
    for (let round = 0; round <= rounds; round++) {
      for (let turn = 0; turn < names.length; turn++) {
        const name = names[(round + turn) % names.length] ?? '';
        run.signal.throwIfAborted();
        const carriedBy = carriers[name] ?? [];
        const before = await Promise.all(carriedBy.map(processorSeconds));
        const value = await order(client, what, paths[name] ?? plain);
        if (round === 0) continue;
        values.get(name)?.push(value);
        const after = await Promise.all(carriedBy.map(processorSeconds));
        const sums = spent.get(name) ?? [];
        spent.set(
          name,
          after.map((seconds, index) => (sums[index] ?? 0) + seconds - (before[index] ?? Number.NaN)),
        );
      }
    }
    for (const [name, list] of values) {
      run.say(
        `${what.measure}, ${name}: median ${median(list).toFixed(0)}, ${list.map((one) => one.toFixed(0)).join(' ')}`,
      );
    }
    for (const [name, seconds] of spent) {
      if (seconds.length === 0) continue;
      const each = seconds.map((sum) => ((sum * cost.of) / rounds).toFixed(2));
      run.say(
        `${what.measure}, ${name}: processor time of caller’s and called end ${each.join(' and ')} s ${cost.per}`,
      );
    }
    return values;
  }
  const of = (values: Map<string, number[]>, name: string): number[] => values.get(name) ?? [];
  /** What the tunnel has to the relays in the same round. */
  const beside = (values: Map<string, number[]>, compare: (one: number, other: number) => number): number =>
    median(of(values, 'tunnel').map((value, round) => compare(value, of(values, 'relays')[round] ?? Number.NaN)));

  const throughput = await inTurns({ measure: 'throughput', bytes }, { of: gibibyte / bytes, per: 'a GiB' });
  const latency = await inTurns({ measure: 'latency', trips }, { of: 1_000 / trips, per: 'for 1,000 round trips' });
  const connections = await inTurns(
    { measure: 'connections', count, parallel },
    { of: 1_000 / count, per: 'for 1,000 connections' },
  );
  return {
    bench: 'tunnel',
    figures: [
      atLeast(budgetRatio, {
        name: 'tunnel.throughput.ratio',
        value: beside(throughput, (tunnel, relays) => tunnel / relays),
        unit: 'ratio',
        against: { name: 'node:tls relay pair, MB/s', value: median(of(throughput, 'relays')) / 1e6 },
      }),
      atMost(budgetAddedUs, {
        name: 'tunnel.latency.added.p50',
        value: beside(latency, (tunnel, relays) => tunnel - relays),
        unit: 'µs',
        against: { name: 'round trip through the node:tls relay pair, p50 µs', value: median(of(latency, 'relays')) },
      }),
      atLeast(budgetConnections, {
        name: 'tunnel.connections',
        value: median(of(connections, 'tunnel')),
        unit: '1/s',
        against: { name: 'node:tls relay pair, 1/s', value: median(of(connections, 'relays')) },
      }),
    ],
  };
};

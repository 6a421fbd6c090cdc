// What the tunnel does where it cannot go straight between two daemons of one box: over one router, over a long path, and with many
// connections that say nothing. Called by tunnel.ts. The nodes are the product's mesh and service network in processes of their own
// (tunnel-peers.ts); calling and called workload are those of the bench.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { eventually } from '../eventually.ts';
import { freePort } from '../mesh/libp2p-world.ts';
import { atLeast, atMost, type Figure, unbudgeted } from './figures.ts';
import type { LongPathSettings } from './long-path.ts';
import type { BenchRun } from './run.ts';
import { beside, gibibyte, inTurns, middle, order, type Path, type Target } from './tunnel-orders.ts';
import { linkTogether, startTunnelPeers, type TunnelPeer, type TunnelPeers } from './tunnel-peers.ts';

const roundsUsual = 7;
const budgetHop = 0.5;
/** What skupper-router’s edge–interior–edge keeps of plain TCP on the same box. */
const budgetHopOfPlain = 0.08;
const budgetIdleKb = 20;
const budgetLong = 0.43;
const budgetRoundTrips = 3;
const loopback = '127.0.0.1';
/** A line of 1 Gbit/s between continents. */
const roundTripMs = 63;
const bytesPerSecond = 125_000_000;

const name = (microservice: string) => ({ project: 'default', application: 'paths', microservice });
const calling = name('client');
const called = name('server');
const instanceOf = ({ microservice }: { microservice: string }, index = 0) => `default.paths.${microservice}.${index}`;
const scriptOf = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

/** One of the bench’s workloads, outside of a daemon. */
async function startWorkload(run: BenchRun, script: string): Promise<Target> {
  const port = await freePort();
  const env = { ...process.env, HOST: loopback, PORT: `${port}` };
  const child = spawn(process.execPath, [scriptOf(`workloads/${script}`)], { stdio: 'inherit', env });
  run.atEnd(() => void child.kill('SIGKILL'));
  const target = { host: loopback, port };
  const accepts = async (): Promise<boolean> => {
    const socket = connect(target);
    await once(socket, 'connect');
    socket.destroy();
    return true;
  };
  await eventually(accepts, { deadlineMs: 60_000, what: `${script} accepts connections` });
  return target;
}

async function startLongPath(run: BenchRun, targets: Target[]): Promise<number[]> {
  const child = spawn(process.execPath, [scriptOf('long-path.ts')], { stdio: ['pipe', 'pipe', 'inherit'] });
  run.atEnd(() => void child.kill('SIGKILL'));
  child.stdin.on('error', () => undefined);
  const settings: LongPathSettings = { delayMs: roundTripMs / 2, bytesPerSecond, targets };
  child.stdin.write(`${JSON.stringify(settings)}\n`);
  for await (const line of createInterface({ input: child.stdout })) return JSON.parse(line) as number[];
  throw new Error('the long path ended at once');
}

const targetOf = (address = ''): Target => {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
};

/** RSS of both nodes with so many open connections, less than before, in kB (1,000) for each of them. */
async function idle(run: BenchRun, { near, far }: TunnelPeers, client: Target, service: Target) {
  const parallel = 32;
  const count = run.brief ? 20 : 1_500;
  const both = () => Promise.all([near.call('residentMb'), far.call('residentMb')]);
  await order(client, { measure: 'connections', seconds: run.brief ? 0.2 : 1, parallel }, service);
  const before = await both();
  await order(client, { measure: 'hold', count, parallel }, service);
  const held = await both();
  await order(client, { measure: 'release' }, service);
  const [caller = Number.NaN, farEnd = Number.NaN] = held.map((mb, end) => ((mb - (before[end] ?? 0)) * 1_000) / count);
  run.say(`${count} idle connections: ${held.join(' and ')} MB instead of ${before.join(' and ')}`);
  return { caller, called: farEnd, before };
}

export async function tunnelPaths(run: BenchRun): Promise<Figure[]> {
  const peers = await startTunnelPeers(run, { calling, called });
  const { near, router, far, distant } = peers;
  const plain = await startWorkload(run, 'tunnel-server.js');
  const client = await startWorkload(run, 'tunnel-client.js');
  const servers = [far, distant].map((peer, index) => ({
    peer,
    endpoint: { ...called, instance: instanceOf(called, index), port: 8080, peerId: peer.peerId, ready: true },
  }));
  for (const { peer, endpoint } of servers) {
    await peer.call('attach', {
      ...called,
      ...{ instance: endpoint.instance, credential: peer.issue(called), calls: [] },
      listens: [{ port: 8080, host: plain.host, hostPort: plain.port }],
    });
  }
  const { hosts } = await near.call('attach', {
    ...calling,
    ...{ instance: instanceOf(calling), credential: near.issue(calling), listens: [] },
    calls: [{ ...called, port: 8080 }],
  });
  const service = { host: hosts[0]?.address ?? '', port: 8080 };
  const straight = (await far.call('offer'))?.addresses ?? [];

  // The link to the distant node is as long as the way of its calls.
  const [mesh] = await distant.call('addresses');
  const meshPort = Number(/\/tcp\/(\d+)$/.exec(mesh ?? '')?.[1]);
  const tunnelOf = targetOf((await distant.call('offer'))?.addresses[0]);
  const long = await startLongPath(run, [plain, tunnelOf, { host: loopback, port: meshPort }]);
  const [longPlain = 0, longTunnel = 0, longMesh = 0] = long;
  await linkTogether(near, distant, [`/ip4/${loopback}/tcp/${longMesh}`]);
  const cost = () => near.call('cost', distant.peerId);
  await eventually(async () => (await cost()) && distant.call('cost', near.peerId), {
    what: 'the long path is measured',
  });
  run.say(`the long path costs ${((await cost()) ?? Number.NaN) / 1_000} ms`);
  const rounds = run.rounds ?? roundsUsual;

  /** Calls go to that node, and begin a new session by these addresses; none leaves what leads over the router. */
  let taken = '';
  const by = (to: TunnelPeer, addresses: string[]) => async () => {
    const way = `${to.name} ${addresses.join()}`;
    if (taken === way) return;
    taken = way;
    await near.call('setOffer', to.peerId, { addresses, authorityKeySha256: to.authorityKeySha256 });
    await near.call('renew', instanceOf(calling), near.issue(calling));
    await near.call('setEndpoints', [...servers.flatMap(({ peer, endpoint }) => (peer === to ? [endpoint] : []))]);
    await order(client, { measure: 'latency', trips: 1 }, service);
    // What the first call makes goes on for a moment.
    await delay(run.brief ? 0 : 500, undefined, { signal: run.signal });
  };
  const ends = { caller: near.pid, called: far.pid };
  const direct: Path = { target: service, carriers: ends, take: by(far, straight) };
  const hop: Path = { target: service, carriers: { ...ends, router: router.pid }, take: by(far, []) };
  const longTunnelPath: Path = {
    target: service,
    carriers: { caller: near.pid, called: distant.pid },
    take: by(distant, [`${loopback}:${longTunnel}`]),
  };
  const longPlainPath: Path = { target: { host: loopback, port: longPlain } };

  const bytes = run.brief ? gibibyte / 512 : gibibyte / 8;
  const trips = run.brief ? 5 : 20;
  const perGiB = { of: () => gibibyte / bytes, per: 'a GiB' };
  const onBox = { client, rounds, paths: { plain: { target: plain }, direct, hop } };
  const afar = { client, rounds, paths: { plain: longPlainPath, tunnel: longTunnelPath } };
  await direct.take?.();
  const idling = await idle(run, peers, client, service);
  const near1 = await inTurns(run, onBox, { measure: 'throughput', bytes }, perGiB);
  const far1 = await inTurns(run, afar, { measure: 'throughput', bytes }, perGiB);
  const first = await inTurns(
    run,
    afar,
    { measure: 'firstByte', trips },
    { of: () => 1_000 / trips, per: 'for 1,000' },
  );
  const ratio = (one: number, other: number) => one / other;
  return [
    atLeast(budgetHop, {
      ...{ name: 'tunnel.hop.ratio', value: beside(near1, 'hop', 'direct', ratio), unit: 'ratio' },
      against: { name: 'direct, MB/s', value: middle(near1, 'direct') / 1e6 },
    }),
    atLeast(budgetHopOfPlain, {
      ...{ name: 'tunnel.hop.plain', value: beside(near1, 'hop', 'plain', ratio), unit: 'ratio' },
      against: { name: 'plain TCP, MB/s', value: middle(near1, 'plain') / 1e6 },
    }),
    unbudgeted({
      ...{ name: 'tunnel.hop.processor', value: near1.processor.get('hop') ?? Number.NaN, unit: 's/GiB' },
      against: { name: 'direct, s/GiB', value: near1.processor.get('direct') ?? Number.NaN },
    }),
    atLeast(budgetLong, {
      ...{ name: 'tunnel.long.ratio', value: beside(far1, 'tunnel', 'plain', ratio), unit: 'ratio' },
      against: { name: `plain TCP over ${roundTripMs} ms, MB/s`, value: middle(far1, 'plain') / 1e6 },
    }),
    atMost(budgetRoundTrips, {
      name: 'tunnel.long.first',
      ...{ value: middle(first, 'tunnel') / (roundTripMs * 1_000), unit: 'round trips' },
      against: { name: 'plain TCP, round trips', value: middle(first, 'plain') / (roundTripMs * 1_000) },
    }),
    atMost(budgetIdleKb, {
      ...{ name: 'tunnel.idle.caller', value: idling.caller, unit: 'kB' },
      against: { name: 'RSS of the node without them, MB', value: idling.before[0] },
    }),
    atMost(budgetIdleKb, {
      ...{ name: 'tunnel.idle.called', value: idling.called, unit: 'kB' },
      against: { name: 'RSS of the node without them, MB', value: idling.before[1] },
    }),
  ];
}

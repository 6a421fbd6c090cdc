// Local addresses and names of called services: stable, unique, and told apart by who calls.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { createServiceAddresses, type ServiceAddressesRequest } from '../../mesh/service-addresses.ts';
import { addressesOfEnvironment, candidateAddress, isServiceAddress, nameServices } from '../../mesh/service-names.ts';
import { createSimServiceNetwork } from '../../simulations/sim-service-network.ts';
import { skip } from '../skip.ts';
import { callable, closedPort, nameOf } from './tunnel-fixture.ts';

const monitor = nameOf('monitor');
const quiet = () => undefined;

function newAddresses(
  t: ExecutionContext,
  seed: string,
  onConnection = quiet as Parameters<typeof createServiceAddresses>[0]['onConnection'],
) {
  const listenDatagrams = async () => ({ close: quiet });
  const addresses = createServiceAddresses({ seed, onConnection, listenDatagrams });
  const given = new Set<string>();
  t.teardown(() => {
    for (const instance of given) addresses.take(instance);
  });
  return {
    take: addresses.take,
    give: (request: Partial<ServiceAddressesRequest> & Pick<ServiceAddressesRequest, 'calls'>) => {
      const full = { ...monitor, instance: 'default.cold-chain.monitor.0', ...request };
      given.add(full.instance);
      return addresses.give(full);
    },
  };
}

async function occupy(t: ExecutionContext, host: string, port: number): Promise<Server> {
  const server = createServer().listen(port, host);
  await once(server, 'listening');
  t.teardown(() => server.close());
  return server;
}

const addressOf = ({ hosts }: { hosts: { address: string }[] }) => hosts[0]?.address ?? '';
const isOpen = (host: string, port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, host);
    socket.once('connect', () => socket.destroy());
    socket.once('close', (hadError) => resolve(!hadError));
    socket.once('error', () => undefined);
  });

test('an address is the same after each start, and another one for each instance, service and node', async (t) => {
  const port = await closedPort();
  const calls = [callable('sensor', port)];
  const first = await newAddresses(t, 'node-a').give({ calls });
  t.is(addressOf(first), candidateAddress('node-a', 'default.cold-chain.monitor.0', 'sensor.cold-chain.default', 0));
  const others = newAddresses(t, 'node-b');
  const second = await others.give({ calls });
  const third = await others.give({ calls, instance: 'default.cold-chain.monitor.1' });
  const fourth = await others.give({ calls: [callable('store', port)], instance: 'default.cold-chain.monitor.2' });
  t.is(new Set([first, second, third, fourth].map(addressOf)).size, 4);
  t.true([first, second, third, fourth].map(addressOf).every((address) => isServiceAddress(address)));
});

test('a connection says which instance called which service and port', async (t) => {
  const [one, two] = [await closedPort(), await closedPort()];
  const seen: string[] = [];
  const addresses = newAddresses(t, 'node-c', (socket, instance, wanted) => {
    seen.push(`${instance} ${wanted.microservice} ${wanted.port}`);
    socket.destroy();
  });
  const given = await addresses.give({ calls: [callable('sensor', one), callable('sensor', two)] });
  t.is(given.hosts.length, 1, 'one address with two ports');
  await isOpen(addressOf(given), one);
  await isOpen(addressOf(given), two);
  t.deepEqual(seen, [`default.cold-chain.monitor.0 sensor ${one}`, `default.cold-chain.monitor.0 sensor ${two}`]);
});

test('a taken address is replaced by the next one', async (t) => {
  const port = await closedPort();
  const instance = 'default.cold-chain.monitor.0';
  const key = 'sensor.cold-chain.default';
  await occupy(t, candidateAddress('node-d', instance, key, 0), port);
  await occupy(t, candidateAddress('node-d', instance, key, 1), port);
  const given = await newAddresses(t, 'node-d').give({ calls: [callable('sensor', port)] });
  t.is(addressOf(given), candidateAddress('node-d', instance, key, 2));
});

test('two nodes of one seed on one box get along', async (t) => {
  const calls = [callable('sensor', await closedPort())];
  const one = await newAddresses(t, 'same').give({ calls });
  const two = await newAddresses(t, 'same').give({ calls });
  t.not(addressOf(one), addressOf(two));
});

test('an adopted workload keeps the address that it holds, whatever the hash says now', async (t) => {
  const port = await closedPort();
  const calls = [callable('sensor', port)];
  const before = newAddresses(t, 'node-e');
  const instance = 'default.cold-chain.monitor.0';
  const occupant = await occupy(t, candidateAddress('node-e', instance, 'sensor.cold-chain.default', 0), port);
  const first = await before.give({ calls });
  before.take(instance);
  occupant.close();
  const adopted = await newAddresses(t, 'node-e').give({ calls, adoptedEnv: first.env });
  t.is(addressOf(adopted), addressOf(first));
  const conflicting = newAddresses(t, 'node-e').give({ calls, adoptedEnv: first.env });
  await t.throwsAsync(conflicting, { name: 'ServiceAddressTakenError', message: /is taken on 127\./ });
  const forged = newAddresses(t, 'node-f').give({
    calls,
    adoptedEnv: { SELVEDGE_ADDRESSES: 'sensor.cold-chain.default=0.0.0.0' },
  });
  await t.throwsAsync(forged, { name: 'ServiceAddressTakenError' });
});

test('another set of calls keeps the addresses of services that stay', async (t) => {
  const [one, two] = [await closedPort(), await closedPort()];
  const addresses = newAddresses(t, 'node-g');
  const first = await addresses.give({ calls: [callable('sensor', one), callable('store', one)] });
  const second = await addresses.give({ calls: [callable('sensor', one), callable('sensor', two)] });
  t.is(addressOf(second), addressOf(first));
  t.true(await isOpen(addressOf(second), one));
  t.true(await isOpen(addressOf(second), two));
  t.false(await isOpen(first.hosts[1]?.address ?? '', one), 'what is called no more is closed');
  const third = await addresses.give({ calls: [callable('sensor', two)] });
  t.is(addressOf(third), addressOf(first));
  t.false(await isOpen(addressOf(first), one));
  addresses.take('default.cold-chain.monitor.0');
  t.false(await isOpen(addressOf(first), two));
});

test('a port that is taken on every address is an error that says so, and leaves nothing behind', async (t) => {
  const [free, taken] = [await closedPort(), await closedPort()];
  await occupy(t, '0.0.0.0', taken);
  const addresses = newAddresses(t, 'node-h');
  await t.throwsAsync(addresses.give({ calls: [callable('sensor', free), callable('store', taken)] }), {
    name: 'ServiceAddressTakenError',
    message: new RegExp(`port ${taken} of the service store`),
  });
  const address = candidateAddress('node-h', 'default.cold-chain.monitor.0', 'sensor.cold-chain.default', 0);
  t.false(await isOpen(address, free));
});

test('a port below 1024 is refused with the reason where this is not permitted', async (t) => {
  const lowest = Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8'));
  if (lowest <= 81) {
    skip(t, 'this kernel lets everybody listen on every port');
    return;
  }
  const script = `
    import { createServiceAddresses } from ${JSON.stringify(fileURLToPath(new URL('../../mesh/service-addresses.ts', import.meta.url)))};
    if (process.getuid() === 0) process.setuid(65534);
    const addresses = createServiceAddresses({ seed: 'x', onConnection() {} });
    const calls = [{ project: 'p', application: 'a', microservice: 'web', port: 81 }];
    await addresses.give({ project: 'p', application: 'a', microservice: 'm', instance: 'i', calls }).catch((error) => console.log(error.id, error.message));`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'pipe'] });
  const [output, problems] = await Promise.all([child.stdout.toArray(), child.stderr.toArray()]);
  t.is(
    Buffer.concat(output).toString(),
    'service-port-not-permitted the service web.a.p uses port 81, which this node may not listen on\n',
    Buffer.concat(problems).toString(),
  );
});

test('short names go to the nearest service, and no name is given twice', (t) => {
  const services = nameServices(monitor, [
    callable('sensor', 80, 'other'),
    callable('sensor'),
    { ...callable('sensor'), project: 'far' },
    callable('localhost'),
  ]);
  t.deepEqual(Object.fromEntries(services.map(({ key, names }) => [key, names])), {
    'localhost.cold-chain.default': ['localhost.cold-chain', 'localhost.cold-chain.default'],
    'sensor.cold-chain.default': ['sensor', 'sensor.cold-chain', 'sensor.cold-chain.default'],
    'sensor.other.default': ['sensor.other', 'sensor.other.default'],
    'sensor.cold-chain.far': ['sensor.cold-chain.far'],
  });
});

test('the environment names host, port and URL of each service, and is read back', async (t) => {
  const network = createSimServiceNetwork({ node: 'n' });
  await network.start();
  const calls = [
    callable('cold-store', 8080),
    callable('cold-store', 9090),
    callable('sensor', 80, 'other'),
    callable('sensor', 81),
  ];
  const { env, hosts } = await network.attach({
    ...monitor,
    instance: 'i',
    credential: { keyPem: '', chainPem: '' },
    listens: [],
    calls,
  });
  const at = (name: string) => hosts.find(({ names }) => names.includes(name))?.address;
  t.like(env, {
    COLD_STORE_HOST: at('cold-store'),
    COLD_STORE_PORT: '8080',
    COLD_STORE_URL: `http://${at('cold-store')}:8080`,
    COLD_STORE_URL_9090: `http://${at('cold-store')}:9090`,
    SENSOR_PORT: '81',
    SENSOR_OTHER_HOST: at('sensor.other'),
    SENSOR_OTHER_PORT: '80',
  });
  t.deepEqual(addressesOfEnvironment(env).get('sensor.other.default'), at('sensor.other'));
  t.is(addressesOfEnvironment({ SELVEDGE_ADDRESSES: 'nonsense = =a b=' }).size, 0);
});

test('the simulated network hands out what the real one would, and keeps what an adopted workload holds', async (t) => {
  const port = await closedPort();
  const calls = [callable('sensor', port), callable('store', port)];
  const real = await newAddresses(t, 'node-i').give({ calls });
  const attached = {
    ...monitor,
    instance: 'default.cold-chain.monitor.0',
    credential: { keyPem: '', chainPem: '' },
    listens: [],
    calls,
  };
  const sim = createSimServiceNetwork({ node: 'node-i' });
  await t.throwsAsync(sim.attach(attached), { name: 'ServiceNetworkStoppedError' });
  t.is(sim.offer(), undefined);
  await sim.start();
  t.deepEqual(await sim.attach(attached), real);
  const other = createSimServiceNetwork({ node: 'another' });
  await other.start();
  t.deepEqual((await other.attach({ ...attached, adoptedEnv: real.env })).hosts, real.hosts);
  await sim.detach(attached.instance);
  t.deepEqual(sim.attached(), []);
});

test('an address for an instance with a network of its own is from its range, and answers that instance alone', async (t) => {
  const port = await closedPort();
  const calls = [callable('sensor', port)];
  let accepted = 0;
  const addresses = newAddresses(t, 'node-n', (socket) => {
    accepted += 1;
    socket.destroy();
  });
  const network = { address: '127.0.0.9', serviceRange: '127.32.8.0/21' };
  const given = await addresses.give({ calls, network });
  const host = addressOf(given);
  t.true(isServiceAddress(host, network.serviceRange));
  t.false(isServiceAddress(host));
  const ends = (localAddress: string) =>
    new Promise<void>((resolve) => {
      const socket = connect({ host, port, localAddress });
      socket.on('error', () => undefined);
      socket.once('close', () => resolve());
    });
  await ends('127.0.0.1');
  t.is(accepted, 0, 'a stranger is reset');
  await ends(network.address);
  t.is(accepted, 1);
  const again = await addresses.give({ calls, network, adoptedEnv: given.env });
  t.is(addressOf(again), host);
});

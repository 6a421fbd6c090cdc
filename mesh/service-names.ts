// The names under which a service is called, and the local address that stands for it. Pure; used by service-addresses.ts, the
// tunnel and the simulated service network. A name that is handed out says nothing about whether the call is allowed.

import { createHash } from 'node:crypto';
import type { CallableService, MicroserviceName, ServicePort } from '../control/plan.ts';

/** One called microservice with all the ports that the caller uses. */
export interface CalledService extends MicroserviceName {
  /** `<service>.<application>.<project>` */
  key: string;
  /** Of TCP. */
  ports: number[];
  udpPorts: number[];
}

export interface NamedService extends CalledService {
  /** Shortest first; the last one is the key. */
  names: string[];
}

/** The name alone, of something that has one. */
export function nameOf({ project, application, microservice }: MicroserviceName): MicroserviceName {
  return { project, application, microservice };
}

/** `<service>.<application>.<project>` */
export function serviceKey(name: MicroserviceName): string {
  return `${name.microservice}.${name.application}.${name.project}`;
}

/** `8080`, `53/udp` */
export function portText({ port, protocol }: ServicePort): string {
  return protocol === undefined ? `${port}` : `${port}/${protocol}`;
}

/** All ports of a called service. */
export function portsOf({ ports, udpPorts }: CalledService): ServicePort[] {
  return [...ports.map((port) => ({ port })), ...udpPorts.map((port) => ({ port, protocol: 'udp' as const }))];
}

/** The DNS name of a microservice in its certificate, sent as SNI: `<ms>.<app>.<project>.ms.<fabric-id>`. */
export function tunnelServerName(name: MicroserviceName, fabricId: string): string {
  return `${serviceKey(name)}.ms.${fabricId}`;
}

/**
 * Groups calls by microservice and gives each the names it is called by: `<service>`, `<service>.<app>`, `<service>.<app>.<project>`.
 * Where two services would share a short name, the one nearest to the caller has it (own application, own project, then by name).
 */
export function nameServices(caller: MicroserviceName, calls: readonly CallableService[]): NamedService[] {
  const services = new Map<string, CalledService>();
  for (const call of calls) {
    const key = serviceKey(call);
    const service = services.get(key) ?? { key, ...nameOf(call), ports: [], udpPorts: [] };
    services.set(key, service);
    const ports = call.protocol === 'udp' ? service.udpPorts : service.ports;
    if (!ports.includes(call.port)) ports.push(call.port);
  }
  const taken = new Set(['localhost']);
  const nearestFirst = [...services.values()].sort(
    (one, other) => distance(caller, one) - distance(caller, other) || (one.key < other.key ? -1 : 1),
  );
  return nearestFirst.map((service) => {
    const candidates = [service.microservice, `${service.microservice}.${service.application}`];
    const names = candidates.filter((name) => !taken.has(name));
    for (const name of names) taken.add(name);
    return { ...service, names: [...names, service.key] };
  });
}

function distance(caller: MicroserviceName, called: MicroserviceName): number {
  if (caller.project !== called.project) return 2;
  return caller.application === called.application ? 0 : 1;
}

/** Lists every called service with its address, so that the node finds them again when it adopts the workload. */
const addressesVariable = 'SELVEDGE_ADDRESSES';

/**
 * Environment variables for kernels where a process cannot have its own /etc/hosts. For a service `monitor` with port 8080:
 * `MONITOR_HOST`, `MONITOR_PORT`, `MONITOR_URL=http://<address>:8080`; for each port also `MONITOR_URL_<port>`. The prefix is the
 * service's shortest name in upper case, everything but letters and digits as `_`. `PORT` and `URL` are of the first TCP port called; where
 * there is none `PORT` is the first UDP port, and there is no `URL`.
 * `SELVEDGE_ADDRESSES` has `<service>.<app>.<project>=<address>` for each, separated by spaces.
 */
export function serviceEnvironment(
  services: readonly NamedService[],
  addresses: ReadonlyMap<string, string>,
): Record<string, string> {
  const env: Record<string, string> = {};
  const known: string[] = [];
  for (const service of services) {
    const address = addresses.get(service.key);
    if (address === undefined) continue;
    known.push(`${service.key}=${address}`);
    const prefix = service.names.map(variablePrefix).find((candidate) => env[`${candidate}_HOST`] === undefined);
    if (prefix === undefined) continue;
    env[`${prefix}_HOST`] = address;
    env[`${prefix}_PORT`] = `${service.ports[0] ?? service.udpPorts[0]}`;
    if (service.ports.length > 0) env[`${prefix}_URL`] = `http://${address}:${service.ports[0]}`;
    for (const port of service.ports) env[`${prefix}_URL_${port}`] = `http://${address}:${port}`;
  }
  if (known.length > 0) env[addressesVariable] = known.join(' ');
  return env;
}

function variablePrefix(name: string): string {
  return name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_');
}

/** By service key: the addresses in an environment that `serviceEnvironment` made. Anything else in it is passed over. */
export function addressesOfEnvironment(env: Readonly<Record<string, string>>): Map<string, string> {
  const pairs = (env[addressesVariable] ?? '').split(' ').map((pair) => pair.split('='));
  return new Map(pairs.flatMap(([key, address]) => (key && address ? [[key, address] as const] : [])));
}

/** Of what can only be reached on this box itself. */
export const loopbackServiceRange = '127.64.0.0/10';

// Addresses that end in 0 or 255 are left out: some programs take them for networks.
const hostsPerBlock = 254;

const numberOf = (address: string): number => address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);

/** First address and size of a range in CIDR notation, 8 to 24 bits. */
function readRange(range: string): { first: number; size: number } {
  const [address = '', prefix] = range.split('/');
  return { first: numberOf(address), size: 2 ** (32 - Number(prefix)) };
}

/** The address to try at the `attempt`th time: a hash of all three, then one further each time (linear probing). */
export function candidateAddress(
  seed: string,
  instance: string,
  service: string,
  attempt: number,
  range = loopbackServiceRange,
): string {
  const digest = createHash('sha256')
    .update(JSON.stringify([seed, instance, service]))
    .digest();
  const { first, size } = readRange(range);
  const index = (digest.readUInt32BE(0) + attempt) % ((size / 256) * hostsPerBlock);
  const address = first + Math.floor(index / hostsPerBlock) * 256 + 1 + (index % hostsPerBlock);
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.');
}

/** True for an IPv4 address of the range. */
export function inRange(address: string, range: string): boolean {
  if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(address) || address.split('.').some((part) => Number(part) > 255)) return false;
  const { first, size } = readRange(range);
  const number = numberOf(address);
  return number >= first && number < first + size;
}

/** True for an address that `candidateAddress` can return. */
export function isServiceAddress(address: string, range = loopbackServiceRange): boolean {
  const last = Number(address.split('.')[3]);
  return inRange(address, range) && last >= 1 && last <= hostsPerBlock;
}

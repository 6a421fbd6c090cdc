// A bridge network of this node's containers, and which address each has. Called by docker-networks.ts. Each takes one part of the
// container range: its lower half is the bridge's, its upper half holds the addresses of the services that containers call.
//
// Addresses are given out here and not by Docker, so that the node knows an instance's address before it runs and no other
// container ever gets it in between. Containers do not reach each other on the bridge: they call through the service network.

import { readFile } from 'node:fs/promises';
import type { ContainerFacts, DockerClient, NetworkFacts } from './docker-client.ts';
import { labelsOf, ownerLabels, ownsLabels } from './docker-labels.ts';
import type { EngineOwner, InstanceNetwork } from './engine.ts';
import { ContainerNameTakenError, DockerRefusedError, NoFreeRangeError } from './errors.ts';
import { createInstanceAddresses, gatewayOf, hashNumber, type InstanceAddresses } from './instance-addresses.ts';
import { type Ipv4Range, overlaps, parseRange, partOf, partsOf, rangeText, routedRanges } from './ipv4-range.ts';

/**
 * RFC 2544 keeps it for measurements between devices: no LAN, VPN or cloud hands it out, and no router forwards it. 169.254/16 is in
 * use on networks without DHCP, 100.64/10 by carriers and VPNs, and Docker's own pools collide with real networks now and then.
 */
export const defaultContainerRange = '198.18.0.0/15';

/** Of one application on this node: 509 containers and as many addresses of services; the usual range has 128 parts. */
const partPrefix = 22;
const halfPrefix = partPrefix + 1;

export interface DockerNetwork extends Omit<InstanceAddresses, 'of'> {
  readonly name: string;
  /** The box's own address on it, where containers ask for names. */
  readonly gateway: string;
  /** The instance's address: the one that it has, or one that nobody has. */
  of(instance: string): InstanceNetwork;
}

/** The address of a container on the network, also of one that has ended. */
export function addressIn(network: string, { NetworkSettings }: ContainerFacts): string | undefined {
  const settings = NetworkSettings.Networks[network];
  return settings?.IPAMConfig?.IPv4Address || settings?.IPAddress || undefined;
}

/** `application` is `<project>.<application>`; without one the network that an earlier version made for all of a node. */
export function networkName({ fabricId, node }: EngineOwner, application?: string): string {
  const all = `selvedge-${fabricId.slice(0, 12)}-${node}`;
  return application === undefined ? all : `${all}-${application}`;
}

/** Throws ContainerNameTakenError for what is not this node's. */
export function readDockerNetwork(name: string, found: NetworkFacts, owner: EngineOwner): DockerNetwork {
  if (!ownsLabels(found.Labels, owner)) throw new ContainerNameTakenError('network', name);
  const subnet = parseRange(found.IPAM?.Config?.[0]?.Subnet ?? '');
  const serviceRange = found.Labels?.[labelsOf.services];
  if (subnet === undefined || serviceRange === undefined) throw new ContainerNameTakenError('network', name);
  return giveAddresses(name, subnet, serviceRange);
}

function giveAddresses(name: string, subnet: Ipv4Range, serviceRange: string): DockerNetwork {
  const addresses = createInstanceAddresses(subnet);
  return {
    ...addresses,
    name,
    gateway: gatewayOf(subnet),
    of: (instance) => ({ address: addresses.of(instance), serviceRange }),
  };
}

/** Makes a network in a part of the range (CIDR of at most 20 bits) that no route of this box overlaps. */
export async function makeDockerNetwork(
  docker: DockerClient,
  { owner, name, range: text }: { owner: EngineOwner; name: string; range: string },
): Promise<DockerNetwork> {
  const range = parseRange(text);
  if (range === undefined || range.prefix > partPrefix) throw new NoFreeRangeError(text);
  const routed = routedRanges(await readFile('/proc/net/route', 'utf8').catch(() => ''));
  const count = partsOf(range, partPrefix);
  const from = hashNumber([owner.fabricId, name]);
  let refused: unknown;
  for (let attempt = 0; attempt < count; attempt++) {
    const part = partOf(range, partPrefix, (from + attempt) % count);
    if (routed.some((other) => overlaps(other, part))) continue;
    const [bridge, services] = [partOf(part, halfPrefix, 0), partOf(part, halfPrefix, 1)];
    try {
      await docker.createNetwork({
        Name: name,
        Driver: 'bridge',
        Labels: { ...ownerLabels(owner), [labelsOf.services]: rangeText(services) },
        IPAM: { Driver: 'default', Config: [{ Subnet: rangeText(bridge), Gateway: gatewayOf(bridge) }] },
        Options: { 'com.docker.network.bridge.enable_icc': 'false' },
      });
      const made = await docker.network(name);
      if (made !== undefined) return readDockerNetwork(name, made, owner);
    } catch (error) {
      // Another network of this Docker has the part, also when it has no bridge at the moment.
      if (!(error instanceof DockerRefusedError)) throw error;
      refused = error;
    }
  }
  throw refused ?? new NoFreeRangeError(text);
}

// Where podman needs other words than Docker for the same thing. Called by docker-client.ts. Pure.

import type Dockerode from 'dockerode';

/** Podman's own API, on the same socket; its Docker API cannot make a network without a DNS server of podman's at its gateway. */
export const podmanNetworksPath = '/v4.0.0/libpod/networks/create';

export function isPodman(version: unknown): boolean {
  const { Components: components } = version as { Components?: { Name?: string }[] };
  return components?.some(({ Name }) => Name === 'Podman Engine') === true;
}

/** The port 53 at the gateway is this node's; `isolate` keeps other such networks away where netavark makes rules for it. */
export function podmanNetwork({ Name, Driver, Labels, IPAM }: Dockerode.NetworkCreateOptions): object {
  return {
    name: Name,
    driver: Driver,
    labels: Labels,
    dns_enabled: false,
    subnets: IPAM?.Config?.map(({ Subnet, Gateway }) => ({ subnet: Subnet, gateway: Gateway })),
    options: { isolate: 'true' },
  };
}

/** Locally administered, and one for each address, as Docker makes them. */
const hardwareAddress = (address: string): string =>
  ['02', '42', ...address.split('.').map((part) => Number(part).toString(16).padStart(2, '0'))].join(':');

/**
 * Netavark makes up a hardware address at each start and announces none: for up to a minute this box and other containers then send what is
 * for the next container at the same address to the one that is gone.
 */
export function podmanContainer(options: Dockerode.ContainerCreateOptions): Dockerode.ContainerCreateOptions {
  const endpoints = Object.entries(options.NetworkingConfig?.EndpointsConfig ?? {}).map(([network, endpoint]) => {
    const address = endpoint.IPAMConfig?.IPv4Address;
    return [network, address === undefined ? endpoint : { ...endpoint, MacAddress: hardwareAddress(address) }] as const;
  });
  if (endpoints.length === 0) return options;
  return { ...options, NetworkingConfig: { EndpointsConfig: Object.fromEntries(endpoints) } };
}

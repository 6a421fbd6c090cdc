// Has this box a way out of its own network. None is needed on an isolated LAN; images and remote sites need one.

import { readFile } from 'node:fs/promises';
import { type Finding, ok, warn } from './finding.ts';

const id = 'default-route';

/** Interfaces with a default route, from the text of /proc/net/route and /proc/net/ipv6_route. */
export function defaultRoutes(ipv4: string, ipv6: string): string[] {
  const rejects = 0x0200;
  const four = ipv4
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/));
  const six = ipv6.split('\n').map((line) => line.trim().split(/\s+/));
  return [
    ...new Set([
      ...four.filter((row) => row[1] === '00000000' && row[7] === '00000000').map((row) => row[0] ?? ''),
      ...six
        .filter(
          (row) =>
            /^0{32}$/.test(row[0] ?? '') && row[1] === '00' && (Number.parseInt(row[8] ?? '0', 16) & rejects) === 0,
        )
        .map((row) => row[9] ?? '')
        .filter((name) => name !== 'lo'),
    ]),
  ];
}

export async function checkDefaultRoute(): Promise<Finding> {
  const read = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');
  const routes = defaultRoutes(await read('/proc/net/route'), await read('/proc/net/ipv6_route'));
  if (routes.length > 0) return ok(id, `by ${routes.join(', ')}`);
  return warn(
    id,
    'there is none: this box reaches its own network alone',
    'Nothing, on an isolated LAN. To pull images or join a remote site: ip route add default via GATEWAY.',
  );
}

// Which service a request is for, and which paths are taken at all. Pure; called by gateway-http.ts. What two programs could read in two
// ways is refused: a path that is published must not lead to one that is not.

import type { GatewayMatch } from '../control/gateway.ts';

/** The host of a Host header, without port, in lower case; undefined for what is none (RFC 9110, section 7.2). */
export function hostOf(header: string): string | undefined {
  const [, host = '', address] = /^(?:([a-z0-9._-]{1,253})|\[([0-9a-f:.]{2,45})\])(?::\d{1,5})?$/i.exec(header) ?? [];
  const name = (address ?? host).toLowerCase();
  return name === '' ? undefined : name.replace(/\.$/, '');
}

/** The path of an origin-form target (RFC 9112, section 3.2.1), without query; undefined for any other target, and for doubtful ones. */
export function pathOf(target: string): string | undefined {
  const [path = ''] = target.split('?');
  if (!path.startsWith('/') || /[^\x21-\x7e]|[\\#]/.test(target)) return undefined;
  let decoded = path;
  // Twice, since some programs do.
  for (let turn = 0; turn < 2; turn += 1) {
    decoded = decoded.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
    const parts = decoded.split(/[/\\]/).map((part) => part.split(';')[0]);
    if (parts.some((part) => part === '.' || part === '..') || decoded.includes('\0')) return undefined;
  }
  return path;
}

const isBelow = (path: string, prefix: string): boolean =>
  prefix === '' || prefix === '/' || path === prefix || path.startsWith(`${prefix}/`);

/** The most exact host first, then the longest path. */
export function routeFor<R extends GatewayMatch>(routes: readonly R[], host: string, path: string): R | undefined {
  const matching = routes.filter(
    (route) => (route.host === undefined || route.host === host) && isBelow(path, route.path ?? ''),
  );
  const rank = (route: R): number => (route.host === undefined ? 0 : 1_000_000) + (route.path ?? '').length;
  return matching.reduce<R | undefined>(
    (best, route) => (best === undefined || rank(route) > rank(best) ? route : best),
    undefined,
  );
}

// Header fields on their way through a gateway. Pure; called by gateway-http.ts. What concerns one connection goes no further (RFC 9110,
// section 7.6.1), and nobody outside says where he comes from.

const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  // The gateway has said 100 itself.
  'expect',
]);
const saidByGateway = /^(?:forwarded|x-forwarded-.*|x-real-ip)$/;

/** Name and value, of rawHeaders of node:http. */
export function rawPairs(raw: readonly string[]): [name: string, value: string][] {
  return Array.from({ length: Math.floor(raw.length / 2) }, (_, index) => [
    raw[2 * index] ?? '',
    raw[2 * index + 1] ?? '',
  ]);
}

/** Those that are for the other end, again as rawHeaders. */
export function endToEnd(raw: readonly string[], { withoutToken = false }: { withoutToken?: boolean } = {}): string[] {
  const pairs = rawPairs(raw);
  const named = new Set(
    pairs.flatMap(([name, value]) =>
      name.toLowerCase() === 'connection' ? value.split(',').map((one) => one.trim().toLowerCase()) : [],
    ),
  );
  // A client cannot have them taken away from its own request: they are what it is judged and framed by.
  for (const kept of ['host', 'content-length', 'authorization', 'cookie']) named.delete(kept);
  return pairs
    .filter(([name]) => {
      const lower = name.toLowerCase();
      if (hopByHop.has(lower) || named.has(lower) || saidByGateway.test(lower)) return false;
      return !(withoutToken && lower === 'authorization');
    })
    .flat();
}

export function forwarded({ address, protocol, host }: { address: string; protocol: string; host: string }): string[] {
  return ['X-Forwarded-For', address, 'X-Forwarded-Proto', protocol, 'X-Forwarded-Host', host];
}

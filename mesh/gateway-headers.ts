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
/**
 * Where a request comes from and what it asks for, as programs behind proxies take it: what the gateway says itself, what others say in its
 * place, a path beside the path (X-Original-URL, X-Rewrite-URL), and what CGI reads as the variable HTTP_PROXY.
 */
const notOfClients = new RegExp(
  `^(?:${[
    ...[
      'forwarded',
      'x-forwarded',
      'x-forwarded-.*',
      'proxy',
      'x-rewrite-url',
      'x-original-(?:url|uri|host|method|forwarded-for)',
    ],
    ...['x-real-ip', 'x-client-ip', 'x-cluster-client-ip', 'true-client-ip', 'cf-connecting-ip', 'fastly-client-ip'],
  ].join('|')})$`,
);
/** CGI, and what came after it, reads both as one. */
const spelled = (name: string): string => name.toLowerCase().replaceAll('_', '-');

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
      name.toLowerCase() === 'connection' ? value.split(',').map((one) => spelled(one.trim())) : [],
    ),
  );
  // A client cannot have them taken away from its own request: they are what it is judged and framed by.
  for (const kept of ['host', 'content-length', 'authorization', 'cookie']) named.delete(kept);
  return pairs
    .filter(([name]) => {
      const lower = spelled(name);
      if (hopByHop.has(lower) || named.has(lower) || notOfClients.test(lower)) return false;
      return !(withoutToken && lower === 'authorization');
    })
    .flat();
}

export function forwarded({ address, protocol, host }: { address: string; protocol: string; host: string }): string[] {
  return ['X-Forwarded-For', address, 'X-Forwarded-Proto', protocol, 'X-Forwarded-Host', host];
}

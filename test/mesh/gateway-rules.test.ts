// Whom grants let in, which route a request takes, and which header fields go on: as tables.

import test from 'ava';
import { compileGrants, type Presented, plainAddress, tokenHash } from '../../mesh/gateway-grants.ts';
import { endToEnd, forwarded } from '../../mesh/gateway-headers.ts';
import { hostOf, pathOf, routeFor } from '../../mesh/gateway-routes.ts';

const hex = (token: string): string => Buffer.from(tokenHash(token)).toString('hex');
const from = (address: string, token?: string): Presented => ({
  ...{ address, certificates: [], chained: false },
  tokenSha256: token === undefined ? undefined : tokenHash(token),
});

test('a grant lets in who meets all that it says, until its time is over', (t) => {
  const { judge, mayCome, wantsCertificates } = compileGrants([
    { name: 'office', cidrs: ['10.0.0.0/8', '2001:db8::/32'] },
    { name: 'ci', cidrs: ['192.0.2.0/24'], tokenSha256: hex('secret'), until: 1_000 },
    { name: 'partner', cidrs: ['198.51.100.7'], certificate: { sha256: '0'.repeat(64) } },
  ]);
  t.true(wantsCertificates);
  t.deepEqual(judge(from('10.1.2.3'), 0), { grant: 'office', byToken: false });
  t.deepEqual(judge(from('::ffff:10.1.2.3'), 0), { grant: 'office', byToken: false });
  t.deepEqual(judge(from('2001:db8::1'), 0), { grant: 'office', byToken: false });
  t.deepEqual(judge(from('192.0.2.9'), 0), { lacks: 'token' });
  t.deepEqual(judge(from('192.0.2.9', 'other'), 0), { lacks: 'token' });
  t.deepEqual(judge(from('192.0.2.9', 'secret'), 999), { grant: 'ci', byToken: true });
  t.deepEqual(judge(from('192.0.2.9', 'secret'), 1_000), { lacks: 'address' });
  t.deepEqual(judge(from('203.0.113.1', 'secret'), 0), { lacks: 'address' });
  t.deepEqual(judge(from('198.51.100.7'), 0), { lacks: 'certificate' });
  t.deepEqual(
    ['10.0.0.1', '192.0.2.1', '203.0.113.1', '', 'nonsense'].map((address) => mayCome(address, 0)),
    [true, true, false, false, false],
  );
  t.false(mayCome('192.0.2.1', 1_000));
  t.deepEqual(compileGrants([]).judge(from('10.0.0.1', 'secret'), 0), { lacks: 'address' });
  t.is(plainAddress('FE80::1%eth0'), 'fe80::1');
});

test('everybody is IPv4 and IPv6 apart', (t) => {
  const { mayCome } = compileGrants([{ name: 'all', cidrs: ['0.0.0.0/0'] }]);
  t.true(mayCome('203.0.113.1', 0));
  t.true(mayCome('::ffff:203.0.113.1', 0));
  t.false(mayCome('2001:db8::1', 0));
});

test('the most exact host wins, then the longest path, by whole segments', (t) => {
  const routes = ['/', 'a.test', 'a.test/api', '/api', '/api/v2'].map((text) => {
    const at = text.indexOf('/');
    const [host, path] = at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at)];
    return { text, ...(host !== '' && { host }), ...(path !== '' && { path }) };
  });
  const cases: [string, string, string][] = [
    ['b.test', '/', '/'],
    ['b.test', '/api', '/api'],
    ['b.test', '/apis', '/'],
    ['b.test', '/api/v2/x', '/api/v2'],
    ['a.test', '/api/v2', 'a.test/api'],
    ['a.test', '/', 'a.test'],
  ];
  for (const [host, path, wanted] of cases) t.is(routeFor(routes, host, path)?.text, wanted, `${host}${path}`);
  t.is(routeFor(routes.slice(1, 3), 'b.test', '/'), undefined);
});

test('hosts and paths that are none are not taken', (t) => {
  t.deepEqual(
    ['Shop.Test:8443', 'shop.test.', '[::1]:80', '192.0.2.1', 'a b', '', 'a:b', 'a/b', 'a@b', 'a,b'].map(hostOf),
    ['shop.test', 'shop.test', '::1', '192.0.2.1', ...Array.from({ length: 6 }, () => undefined)],
  );
  t.deepEqual(['/', '/a/b?c=/../d', '/a%20b', '/...', '/.well-known/x'].map(pathOf), [
    '/',
    '/a/b',
    '/a%20b',
    '/...',
    '/.well-known/x',
  ]);
  for (const target of [
    '',
    '*',
    'a',
    'http://a/',
    '/a/..',
    '/./a',
    '/a%2e%2e/..',
    '/%2e',
    '/a%00',
    '/a\\..',
    '/a#b',
    '/a b',
    '/é',
    '/a%5c%2e%2e/b',
  ])
    t.is(pathOf(target), undefined, target);
});

test('what concerns one connection, and who one comes from, is not taken from outside', (t) => {
  const raw = [
    ...['Host', 'a', 'Connection', 'close, X-Mine, Cookie', 'X-Mine', '1', 'Cookie', 'c=1', 'Cookie', 'd=2'],
    ...[
      'Keep-Alive',
      '1',
      'TE',
      'trailers',
      'Transfer-Encoding',
      'chunked',
      'Upgrade',
      'h2c',
      'Proxy-Authorization',
      'x',
    ],
    ...['X-Forwarded-For', '192.0.2.1', 'x-forwarded-client-cert', 'x', 'Forwarded', 'for=x', 'X-Real-IP', 'x'],
    ...['Authorization', 'Bearer x', 'Accept', '*/*'],
  ];
  const kept = ['Host', 'a', 'Cookie', 'c=1', 'Cookie', 'd=2'];
  t.deepEqual(endToEnd(raw), [...kept, 'Authorization', 'Bearer x', 'Accept', '*/*']);
  t.deepEqual(endToEnd(raw, { withoutToken: true }), [...kept, 'Accept', '*/*']);
  t.deepEqual(forwarded({ address: '192.0.2.1', protocol: 'https', host: 'a' }).slice(0, 2), [
    'X-Forwarded-For',
    '192.0.2.1',
  ]);
});

// The rules of networks of programs, in the packet filter of a namespace of the test's own: by iptables and by nft.

import { execFileSync } from 'node:child_process';
import test from 'ava';
import { findPacketFilter, type PacketFilter } from '../../node-runtime/packet-filter.ts';
import {
  type FilterFacts,
  iptablesForwards,
  iptablesRemoval,
  iptablesText,
  iptablesWhole,
  nftText,
} from '../../node-runtime/packet-filter-rules.ts';
import { findCommand } from '../../node-runtime/process-tools.ts';
import { createNamespaces, packetFiltersMissing } from '../mesh/namespaces.ts';
import { skip } from '../skip.ts';

const facts: FilterFacts = {
  tag: 'ab12',
  links: 'sv-ab12',
  instances: '198.18.8.0/22',
  services: '198.18.12.0/22',
  gateway: '198.18.8.1',
  apart: ['198.18.0.0/15'],
  published: [
    { address: undefined, port: 8080, protocol: 'tcp' },
    { address: '10.9.0.1', port: 8443, protocol: 'udp' },
  ],
  guard: true,
};

const programs = { iptables: ['iptables-restore', 'iptables-save'], nft: ['nft'] };

for (const [name, own] of Object.entries(programs)) {
  test(`${name}: rules are made, found missing, made again, and removed without a trace`, async (t) => {
    const missing = packetFiltersMissing();
    if (missing !== undefined) return skip(t, missing);
    const box = createNamespaces(t).box();
    const inside = ['ip', 'netns', 'exec', box];
    const run = (...words: string[]): string =>
      execFileSync('ip', ['netns', 'exec', box, ...words], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
        // A package of npm's has a command nft, too, which is first in the PATH of its scripts.
        env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
      });
    const all = (): string => `${run('iptables-save')}${run('nft', 'list', 'ruleset')}`;
    const found = await findPacketFilter({
      find: async (program) => (own.includes(program) ? findCommand(program) : undefined),
      alone: ['unshare', '--net', '--'],
      inside,
    });
    const filter = found as PacketFilter;
    t.is(filter.name, name as 'iptables' | 'nft', 'reason' in found ? found.reason : '');

    t.false(await filter.isWhole(facts));
    t.false(await filter.isGuarded());
    await filter.install(facts);
    await filter.install(facts);
    t.true(await filter.isWhole(facts));
    const guarded = [await filter.isGuarded(), await filter.isGuarded('ab12'), await filter.isGuarded('0000')];
    t.deepEqual(guarded, [true, true, false]);
    t.deepEqual([...(await filter.gateways())], [['ab12', '198.18.8.1']]);
    t.false(await filter.othersForward('ab12'));

    // Another node of the box, and somebody else's rule.
    const other = { ...facts, tag: 'cd34', links: 'sv-cd34', gateway: '198.18.16.1', guard: false };
    await filter.install(other);
    t.true(await filter.othersForward('ab12'));
    run('iptables', '-A', 'FORWARD', '-s', '192.0.2.1', '-j', 'DROP');
    if (name === 'nft') run('nft', 'flush', 'chain', 'ip', 'selvedge_ab12', 'inside');
    else run('iptables', '-D', 'FORWARD', '-o', 'sv-ab12+', '-j', 'SELVEDGE-ab12-FWD');
    t.false(await filter.isWhole(facts));
    await filter.install(facts);
    t.true(await filter.isWhole(facts));
    t.true(await filter.isWhole(other));

    await filter.remove('ab12');
    await filter.remove('ab12');
    t.notRegex(all(), /ab12/);
    t.true(await filter.isWhole(other));
    await filter.remove('cd34');
    t.notRegex(all(), /selvedge|sv-/i);
    t.regex(run('iptables-save'), /-A FORWARD -s 192\.0\.2\.1\/32 -j DROP/);
  });
}

test('a program that has the name of a packet filter and is none is not taken for one', async (t) => {
  const found = await findPacketFilter({ find: async () => '/bin/true', alone: [] });
  t.deepEqual(found, { reason: 'this box has no iptables, no nft' });
});

test('iptables: only what is missing is added, before all others but the guard, which comes last', (t) => {
  const saved = '*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -i sv-ab12+ -j SELVEDGE-ab12-IN\nCOMMIT\n';
  const text = iptablesText(facts, { listeners: true }, saved);
  t.notRegex(text, /-I INPUT/);
  t.regex(text, /^-I FORWARD -i sv-ab12\+ -j SELVEDGE-ab12-FWD$/m);
  t.regex(text, /^-A FORWARD -j SELVEDGE-ab12-GUARD$/m);
  t.regex(text, /-d 198\.18\.12\.0\/22 -m socket -j ACCEPT/);
  t.notRegex(iptablesText(facts, { listeners: false }, ''), /-m socket/);
  t.notRegex(iptablesText({ ...facts, guard: false }, { listeners: true }, ''), /GUARD/);
  t.false(iptablesWhole(facts, { listeners: true }, ''));
});

test('iptables: the guard is put last again when somebody came after it, but for the guard of another node', (t) => {
  const jumps = ['-A FORWARD -i sv-ab12+ -j SELVEDGE-ab12-FWD', '-A FORWARD -o sv-ab12+ -j SELVEDGE-ab12-FWD'];
  const savedWith = (...rules: string[]) =>
    ['*filter', ...jumps, '-A FORWARD -j SELVEDGE-ab12-GUARD', ...rules].join('\n');
  const moved = /^-D FORWARD -j SELVEDGE-ab12-GUARD\n-A FORWARD -j SELVEDGE-ab12-GUARD$/m;
  const textWith = (...rules: string[]) => iptablesText(facts, { listeners: true }, savedWith(...rules));
  t.regex(textWith('-A FORWARD -s 10.42.0.0/16 -j ACCEPT'), moved);
  t.notRegex(textWith('-A FORWARD -j SELVEDGE-cd34-GUARD'), moved);
  t.notRegex(textWith(), moved);
});

test('iptables: what gateways publish is accepted, and bridges of other engines are left to their rules', (t) => {
  const text = iptablesText(facts, { listeners: true }, '');
  t.regex(text, /^-A SELVEDGE-ab12-IN -p tcp --dport 8080 -j ACCEPT$/m);
  t.regex(text, /^-A SELVEDGE-ab12-IN -d 10\.9\.0\.1\/32 -p udp --dport 8443 -j ACCEPT$/m);
  t.regex(
    text,
    /^-A SELVEDGE-ab12-FWD -i sv-ab12\+ -o docker0 -j RETURN\n[\s\S]*^-A SELVEDGE-ab12-FWD -i sv-ab12\+ -j ACCEPT$/m,
  );
});

test('a guard is in the way of no node’s programs', (t) => {
  const text = iptablesText(facts, { listeners: true }, '');
  t.regex(text, /^-A SELVEDGE-ab12-GUARD -i sv-\+ -j RETURN\n-A SELVEDGE-ab12-GUARD -j DROP$/m);
  t.regex(nftText(facts, { listeners: true }), /policy drop;\s+iifname "sv-\*" accept\s+oifname "sv-\*" accept\s+}/);
});

test('iptables: nothing is removed but what has the name of the node', (t) => {
  const saved = [
    '*filter',
    ':FORWARD ACCEPT [0:0]',
    ':SELVEDGE-ab12-FWD - [0:0]',
    ':SELVEDGE-cd34-FWD - [0:0]',
    '-A FORWARD -i sv-ab12+ -j SELVEDGE-ab12-FWD',
    '-A FORWARD -i sv-cd34+ -j SELVEDGE-cd34-FWD',
    '-A SELVEDGE-ab12-FWD -i sv-ab12+ -j ACCEPT',
    'COMMIT',
  ].join('\n');
  t.deepEqual(iptablesRemoval('ab12', saved)?.trim().split('\n'), [
    '*filter',
    '-D FORWARD -i sv-ab12+ -j SELVEDGE-ab12-FWD',
    '-F SELVEDGE-ab12-FWD',
    '-X SELVEDGE-ab12-FWD',
    'COMMIT',
  ]);
  t.is(iptablesRemoval('0000', saved), undefined);
  t.true(iptablesForwards('ab12', saved));
  t.false(iptablesForwards('ab12', saved.replaceAll('cd34', 'ab12')));
});

// What the checks of the doctor judge, as tables: from what is found to what is said.

import test from 'ava';
import { judgeCertificate } from '../../node-runtime/doctor/certificates.ts';
import { judgeClock } from '../../node-runtime/doctor/clock-check.ts';
import { defaultRoutes } from '../../node-runtime/doctor/default-route.ts';
import { judgeFileLimit } from '../../node-runtime/doctor/descriptors.ts';
import { judgeSpace } from '../../node-runtime/doctor/disk-space.ts';
import { judgeFsync } from '../../node-runtime/doctor/disk-speed.ts';
import type { DoctorInput, Finding } from '../../node-runtime/doctor/finding.ts';
import { judgeNames } from '../../node-runtime/doctor/names.ts';
import { checkControllers, checkDaemon, checkLinks } from '../../node-runtime/doctor/neighbours.ts';
import { judgeNetworks } from '../../node-runtime/doctor/networks.ts';
import { judgeNodeVersion } from '../../node-runtime/doctor/node-version.ts';
import { checkPolicy } from '../../node-runtime/doctor/policy-check.ts';
import { judgeSecrets } from '../../node-runtime/doctor/secrets.ts';
import { lockHolder } from '../../node-runtime/doctor/store-check.ts';
import type { PacketFilter } from '../../node-runtime/packet-filter.ts';
import { policyRefusal } from '../../node-runtime/policy.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { instanceView, nodeView, statusView } from '../control/cli-harness.ts';

const dayMs = 86_400_000;
const nowMs = Date.UTC(2027, 3, 1);
const GB = 1e9;

const said = ({ outcome, message }: Finding): string => `${outcome}: ${message}`;

test('the clock is held against what the node has lived to see', (t) => {
  const cases: [number, number, boolean | undefined, RegExp][] = [
    [nowMs, nowMs - dayMs, true, /^ok: .*synchronised$/],
    [nowMs, 0, undefined, /^ok: .*not known$/],
    [nowMs, 0, false, /^warn: .*nothing keeps it right/],
    [nowMs, nowMs + 60_000, true, /^ok/],
    [nowMs, nowMs + dayMs, true, /^fail: .*2027-04-01.*was running at 2027-04-02/],
    [0, 0, undefined, /^fail: the clock says 1970-01-01 00:00:00 UTC: it was never set/],
  ];
  for (const [now, seenMs, synchronized, expected] of cases)
    t.regex(said(judgeClock({ nowMs: now, seenMs, synchronized })), expected);
});

test('certificates are judged by what is left of them', (t) => {
  const judge = (fromDays: number, toDays: number): string =>
    said(
      judgeCertificate({
        ...{ id: 'x', what: 'it', nowMs, warnMs: 7 * dayMs, action: 'renew' },
        notBeforeMs: nowMs + fromDays * dayMs,
        notAfterMs: nowMs + toDays * dayMs,
      }),
    );
  t.is(judge(-1, 29), 'ok: it is valid until 2027-04-30 (29 days)');
  t.is(judge(-25, 5), 'warn: it is valid until 2027-04-06 (5 days)');
  t.is(judge(-31, -1), 'fail: it expired on 2027-03-31');
  t.is(judge(1, 31), 'fail: it is valid from 2027-04-02 on, by this clock');
});

test('open files are judged by their limit', (t) => {
  const judge = (open: number | undefined, soft: number, hard: number, instances = 0): string =>
    said(judgeFileLimit({ open, soft, hard, instances }));
  t.is(judge(undefined, 1024, 524_288), 'ok: 524288 may be open');
  t.regex(judge(undefined, 1024, 1024), /^warn: 1024 may be open: too few/);
  t.is(judge(60, 524_288, 524_288), 'ok: 60 of 524288 are in use by the daemon');
  t.is(judge(60, 600, 600, 20), 'warn: 60 of 600 are in use by the daemon: it wants 672 for itself and 20 instances');
  t.regex(judge(undefined, 256, 256), /^warn: 256 may be open: it wants 512 for itself and 0 instances$/);
  t.regex(judge(9_500, 10_000, 10_000), /^warn: 9500 of 10000 are in use/);
});

test('the disk is judged by the middle of its fsyncs', (t) => {
  t.is(said(judgeFsync([900, 4.04, 5])), 'ok: fsync of a small file takes 5.0 ms');
  t.regex(said(judgeFsync([300, 400, 1])), /^warn: fsync of a small file takes 300 ms: starts/);
  t.regex(said(judgeFsync([9_000, 8_000, 1])), /^fail: fsync of a small file takes 8000 ms/);
});

test('space is judged in bytes and in inodes', (t) => {
  t.is(judgeSpace({ bytesFree: 50 * GB, inodesFree: 900, inodes: 1000 }).outcome, 'ok');
  t.is(judgeSpace({ bytesFree: 0.5 * GB, inodesFree: 900, inodes: 1000 }).outcome, 'warn');
  t.is(judgeSpace({ bytesFree: 0.01 * GB, inodesFree: 900, inodes: 1000 }).outcome, 'fail');
  t.is(judgeSpace({ bytesFree: 50 * GB, inodesFree: 1, inodes: 1000 }).outcome, 'warn');
  t.is(judgeSpace({ bytesFree: 50 * GB, inodesFree: 0, inodes: 0 }).outcome, 'ok', 'no table of inodes');
});

test('default routes are read from both of the kernel’s tables', (t) => {
  const head = 'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n';
  const lan = 'eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n';
  const out = 'eth1\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n';
  const zeros = '0'.repeat(32);
  const six = `${zeros} 00 ${zeros} 00 ${zeros} 00000400 00000001 00000000 00000003 wlan0\n`;
  const unreachable = `${zeros} 00 ${zeros} 00 ${zeros} ffffffff 00000001 00000000 00200200       lo\n`;
  t.deepEqual(defaultRoutes(head + lan, unreachable), []);
  t.deepEqual(defaultRoutes(head + lan + out, unreachable), ['eth1']);
  t.deepEqual(defaultRoutes(head + lan, six + unreachable), ['wlan0']);
  t.deepEqual(defaultRoutes('', ''), []);
});

test('secrets in memory are well, secrets on the disk are said to be there', (t) => {
  t.regex(said(judgeSecrets('/run/selvedge')), /^ok: .*in memory, below \/run\/selvedge/);
  t.regex(said(judgeSecrets(undefined)), /^warn: .*on the disk/);
});

test('networks of programs: their own, their own with a gap, shared by an ordinary user, shared for a reason', (t) => {
  const filter = (listeners: boolean) => ({ filter: { name: 'nft', listeners } as PacketFilter });
  t.regex(said(judgeNetworks(filter(true), true)), /^ok: each program has a network of its own, filtered by nft/);
  t.regex(said(judgeNetworks(filter(false), true)), /^warn: .*at all of its addresses/);
  t.regex(said(judgeNetworks(filter(true), true, 'silence')), /^warn: programs share .*another packet filter/);
  t.regex(said(judgeNetworks({ reason: 'it is no root' }, false)), /^ok: programs share .*not run as root/);
  t.regex(said(judgeNetworks({ reason: 'this box has no ip' }, true)), /^warn: programs share .*this box has no ip$/);
});

test('the three ways to names are told apart', (t) => {
  t.regex(said(judgeNames('mount', '')), /^ok: .*mount namespace.*not separate/);
  t.regex(said(judgeNames('user', 'not root')), /^ok: .*user namespace.*below 1024 are refused.*not separate/);
  t.regex(said(judgeNames('none', 'the kernel refuses')), /^warn: .*environment variables alone: the kernel refuses/);
});

test('odd versions of Node.js are not for boxes', (t) => {
  t.is(judgeNodeVersion('24.1.0').outcome, 'ok');
  t.is(judgeNodeVersion('25.1.0').outcome, 'warn');
});

test('the holder of a lock is found by the inode', (t) => {
  const locks =
    '1: POSIX  ADVISORY  WRITE 812 fd:00:4711 0 EOF\n2: FLOCK  ADVISORY  WRITE 813 fd:00:4712 0 EOF\n3: POSIX  ADVISORY  READ 814 fd:00:4713 0 EOF\n';
  t.deepEqual(
    [4711, 4712, 4713, 11].map((inode) => lockHolder(locks, inode)),
    [812, undefined, undefined, undefined],
  );
});

test('neighbours are what the daemon says they are', async (t) => {
  const input = (more: Partial<DoctorInput>): DoctorInput => ({
    ...{ dataFolder: '/nowhere', clock: createSystemClock(), daemon: { kind: 'down' }, own: undefined },
    ...more,
  });
  const answers = (status: ReturnType<typeof statusView>): DoctorInput =>
    input({ daemon: { kind: 'answers', status } });
  const alone = nodeView({ name: 'control', controller: true });
  const link = { node: 'edge-1', peerId: 'p', kind: 'direct' as const, router: 'edge' as const };
  t.is(checkLinks(answers(statusView({ nodes: [alone] }))).outcome, 'ok', 'the only node');
  t.is(checkLinks(answers(statusView({ nodes: [alone, nodeView()] }))).outcome, 'warn');
  const linked = { ...alone, links: [link] } as unknown as typeof alone;
  t.is(said(checkLinks(answers(statusView({ nodes: [linked, nodeView()] })))), 'ok: 1: edge-1');
  t.is(checkDaemon(input({})).outcome, 'warn');
  t.is(checkDaemon(input({ daemon: { kind: 'silent', reason: 'hangs' } })).outcome, 'fail');
  t.is(said(checkDaemon(answers(statusView()))), 'ok: it runs, as control');
  t.is((await checkControllers(input({}))).outcome, 'ok', 'no fabric, no controller');
});

test('what the policy of the node refuses is named, with the option that would allow it', (t) => {
  const strict = { allow: [], images: ['registry.example/*'], processUser: 'app' };
  const image = (name: string) => policyRefusal({ engine: 'docker', image: name }, strict) ?? '';
  const user = policyRefusal({ engine: 'process', command: ['run'], user: 'root' }, strict) ?? '';
  const check = (...reasons: string[]): Finding => {
    const instances = reasons.map((reason, index) => instanceView({ name: `default.shop.web.${index}`, reason }));
    const status = statusView({ nodes: [nodeView({ name: 'control', instances }), nodeView({ name: 'other' })] });
    return checkPolicy({
      ...{ dataFolder: '/nowhere', clock: createSystemClock(), own: undefined },
      daemon: { kind: 'answers', status: { ...status, node: 'control' } },
    });
  };
  t.is(said(check('', 'waiting for db to be ready')), 'ok: nothing that is planned here is refused');
  const found = check(image('evil.example/web:1'), '');
  t.is(
    said(found),
    'warn: default.shop.web.0: this node does not allow the image evil.example/web:1, only registry.example/*; `selvedge up` on it with an --allow-image for each of these and for that one would',
  );
  t.regex(found.action, /start the daemon of this node with the option/);
  t.regex(said(check('', user)), /^warn: default\.shop\.web\.1: this node runs programs as app.*--allow users/);
  t.regex(said(check(...Array.from({ length: 9 }, () => user))), /; 5 more$/);
  const down = {
    dataFolder: '/nowhere',
    clock: createSystemClock(),
    daemon: { kind: 'down' },
    own: undefined,
  } as const;
  t.is(checkPolicy(down).outcome, 'ok');
});

// The pure parts of the docker engine: a launch as a container, how one ended, ranges, frames of a log.

import test from 'ava';
import type { DockerOptions } from '../../control/plan.ts';
import type { ContainerFacts } from '../../node-runtime/docker-client.ts';
import { dockerSocket } from '../../node-runtime/docker-client.ts';
import { containerOptions, exitOf, standingOf } from '../../node-runtime/docker-container.ts';
import { createFrameReader } from '../../node-runtime/docker-log.ts';
import { createPullMeter } from '../../node-runtime/docker-pulls.ts';
import { LaunchRefusedError } from '../../node-runtime/errors.ts';
import { overlaps, parseRange, partOf, partsOf, rangeText, routedRanges } from '../../node-runtime/ipv4-range.ts';
import { launchOf } from '../conformance/engine.ts';

const owner = { fabricId: 'f'.repeat(52), node: 'box' };
const place = {
  ...{ owner, network: 'net', address: '198.18.0.9', imageId: 'sha256:1', init: true },
  ...{ filesFolder: '/data/files', secretsFolder: undefined, hostsFile: undefined, resolvers: ['198.18.0.1'] },
};

function container(spec: { command?: string[]; args?: string[] } & DockerOptions, changes = {}) {
  const { spec: process, ...launch } = launchOf(['unused']);
  const { command: _, ...common } = process;
  return containerOptions(
    { ...launch, spec: { ...common, engine: 'docker', image: 'web', ...spec } },
    { ...place, ...changes },
  );
}

test('command stands for the entrypoint, args for the command, and neither is the image’s own', (t) => {
  t.deepEqual([container({}).Entrypoint, container({}).Cmd], [undefined, undefined]);
  const both = container({ command: ['/web'], args: ['-v'] });
  t.deepEqual([both.Entrypoint, both.Cmd], [['/web'], ['-v']]);
  const command = container({ command: ['/web'] });
  t.deepEqual([command.Entrypoint, command.Cmd], [['/web'], []]);
  const args = container({ args: ['-v'] });
  t.deepEqual([args.Entrypoint, args.Cmd], [undefined, ['-v']]);
});

test('the same launch makes the same container, another image or address another one', (t) => {
  const made = (changes = {}) => container({}, changes).Labels?.['io.selvedge.launch'];
  t.is(made(), made());
  t.is(
    new Set([made(), made({ imageId: 'sha256:2' }), made({ address: '198.18.0.10' }), made({ init: false })]).size,
    4,
  );
  t.is(made({ resolvers: ['198.18.0.1', '192.0.2.53'] }), made(), 'a box that moves keeps its containers');
});

test('a privileged container is confined by nothing, which takes a start on a box that has all rights itself', (t) => {
  const { Privileged, CapDrop, SecurityOpt } = container({ privileged: true }).HostConfig ?? {};
  t.deepEqual([Privileged, CapDrop, SecurityOpt], [true, undefined, undefined]);
  const plain = container({ privileged: false }).HostConfig ?? {};
  t.deepEqual([plain.Privileged, plain.CapDrop, plain.SecurityOpt], [undefined, ['NET_RAW'], ['no-new-privileges']]);
});

test('the specification of another engine is refused', (t) => {
  t.throws(() => containerOptions(launchOf(['run']), place), { instanceOf: LaunchRefusedError });
});

const ended = (ExitCode: number, more: Partial<ContainerFacts['State']> = {}) =>
  ({
    Created: '2026-01-01T00:00:00Z',
    State: {
      ...{ Status: 'exited', Running: false, Restarting: false, Paused: false, OOMKilled: false, Error: '', ExitCode },
      ...{ StartedAt: '2026-01-01T00:00:01.123456789Z', FinishedAt: '2026-01-01T00:00:02Z', ...more },
    },
  }) as ContainerFacts;

test('a status above 128 is a signal only when that run was sent it, or memory ran out', (t) => {
  const asked = { startedAt: '2026-01-01T00:00:01.123456789Z', signals: ['SIGTERM'] };
  t.is(exitOf(ended(143), undefined).status, 143);
  t.is(exitOf(ended(143), asked).signal, 'SIGTERM');
  t.is(exitOf(ended(143), { ...asked, startedAt: 'another run' }).status, 143);
  t.is(exitOf(ended(0), asked).status, 0);
  t.is(exitOf(ended(137), asked).status, 137);
  t.is(exitOf(ended(137, { OOMKilled: true }), undefined).signal, 'SIGKILL');
});

test('a container that could not start has ended, one that nobody started is not there yet', (t) => {
  t.is(standingOf(ended(0, { Status: 'created' })), 'created');
  t.is(standingOf(ended(127, { Status: 'created', Error: 'no such file' })), 'ended');
  t.is(standingOf(ended(0, { Running: true })), 'running');
});

test('how far a pull is: the sum of its layers, as far as their sizes are known', (t) => {
  const meter = createPullMeter('web:1');
  const take = (id: string, status: string, current?: number, total?: number) =>
    meter.take({
      id,
      status,
      ...(current !== undefined && { progressDetail: { current, ...(total !== undefined && { total }) } }),
    });
  t.is(meter.text(), 'pulling web:1');
  meter.take({ status: 'Pulling from web' });
  take('a', 'Pulling fs layer');
  take('b', 'Pulling fs layer');
  t.is(meter.text(), 'pulling web:1');
  take('a', 'Downloading', 500_000, 1_000_000);
  t.is(meter.text(), 'pulling web:1: 50 % of 1.0 MB');
  take('b', 'Downloading', 0, 19_000_000);
  t.is(meter.text(), 'pulling web:1: 2 % of 20 MB');
  take('a', 'Download complete');
  take('b', 'Downloading', 19_000_000, 19_000_000);
  t.is(meter.text(), 'pulling web:1: 100 % of 20 MB');
  take('b', 'Download complete');
  take('a', 'Extracting', 10, 20);
  t.is(meter.text(), 'pulling web:1: unpacking');
  const unsized = createPullMeter('x');
  unsized.take({ id: 'a', status: 'Downloading', progressDetail: { current: 5 } });
  t.is(unsized.text(), 'pulling x: 100 % of 0.0 MB');
  for (let layer = 0; layer < 1_000; layer++) unsized.take({ id: `l${layer}`, status: 'Pulling fs layer' });
  t.notRegex(unsized.text(), /unpacking/);
});

test('DOCKER_HOST must be on this box', (t) => {
  t.is(dockerSocket(undefined), '/var/run/docker.sock');
  t.is(dockerSocket(''), '/var/run/docker.sock');
  t.is(dockerSocket('unix:///run/user/1/docker.sock'), '/run/user/1/docker.sock');
  t.is(dockerSocket('tcp://192.0.2.1:2375'), undefined);
});

test('ranges are parsed, cut into parts, and compared', (t) => {
  const range = parseRange('198.18.0.0/15');
  if (range === undefined) return t.fail();
  t.is(partsOf(range, 20), 32);
  t.is(rangeText(partOf(range, 20, 31)), '198.19.240.0/20');
  for (const bad of ['198.18.0.1/15', '198.18.0.0', '300.0.0.0/8', '0.0.0.0/33', 'x']) t.is(parseRange(bad), undefined);
  const at = (text: string) => parseRange(text) ?? { first: 0, prefix: 0 };
  t.true(overlaps(at('198.18.0.0/20'), at('198.18.8.0/21')));
  t.false(overlaps(at('198.18.0.0/20'), at('198.18.16.0/20')));
  t.true(overlaps(at('10.0.0.0/8'), at('10.255.255.0/24')));
});

test('the routes of the box are read, without the default route', (t) => {
  const table = [
    'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT',
    'eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0',
    'br0\t001012C6\t00000000\t0001\t0\t0\t0\t00F8FFFF\t0\t0\t0',
    'nonsense',
  ].join('\n');
  t.deepEqual(routedRanges(table).map(rangeText), ['198.18.16.0/21']);
});

test('frames of a log are read however they are cut', (t) => {
  const frame = (stream: number, text: string): Buffer => {
    const head = Buffer.alloc(8);
    head[0] = stream;
    head.writeUInt32BE(Buffer.byteLength(text), 4);
    return Buffer.concat([head, Buffer.from(text)]);
  };
  const all = Buffer.concat([
    frame(1, '2026-01-01T00:00:01.000000001Z one ü\n'),
    frame(2, '2026-01-01T00:00:01.000000002Z \n'),
    frame(1, '2026-01-01T00:00:01.000000003Z no newline'),
  ]);
  for (const size of [1, 7, 8, 9, 64, all.length]) {
    const read = createFrameReader();
    const lines = [];
    for (let at = 0; at < all.length; at += size) lines.push(...read(all.subarray(at, at + size)));
    t.deepEqual(
      lines.map(({ stream, text }) => [stream, text]),
      [
        ['stdout', 'one ü'],
        ['stderr', ''],
        ['stdout', 'no newline'],
      ],
    );
  }
});

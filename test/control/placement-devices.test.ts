// Devices, memory and architecture in placement, and what of a node's word about its box gets there.

import test from 'ava';
import type { MicroserviceSpec, NodeRecord, PlacementHardware } from '../../control/fabric.ts';
import { readHardware } from '../../control/hardware.ts';
import { hardwareDevicesMax } from '../../control/limits.ts';
import { validateManifests } from '../../control/manifest.ts';
import { placementHardware } from '../../control/node-hardware.ts';
import { place } from '../../control/placement.ts';
import { createSpecCompiler } from '../../control/workload-spec.ts';
import { applicationRecord, microservice, nodeRecord } from './records.ts';

const adapter = {
  ...{ id: 'serial:0403:6001:A5:if0', kind: 'serial' as const, paths: ['/dev/ttyUSB0'], partOf: 'usb:0403:6001:A5' },
  ...{ vendor: '0403', product: '6001', serial: 'A5', links: ['/dev/serial/by-id/usb-A5'] },
};
const box: PlacementHardware = { arch: 'x64', memoryBytes: 2 ** 30, devices: [], devicesAllowed: false };
const need = { name: 'meter', kind: 'serial' as const };

const node = (name: string, changes: Partial<PlacementHardware> = {}, more: Partial<NodeRecord> = {}): NodeRecord =>
  nodeRecord(name, { placementHardware: { ...box, ...changes }, ...more });

function placed(nodes: NodeRecord[], microservices: MicroserviceSpec[], previous = {}) {
  const before = { _id: 'placement/default/app' as const, instances: previous, unplaced: {} };
  const [record] = place({ applications: [applicationRecord('app', microservices)], nodes, previous: [before] });
  const where = Object.entries(record?.instances ?? {}).map(([name, place_]) => [
    name.split('.').slice(2).join('.'),
    place_.node,
  ]);
  return { where: Object.fromEntries(where) as Record<string, string>, why: record?.unplaced ?? {} };
}

test('it goes where its device is, and what has no place says for every node why', (t) => {
  const reader = microservice('reader', { placement: { devices: [{ ...need, serial: 'A5' }] } });
  t.deepEqual(placed([node('a'), node('b', { devices: [adapter] })], [reader]).where, { 'reader.0': 'b' });
  t.deepEqual(placed([node('a'), nodeRecord('old')], [reader]).why, {
    'default.app.reader.0': {
      a: 'has no device for meter (serial, serial number A5)',
      old: 'has not said what devices it has',
    },
  });
});

test('a device that goes moves nothing; a place that it never had needs it', (t) => {
  const reader = microservice('reader', { placement: { devices: [need] } });
  const nodes = [node('a'), node('b', { devices: [adapter] })];
  t.deepEqual(placed(nodes, [reader], { 'default.app.reader.0': { node: 'a' } }).where, { 'reader.0': 'a' });
  t.deepEqual(placed(nodes, [reader]).where, { 'reader.0': 'b' });
});

test('one device is for one instance, of whatever application and by whatever kind, unless all of them share it', (t) => {
  const usb = { ...adapter, id: 'usb:0403:6001:A5', kind: 'usb' as const, paths: ['/dev/bus/usb/001/004'] };
  const { partOf: _, links: __, ...whole } = usb;
  const nodes = [node('a', { devices: [adapter, whole] })];
  const ports = microservice('reader', { replicas: 2, placement: { devices: [need] } });
  const raw = microservice('raw', { placement: { devices: [{ name: 'stick', kind: 'usb' }] } });
  const result = placed(nodes, [ports, raw]);
  t.deepEqual(result.where, { 'reader.0': 'a' });
  t.deepEqual(result.why['default.app.reader.1'], { a: 'has no free device for meter (serial)' });
  t.deepEqual(result.why['default.app.raw.0'], { a: 'has no free device for stick (usb)' });
  const shared = microservice('reader', { replicas: 2, placement: { devices: [{ ...need, shared: true }] } });
  t.deepEqual(placed(nodes, [shared]).where, { 'reader.0': 'a', 'reader.1': 'a' });
});

test('a container needs a node that allows containers devices, a program does not', (t) => {
  const container: MicroserviceSpec = {
    ...microservice('reader', { placement: { devices: [need] } }),
    ...{ engine: 'docker', image: 'reader', command: undefined as never },
  };
  const engines = { engines: ['process', 'docker'] };
  const nodes = [node('a', { devices: [adapter] }, engines)];
  t.regex(placed(nodes, [container]).why['default.app.reader.0']?.['a'] ?? '', /allows containers no devices/);
  const allowing = [...nodes, node('b', { devices: [adapter], devicesAllowed: true }, engines)];
  t.deepEqual(placed(allowing, [container]).where, { 'reader.0': 'b' });
});

test('the memory that is declared fits into what the node has; what has its place keeps it', (t) => {
  const large = (replicas: number) => microservice('large', { replicas, resources: { memory: '400Mi' } });
  const { where, why } = placed([node('a')], [large(3)]);
  t.deepEqual(where, { 'large.0': 'a', 'large.1': 'a' });
  t.deepEqual(why['default.app.large.2'], { a: 'has 224Mi of its 1024Mi of memory left, 400Mi is wanted' });
  const kept = Object.fromEntries([0, 1, 2].map((index) => [`default.app.large.${index}`, { node: 'a' }]));
  t.is(Object.keys(placed([node('a')], [large(3)], kept).where).length, 3);
  // Nothing declared, nothing counted; a node that never said is not held to it.
  t.is(Object.keys(placed([node('a')], [microservice('small', { replicas: 9 })]).where).length, 9);
  t.is(Object.keys(placed([nodeRecord('old')], [large(3)]).where).length, 3);
});

test('an architecture is held to what the node says, and before it has said anything to its label', (t) => {
  const only = microservice('reader', { placement: { arch: 'arm64' } });
  const labelled = nodeRecord('pi', { labels: { 'selvedge/arch': 'arm64' } });
  t.deepEqual(placed([node('a'), labelled], [only]).where, { 'reader.0': 'pi' });
  t.deepEqual(placed([node('a'), nodeRecord('b')], [only]).why['default.app.reader.0'], {
    a: 'is x64, not arm64',
    b: 'is of an unknown architecture, not arm64',
  });
});

const observed = (hardware: unknown, allow: unknown = ['devices']) => ({
  _id: 'observed/node',
  hardware,
  policy: { allow },
});
const said = {
  ...{ arch: 'x64', kernel: 'Linux 6.1', processor: { cores: 2 }, memory: { bytes: 5 }, drives: [], networks: [] },
  devices: [{ ...adapter, name: 'FT232R' }],
};

test('of a box placement takes what does not change by itself, and nothing that has not the form', (t) => {
  t.deepEqual(placementHardware(observed(said)), {
    arch: 'x64',
    memoryBytes: 5,
    devices: [adapter],
    devicesAllowed: true,
  });
  for (const odd of [undefined, null, 7, {}, { ...said, memory: { bytes: -1 } }, { ...said, kernel: '\u001b[2J' }])
    t.is(placementHardware(observed(odd)), undefined, JSON.stringify(odd));
  t.false(placementHardware(observed(said, 'devices'))?.devicesAllowed);
});

test('a device of a kind that this version does not know is left out, the rest counts; a list has an end', (t) => {
  const [good] = said.devices;
  const devices = [
    { ...good, kind: 'laser' },
    { ...good, name: '\u202eevil' },
    { ...good, paths: ['/etc/shadow'] },
    good,
  ];
  t.deepEqual(readHardware({ ...said, devices })?.devices, [good]);
  const many = Array.from({ length: 5_000 }, (_, index) => ({ ...good, id: `serial:${index}` }));
  t.is(readHardware({ ...said, devices: many })?.devices.length, hardwareDevicesMax);
});

const manifest = (placement: object, more: object = {}) => ({
  apiVersion: 'selvedge/v1',
  kind: 'Application',
  metadata: { name: 'app' },
  spec: { microservices: [{ name: 'reader', engine: 'process', command: ['read'], placement, ...more }] },
});

test('a manifest’s devices become the spec’s needs; without any its hash is what it was', (t) => {
  const compile = (placement: object) => {
    const [application] = validateManifests([manifest(placement)]).applications;
    const compiled = createSpecCompiler().compile(application?.microservices[0] as MicroserviceSpec, 'default', {
      configs: new Map(),
      secrets: new Map(),
    });
    if ('missing' in compiled) throw new Error(compiled.missing);
    return compiled;
  };
  // Of the version before devices: what runs must not be replaced by an upgrade.
  const before = '7c6c10e55188d4defdf52d961dc47f5ac7f51360e2501434fd7c2b4b0a9a831a';
  t.is(compile({}).specHash, before);
  t.is(compile({ devices: [] }).specHash, before);
  t.is(compile({ arch: 'arm64', node: 'a' }).specHash, before);
  const { spec, specHash } = compile({ devices: [{ shared: false, kind: 'serial', name: 'meter', vendor: '0403' }] });
  t.deepEqual(spec.deviceNeeds, [{ name: 'meter', kind: 'serial', vendor: '0403' }]);
  t.not(specHash, before);
});

test('devices that cannot be meant are refused with the field and the accepted form', (t) => {
  const refusal = (placement: object, more: object = {}): string =>
    t.throws(() => validateManifests([manifest(placement, more)]))?.message ?? '';
  const device = (more: object) => ({ devices: [{ name: 'meter', kind: 'serial', ...more }] });
  t.regex(refusal(device({ vendor: 403 })), /devices\[0\]\.vendor.*four hexadecimal digits/);
  t.regex(refusal(device({ vendor: '0x0403' })), /devices\[0\]\.vendor/);
  t.regex(refusal(device({ kind: 'serail' })), /devices\[0\]\.kind[\s\S]*'serial', 'video'/);
  t.regex(refusal(device({ path: '/etc/shadow' })), /devices\[0\]\.path/);
  t.regex(refusal(device({ path: '/dev/../etc/shadow' })), /devices\[0\]\.path/);
  t.regex(refusal({ devices: [need, need] }), /devices\[1\]\.name.*"meter" is there twice/);
  t.regex(
    refusal({ node: 'a', ...device({ path: '/dev/ttyS0' }) }, { replicas: 2 }),
    /is one device for 2 instances on a/,
  );
  t.regex(refusal({ arch: 'amd64' }), /placement\.arch.*x64/);
});

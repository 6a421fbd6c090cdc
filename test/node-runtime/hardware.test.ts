// What is read of a box, and how changes are noticed: on trees made for the test (hardware-tree.ts), and once on this box itself.

import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { hardwareSchema } from '../../control/hardware.ts';
import { hardwareDevicesMax } from '../../control/limits.ts';
import { readBox } from '../../node-runtime/hardware/read-hardware.ts';
import { createSystemHardware } from '../../node-runtime/hardware/system-hardware.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { eventually } from '../eventually.ts';
import { createHardwareTree, type HardwareTree } from './hardware-tree.ts';

const adapter = { port: '1-2', vendor: '0403', product: '6001', serial: 'A50285BI', name: 'FT232R USB UART' };

async function treeFor(t: ExecutionContext): Promise<HardwareTree> {
  const tree = await createHardwareTree();
  t.teardown(() => rm(tree.root, { recursive: true, force: true }));
  return tree;
}

const read = (tree: HardwareTree) => readBox({ root: tree.root, arch: 'arm64', dataFolder: tree.root });
const devicesOf = async (tree: HardwareTree) => (await read(tree)).devices;

test('this box is read in the published form', async (t) => {
  const hardware = await readBox({ root: '/', arch: process.arch, dataFolder: tmpdir() });
  t.deepEqual(hardwareSchema.strict().parse(hardware), hardware);
  t.true(hardware.memory.bytes > 64 * 2 ** 20);
  t.true(hardware.processor.cores >= 1);
  t.regex(hardware.kernel, /^Linux \d/);
  t.false(hardware.networks.some(({ name }) => name === 'lo'));
});

test('processor, kernel, memory, drives and interfaces', async (t) => {
  const tree = await treeFor(t);
  await tree.file('/proc/device-tree/model', 'Raspberry Pi 4 Model B Rev 1.5\0');
  await tree.file('/sys/block/mmcblk0/size', '61069312\n');
  await tree.file('/sys/block/mmcblk0/removable', '0\n');
  await tree.file('/sys/block/loop0/size', '100\n');
  await tree.file('/sys/class/net/lo/operstate', 'unknown\n');
  await tree.file('/sys/class/net/veth12/operstate', 'up\n');
  for (const [name, value] of Object.entries({
    type: '1',
    operstate: 'up',
    speed: '1000',
    address: 'b8:27:eb:00:00:01',
  }))
    await tree.file(`/sys/class/net/eth0/${name}`, `${value}\n`);
  await tree.file('/sys/class/net/eth0/device/uevent', '');
  await tree.file('/sys/class/net/wlan0/device/uevent', '');
  await tree.file('/sys/class/net/wlan0/wireless/status', '');
  const { disk, ...hardware } = await read(tree);
  t.true((disk?.bytes ?? 0) > 0);
  t.deepEqual(hardware, {
    arch: 'arm64',
    kernel: 'Linux 6.1.0-test',
    system: 'Test Linux 1',
    machine: 'Raspberry Pi 4 Model B Rev 1.5',
    processor: { cores: 2, model: 'Test Core 1' },
    memory: { bytes: 2_048_000 * 1024 },
    drives: [{ name: 'mmcblk0', bytes: 61_069_312 * 512, removable: false, rotating: false }],
    networks: [
      { name: 'eth0', kind: 'ethernet', up: true, mac: 'b8:27:eb:00:00:01', speedMbits: 1000 },
      { name: 'wlan0', kind: 'wireless', up: false },
    ],
    devices: [],
  });
});

test('a USB adapter is a serial port and a USB device, with an id that does not depend on where and when it is plugged in', async (t) => {
  const tree = await treeFor(t);
  await tree.plugAdapter(adapter, 'ttyUSB0');
  const [serial, usb, ...others] = await devicesOf(tree);
  t.deepEqual(others, []);
  t.deepEqual(serial, {
    id: 'serial:0403:6001:A50285BI:if0:port0',
    kind: 'serial',
    name: 'FT232R USB UART',
    paths: ['/dev/ttyUSB0'],
    links: ['/dev/serial/by-id/usb-0403_6001_A50285BI-if00-port0'],
    vendor: '0403',
    product: '6001',
    serial: 'A50285BI',
    port: '1-2',
    plugging: 4,
    partOf: 'usb:0403:6001:A50285BI',
    driver: 'ftdi_sio',
  });
  t.is(usb?.id, 'usb:0403:6001:A50285BI');
  t.deepEqual(usb?.paths, ['/dev/bus/usb/001/004']);

  await tree.unplugAdapter('1-2', 'ttyUSB0');
  t.deepEqual(await devicesOf(tree), []);
  await tree.plugAdapter({ ...adapter, port: '1-4', plugging: 9 }, 'ttyUSB3');
  t.deepEqual(
    (await devicesOf(tree)).map(({ id, paths, plugging }) => [id, paths[0], plugging]),
    [
      [serial?.id, '/dev/ttyUSB3', 9],
      [usb?.id, '/dev/bus/usb/001/009', 9],
    ],
  );
});

test('devices that tell the same, or no serial number, are told apart by where they are plugged in', async (t) => {
  const tree = await treeFor(t);
  await tree.plugAdapter(adapter, 'ttyUSB0');
  await tree.plugAdapter({ ...adapter, port: '1-3', plugging: 5 }, 'ttyUSB1');
  const { serial: _, ...silent } = adapter;
  await tree.plugUsb({ ...silent, port: '1-4', plugging: 6 });
  t.deepEqual((await devicesOf(tree)).map(({ id }) => id).sort(), [
    'serial:0403:6001:A50285BI@1-2:if0:port0',
    'serial:0403:6001:A50285BI@1-3:if0:port0',
    'usb:0403:6001:A50285BI@1-2',
    'usb:0403:6001:A50285BI@1-3',
    'usb:0403:6001@1-4',
  ]);
});

test('hubs are passed by, what is behind them is found', async (t) => {
  const tree = await treeFor(t);
  await tree.plugUsb({ port: '1-1', vendor: '05e3', product: '0608' });
  await tree.file('/sys/bus/usb/devices/1-1/bDeviceClass', '09\n');
  await tree.plugUsb({ ...adapter, port: '1-1.3', plugging: 7 });
  t.deepEqual(
    (await devicesOf(tree)).map(({ id, port }) => [id, port]),
    [['usb:0403:6001:A50285BI', '1-1.3']],
  );
});

test('a camera with several paths is one device, pictures first', async (t) => {
  const tree = await treeFor(t);
  await tree.plugCamera({ port: '1-3', vendor: '046d', product: '0825', name: 'Webcam C270' }, ['video2', 'video1']);
  const camera = (await devicesOf(tree)).find(({ kind }) => kind === 'video');
  t.is(camera?.id, 'video:046d:0825@1-3:if0');
  t.is(camera?.name, 'Webcam C270');
  t.deepEqual(camera?.paths, ['/dev/video2', '/dev/video1']);
});

test('graphics, TPM and a serial port on the board; the console and ports that the board lacks are left out', async (t) => {
  const tree = await treeFor(t);
  const card = '/sys/devices/pci0000:00/0000:00:02.0';
  await tree.file(`${card}/vendor`, '0x8086\n');
  await tree.file(`${card}/device`, '0x5917\n');
  for (const name of ['card0', 'renderD128']) {
    await tree.link(`${card}/drm/${name}/device`, card);
    await tree.link(`/sys/class/drm/${name}`, `${card}/drm/${name}`);
    await tree.node(`/dev/dri/${name}`);
  }
  await tree.file('/sys/class/drm/card0-HDMI-A-1/status', 'connected\n');
  await tree.file('/sys/devices/MSFT0101:00/uevent', '');
  await tree.file('/sys/class/tpm/tpm0/tpm_version_major', '2\n');
  await tree.link('/sys/class/tpm/tpm0/device', '/sys/devices/MSFT0101:00');
  await tree.node('/dev/tpm0');
  await tree.node('/dev/tpmrm0');
  await tree.file('/sys/class/tty/console/active', 'tty0 ttyS1\n');
  for (const [tty, type] of Object.entries({ ttyS0: '4', ttyS1: '4', ttyS2: '0', tty0: '4' })) {
    await tree.file(`/sys/devices/pnp0/${tty}/uevent`, '');
    await tree.file(`/sys/class/tty/${tty}/type`, `${type}\n`);
    await tree.link(`/sys/class/tty/${tty}/device`, `/sys/devices/pnp0/${tty}`);
    await tree.node(`/dev/${tty}`);
  }
  t.deepEqual(await devicesOf(tree), [
    {
      id: 'gpu:0000:00:02.0',
      kind: 'gpu',
      name: 'Intel',
      paths: ['/dev/dri/renderD128', '/dev/dri/card0'],
      vendor: '8086',
      product: '5917',
    },
    { id: 'serial:ttyS0', kind: 'serial', name: 'ttyS0', paths: ['/dev/ttyS0'] },
    { id: 'tpm:MSFT0101:00', kind: 'tpm', name: 'TPM 2', paths: ['/dev/tpmrm0', '/dev/tpm0'] },
  ]);
});

test('what a device says of itself is cut, and steers no terminal', async (t) => {
  const tree = await treeFor(t);
  const name = `\u001b]0;owned\u0007\u202e${'x'.repeat(100_000)}`;
  await tree.plugAdapter({ port: '1-2', vendor: '1bad', product: '0001', serial: 'A:if0\u001b[2J', name }, 'ttyUSB0');
  // A vendor that is no number is no device.
  await tree.plugUsb({ port: '1-3', vendor: '$(reboot)', product: '0001', plugging: 5 });
  const devices = await devicesOf(tree);
  t.deepEqual(devices.map(({ id }) => id).sort(), [
    'serial:1bad:0001:A%3Aif0%20%5B2J:if0:port0',
    'usb:1bad:0001:A%3Aif0%20%5B2J',
  ]);
  for (const device of devices) {
    t.notRegex(JSON.stringify(device), /\\u001b|\\u0007|\u202e/);
    t.true(device.name.length <= 64);
    t.is(device.serial, 'A:if0 [2J');
  }
});

test('more devices than are published push out no port of the board', async (t) => {
  const tree = await treeFor(t);
  await tree.file('/sys/class/tty/ttyS0/type', '4\n');
  await tree.file('/sys/devices/pnp0/ttyS0/uevent', '');
  await tree.link('/sys/class/tty/ttyS0/device', '/sys/devices/pnp0/ttyS0');
  await tree.node('/dev/ttyS0');
  for (let number = 1; number <= hardwareDevicesMax + 6; number += 1)
    await tree.plugUsb({ port: `1-${number}`, vendor: '0001', product: '0001', plugging: number });
  const devices = await devicesOf(tree);
  t.is(devices.length, hardwareDevicesMax);
  t.is(devices[0]?.id, 'serial:ttyS0');
});

test('a link that leaves the tree leads nowhere', async (t) => {
  const tree = await treeFor(t);
  const outside = await mkdtemp(join(tmpdir(), 'selvedge-outside-'));
  t.teardown(() => rm(outside, { recursive: true, force: true }));
  await mkdir(join(outside, 'ttyS0'));
  await tree.file('/sys/class/tty/ttyS0/type', '4\n');
  await tree.node('/dev/ttyS0');
  const link = join(tree.root, '/sys/class/tty/ttyS0/device');
  await symlink(join(outside, 'ttyS0'), link);
  t.deepEqual(await devicesOf(tree), []);
  // The same port is one where the link stays inside.
  await rm(link);
  await tree.file('/sys/devices/pnp0/ttyS0/uevent', '');
  await tree.link('/sys/class/tty/ttyS0/device', '/sys/devices/pnp0/ttyS0');
  t.is((await devicesOf(tree)).length, 1);
});

test('plugging in and out is noticed, a burst of it once', async (t) => {
  const tree = await treeFor(t);
  const clock = createSystemClock();
  const hardware = createSystemHardware({ clock, root: tree.root, arch: 'arm64', dataFolder: tree.root });
  t.teardown(() => hardware.stop());
  await hardware.start();
  await hardware.start();
  t.deepEqual(hardware.current().devices, []);
  const seen: string[][] = [];
  hardware.subscribe(() => seen.push(hardware.current().devices.map(({ id }) => id)));

  const pluggedAt = clock.now();
  await tree.plugAdapter(adapter, 'ttyUSB0');
  await eventually(() => seen.length === 1, { what: 'the adapter is noticed', deadlineMs: 4_000 });
  // By the folder of its bus, before the slow look.
  t.true(clock.now() - pluggedAt < 4_000);
  t.deepEqual(seen[0], ['serial:0403:6001:A50285BI:if0:port0', 'usb:0403:6001:A50285BI']);

  await tree.unplugAdapter('1-2', 'ttyUSB0');
  await eventually(() => seen.length === 2, { what: 'its end is noticed', deadlineMs: 4_000 });
  t.deepEqual(seen[1], []);

  // No watch tells of this one: no udev, no USB.
  await tree.file('/sys/class/tty/ttyAMA0/type', '32\n');
  await tree.file('/sys/devices/soc/ttyAMA0/uevent', '');
  await tree.link('/sys/class/tty/ttyAMA0/device', '/sys/devices/soc/ttyAMA0');
  await tree.node('/dev/ttyAMA0');
  await eventually(() => seen.length === 3, { what: 'the slow look finds it' });
  t.deepEqual(seen[2], ['serial:ttyAMA0']);

  hardware.stop();
  hardware.stop();
  await tree.plugUsb({ ...adapter, plugging: 12 });
  t.is(seen.length, 3);
});

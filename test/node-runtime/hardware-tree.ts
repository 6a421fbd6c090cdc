// A box's `/proc`, `/sys` and `/dev` made for a test, as the kernel and udev lay them out: links are relative, device folders lie below
// `/sys/devices`. Files stand for device nodes, unless the test asks for real ones, which takes root.

import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';

export interface UsbPlug {
  /** `1-2` */
  port: string;
  vendor: string;
  product: string;
  serial?: string;
  name?: string;
  /** Counts up at each plugging in. */
  plugging?: number;
}

export interface HardwareTree {
  readonly root: string;
  file(path: string, content: string): Promise<void>;
  link(path: string, target: string): Promise<void>;
  /** A file in `/dev`; a character device with these numbers where they are given. */
  node(path: string, numbers?: [major: number, minor: number]): Promise<void>;
  remove(path: string): Promise<void>;
  plugUsb(plug: UsbPlug): Promise<void>;
  unplugUsb(port: string): Promise<void>;
  /** An adapter with a serial port, `tty` being `ttyUSB0` or the like. */
  plugAdapter(plug: UsbPlug, tty: string, numbers?: [number, number]): Promise<void>;
  unplugAdapter(port: string, tty: string): Promise<void>;
  plugCamera(plug: UsbPlug, videos: string[]): Promise<void>;
}

const pci = '/sys/devices/pci0000:00/0000:00:14.0/usb1';

export async function createHardwareTree(): Promise<HardwareTree> {
  // Under /tmp a device node may be refused by a mount option; the test says so then.
  const root = await mkdtemp('/tmp/selvedge-hardware-');
  const at = (path: string): string => join(root, path);
  const busPath = (plugging: number): string => `/dev/bus/usb/001/${String(plugging).padStart(3, '0')}`;
  const pluggings = new Map<string, number>();

  const tree: HardwareTree = {
    root,
    async file(path, content) {
      await mkdir(dirname(at(path)), { recursive: true });
      await writeFile(at(path), content);
    },
    async link(path, target) {
      await mkdir(dirname(at(path)), { recursive: true });
      await symlink(relative(dirname(path), target), at(path));
    },
    async node(path, numbers) {
      await mkdir(dirname(at(path)), { recursive: true });
      if (numbers === undefined) await writeFile(at(path), '');
      else execFileSync('mknod', ['-m', '666', at(path), 'c', ...numbers.map(String)]);
    },
    remove: (path) => rm(at(path), { recursive: true, force: true }),
    async plugUsb({ port, vendor, product, serial, name, plugging = 4 }) {
      const folder = `${pci}/${port}`;
      pluggings.set(port, plugging);
      const ids = { idVendor: vendor, idProduct: product, bDeviceClass: '00', busnum: '1', devnum: `${plugging}` };
      const facts = { ...ids, ...(name && { product: name }), ...(serial && { serial }) };
      for (const [key, value] of Object.entries(facts)) await tree.file(`${folder}/${key}`, `${value}\n`);
      await tree.link(`/sys/bus/usb/devices/${port}`, folder);
      await tree.node(busPath(plugging));
    },
    async unplugUsb(port) {
      await tree.remove(busPath(pluggings.get(port) ?? 0));
      await tree.remove(`/sys/bus/usb/devices/${port}`);
      await tree.remove(`${pci}/${port}`);
    },
    async plugAdapter(plug, tty, numbers) {
      const folder = `${pci}/${plug.port}/${plug.port}:1.0/${tty}`;
      await tree.plugUsb(plug);
      await tree.file(`${folder}/port_number`, '0\n');
      await tree.file(`/sys/bus/usb-serial/drivers/ftdi_sio/module`, '');
      await tree.link(`${folder}/driver`, '/sys/bus/usb-serial/drivers/ftdi_sio');
      await tree.file(`${folder}/tty/${tty}/dev`, '188:0\n');
      await tree.link(`${folder}/tty/${tty}/device`, folder);
      await tree.link(`/sys/class/tty/${tty}`, `${folder}/tty/${tty}`);
      await tree.node(`/dev/${tty}`, numbers);
      const by = `/dev/serial/by-id/usb-${plug.vendor}_${plug.product}_${plug.serial ?? ''}-if00-port0`;
      // Of two that tell the same, udev's link leads to the one that came last.
      await tree.remove(by);
      await tree.link(by, `/dev/${tty}`);
    },
    async unplugAdapter(port, tty) {
      await tree.remove('/dev/serial/by-id');
      await tree.remove(`/dev/${tty}`);
      await tree.remove(`/sys/class/tty/${tty}`);
      await tree.unplugUsb(port);
    },
    async plugCamera(plug, videos) {
      const folder = `${pci}/${plug.port}/${plug.port}:1.0`;
      await tree.plugUsb(plug);
      for (const [index, video] of videos.entries()) {
        await tree.file(`${folder}/video4linux/${video}/index`, `${index}\n`);
        await tree.file(`${folder}/video4linux/${video}/name`, `${plug.name ?? 'Camera'}\n`);
        await tree.link(`${folder}/video4linux/${video}/device`, folder);
        await tree.link(`/sys/class/video4linux/${video}`, `${folder}/video4linux/${video}`);
        await tree.node(`/dev/${video}`);
      }
    },
  };
  await tree.file(
    '/proc/cpuinfo',
    'processor\t: 0\nmodel name\t: Test Core 1\n\nprocessor\t: 1\nmodel name\t: Test Core 1\n',
  );
  await tree.file('/proc/meminfo', 'MemTotal:        2048000 kB\nMemFree:          100 kB\n');
  await tree.file('/proc/sys/kernel/ostype', 'Linux\n');
  await tree.file('/proc/sys/kernel/osrelease', '6.1.0-test\n');
  await tree.file('/etc/os-release', 'NAME="Test"\nPRETTY_NAME="Test Linux 1"\n');
  await mkdir(at('/dev/bus/usb/001'), { recursive: true });
  return tree;
}

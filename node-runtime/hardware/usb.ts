// USB devices, from `/sys/bus/usb/devices`, and which of them a serial port or a camera is a part of. Called by read-hardware.ts and the
// readers of those. Vendor, product and serial number are what the device claims: they find a device, they prove nothing.

import type { Device } from '../../control/hardware.ts';
import { type BoxFiles, hexIdOf } from './box-files.ts';
import { lookedAtMax } from './limits.ts';

export interface UsbDevice {
  device: Device;
  /** Its folder below `/sys/devices`, without a slash at the end. */
  folder: string;
}

const hubClass = '09';

async function readOne(box: BoxFiles, port: string): Promise<(UsbDevice & { serial: string | undefined }) | undefined> {
  const at = `/sys/bus/usb/devices/${port}`;
  const [vendor, product] = [hexIdOf(await box.text(`${at}/idVendor`)), hexIdOf(await box.text(`${at}/idProduct`))];
  const folder = await box.real(at);
  if (vendor === undefined || product === undefined || folder === undefined) return undefined;
  if ((await box.text(`${at}/bDeviceClass`)) === hubClass) return undefined;
  const [bus, plugging] = [Number(await box.text(`${at}/busnum`)), Number(await box.text(`${at}/devnum`))];
  const digits = (number: number): string => String(number).padStart(3, '0');
  const path = `/dev/bus/usb/${digits(bus)}/${digits(plugging)}`;
  if (!Number.isInteger(bus) || !Number.isInteger(plugging) || !(await box.exists(path))) return undefined;
  const serial = await box.text(`${at}/serial`);
  const called = [await box.text(`${at}/manufacturer`), await box.text(`${at}/product`)].filter(Boolean).join(' ');
  return {
    folder,
    serial,
    device: {
      id: '',
      kind: 'usb',
      name: called.slice(0, 64).trim() || `${vendor}:${product}`,
      paths: [path],
      vendor,
      product,
      ...(serial !== undefined && { serial }),
      port,
      plugging,
    },
  };
}

/** In order of their ids, which hold no order of plugging in: two that tell the same are told apart by where they are plugged in. */
export async function readUsb(box: BoxFiles): Promise<UsbDevice[]> {
  // `1-2.3`; not `usb1`, which is a bus, nor `1-2:1.0`, an interface.
  const ports = (await box.names('/sys/bus/usb/devices')).filter((name) =>
    /^\d{1,3}-\d{1,3}(\.\d{1,3}){0,6}$/.test(name),
  );
  const found = (await Promise.all(ports.slice(0, lookedAtMax).map((port) => readOne(box, port)))).filter(
    (one) => one !== undefined,
  );
  const toldAs = ({ device, serial }: (typeof found)[number]): string =>
    // A serial number with a colon in it must not read as another device's part.
    `${device.vendor}:${device.product}${serial === undefined ? '' : `:${encodeURIComponent(serial)}`}`;
  const times = new Map<string, number>();
  for (const one of found) times.set(toldAs(one), (times.get(toldAs(one)) ?? 0) + 1);
  return found
    .map((one): UsbDevice => {
      const told = toldAs(one);
      const alone = one.serial !== undefined && times.get(told) === 1;
      return { folder: one.folder, device: { ...one.device, id: `usb:${told}${alone ? '' : `@${one.device.port}`}` } };
    })
    .sort((left, right) => (left.device.id < right.device.id ? -1 : 1));
}

export type UsbPart = Pick<Device, 'vendor' | 'product' | 'serial' | 'port' | 'plugging' | 'partOf'> & {
  /** `0403:6001:A50285BI:if0`: of an id of the part. */
  told: string;
  /** What the device calls itself. */
  name: string;
};

/** The USB device whose folder holds this one, and by which interface; undefined for what is no part of any. */
export function usbPart(usb: readonly UsbDevice[], folder: string): UsbPart | undefined {
  // The longest: a hub's folder holds those of what is plugged into it.
  const [owner] = usb
    .filter((one) => folder.startsWith(`${one.folder}/`))
    .sort((left, right) => right.folder.length - left.folder.length);
  if (owner === undefined) return undefined;
  const { id, name, vendor, product, serial, port, plugging } = owner.device;
  const [, inside = '0'] = /:\d+\.(\d+)(\/|$)/.exec(folder.slice(owner.folder.length)) ?? [];
  return {
    told: `${id.replace(/^usb:/, '')}:if${inside}`,
    name,
    partOf: id,
    ...(vendor !== undefined && { vendor }),
    ...(product !== undefined && { product }),
    ...(serial !== undefined && { serial }),
    ...(port !== undefined && { port }),
    ...(plugging !== undefined && { plugging }),
  };
}

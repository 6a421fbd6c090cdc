// Serial ports, from `/sys/class/tty`: on the board and by USB. Called by read-hardware.ts. The console of the kernel is nobody's: what
// is written there reads as commands.

import type { Device } from '../../control/hardware.ts';
import { type BoxFiles, linkName, printableText } from './box-files.ts';
import { linksIn } from './device-links.ts';
import { lookedAtMax } from './limits.ts';
import { type UsbDevice, usbPart } from './usb.ts';

/** Screens and their kin; ports of containers have no device behind them. */
const noPorts = /^(tty\d*|console|ptmx|pty.*|tty[p-za-e][0-9a-f]|vc.*)$/;
/** PORT_UNKNOWN: a number that is kept for a port which the board does not have. */
const absentType = '0';

export async function readSerial(box: BoxFiles, usb: readonly UsbDevice[]): Promise<Device[]> {
  const links = await linksIn(box, '/dev/serial/by-id');
  const consoles = new Set(((await box.text('/sys/class/tty/console/active')) ?? '').split(' '));
  const names = (await box.names('/sys/class/tty')).filter(
    (name) => !noPorts.test(name) && /^[\w.-]{1,32}$/.test(name),
  );
  const ports = await Promise.all(
    names.slice(0, lookedAtMax).map(async (name): Promise<Device[]> => {
      const at = `/sys/class/tty/${name}`;
      const path = `/dev/${name}`;
      const folder = await box.real(`${at}/device`);
      if (folder === undefined || consoles.has(name) || !(await box.exists(path))) return [];
      if ((await box.text(`${at}/type`)) === absentType) return [];
      const driver = await linkName(box, `${at}/device/driver`);
      const stays = links.get(path);
      const common = {
        kind: 'serial' as const,
        paths: [path],
        ...(stays !== undefined && { links: stays }),
        ...(driver !== undefined && { driver }),
      };
      const part = usbPart(usb, folder);
      // Where the board has it does not change.
      if (part === undefined) return [{ id: `serial:${name}`, name: printableText(name) ?? name, ...common }];
      const { told, ...rest } = part;
      const number = await box.text(`${at}/device/port_number`);
      const several = number !== undefined && /^\d{1,3}$/.test(number) ? `:port${number}` : '';
      return [{ id: `serial:${told}${several}`, ...rest, ...common }];
    }),
  );
  return ports.flat();
}

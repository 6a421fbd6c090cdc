// Cameras and other video devices, from `/sys/class/video4linux`. One camera has several paths: the first is the one for pictures. Called
// by read-hardware.ts.

import { basename } from 'node:path';
import type { Device } from '../../control/hardware.ts';
import { devicePathsMax } from '../../control/limits.ts';
import { type BoxFiles, linkName, printableText } from './box-files.ts';
import { linksIn } from './device-links.ts';
import { lookedAtMax } from './limits.ts';
import { type UsbDevice, usbPart } from './usb.ts';

export async function readVideo(box: BoxFiles, usb: readonly UsbDevice[]): Promise<Device[]> {
  const links = await linksIn(box, '/dev/v4l/by-id');
  const byFolder = new Map<string, { path: string; index: number; name: string | undefined }[]>();
  const names = (await box.names('/sys/class/video4linux')).filter((name) => /^video\d{1,4}$/.test(name));
  for (const entry of names.slice(0, lookedAtMax)) {
    const at = `/sys/class/video4linux/${entry}`;
    const path = `/dev/${entry}`;
    const folder = await box.real(`${at}/device`);
    if (folder === undefined || !(await box.exists(path))) continue;
    const index = Number((await box.text(`${at}/index`)) ?? 0);
    byFolder.set(folder, [...(byFolder.get(folder) ?? []), { path, index, name: await box.text(`${at}/name`) }]);
  }
  return await Promise.all(
    [...byFolder].map(async ([folder, nodes]): Promise<Device> => {
      nodes.sort((left, right) => left.index - right.index || (left.path < right.path ? -1 : 1));
      const paths = nodes.map(({ path }) => path).slice(0, devicePathsMax);
      const stays = paths.flatMap((path) => links.get(path) ?? []).slice(0, devicePathsMax);
      const driver = await linkName(box, `${folder}/driver`);
      const { told, ...part } = usbPart(usb, folder) ?? {
        told: printableText(basename(folder)) ?? 'unknown',
        name: '',
      };
      return {
        ...part,
        id: `video:${told}`,
        kind: 'video',
        name: nodes[0]?.name ?? (part.name || told),
        paths,
        ...(stays.length > 0 && { links: stays }),
        ...(driver !== undefined && { driver }),
      };
    }),
  );
}

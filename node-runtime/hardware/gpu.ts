// Graphics processors, from `/sys/class/drm`: the card and its render node are one device. Called by read-hardware.ts. What a vendor's own
// driver needs beside these (`/dev/nvidia*`, its libraries) is not known here.

import { basename } from 'node:path';
import type { Device } from '../../control/hardware.ts';
import { devicePathsMax } from '../../control/limits.ts';
import { type BoxFiles, hexIdOf, linkName, printableText } from './box-files.ts';
import { lookedAtMax } from './limits.ts';

const makers: Record<string, string> = { '8086': 'Intel', '10de': 'NVIDIA', '1002': 'AMD', '1af4': 'virtio' };

export async function readGpus(box: BoxFiles): Promise<Device[]> {
  const byFolder = new Map<string, string[]>();
  // Not `card0-HDMI-A-1`, which is a plug.
  const names = (await box.names('/sys/class/drm')).filter((name) => /^(card|renderD)\d{1,4}$/.test(name));
  for (const name of names.slice(0, lookedAtMax)) {
    const folder = await box.real(`/sys/class/drm/${name}/device`);
    const path = `/dev/dri/${name}`;
    if (folder === undefined || !(await box.exists(path))) continue;
    byFolder.set(folder, [...(byFolder.get(folder) ?? []), path]);
  }
  return await Promise.all(
    [...byFolder].map(async ([folder, paths]): Promise<Device> => {
      const vendor = hexIdOf(await box.text(`${folder}/vendor`));
      const product = hexIdOf(await box.text(`${folder}/device`));
      const driver = await linkName(box, `${folder}/driver`);
      const place = printableText(basename(folder)) ?? 'unknown';
      // A workload computes by the render node and may lack the right to the card, which drives screens.
      const ordered = [...paths].sort(
        (left, right) => Number(right.includes('render')) - Number(left.includes('render')),
      );
      return {
        id: `gpu:${place}`,
        kind: 'gpu',
        name: [vendor === undefined ? undefined : makers[vendor], driver].filter(Boolean).join(' ') || place,
        paths: ordered.slice(0, devicePathsMax),
        ...(vendor !== undefined && { vendor }),
        ...(product !== undefined && { product }),
        ...(driver !== undefined && { driver }),
      };
    }),
  );
}

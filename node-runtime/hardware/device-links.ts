// Links that udev makes to devices under names that stay (`/dev/serial/by-id`), by the path that they lead to. Called by the readers of
// serial ports and cameras. A link is believed only for where it leads.

import { devicePathsMax } from '../../control/limits.ts';
import type { BoxFiles } from './box-files.ts';
import { lookedAtMax } from './limits.ts';

export async function linksIn(box: BoxFiles, folder: string): Promise<Map<string, string[]>> {
  const links = new Map<string, string[]>();
  for (const name of (await box.names(folder)).slice(0, lookedAtMax)) {
    if (!/^[\x21-\x7e]{1,200}$/.test(name)) continue;
    const target = await box.real(`${folder}/${name}`);
    if (target === undefined) continue;
    const known = links.get(target) ?? [];
    if (known.length < devicePathsMax) links.set(target, [...known, `${folder}/${name}`]);
  }
  return links;
}

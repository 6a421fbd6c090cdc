// Trusted platform modules, from `/sys/class/tpm`. The path that shares the module among programs (`/dev/tpmrm0`) comes first. Called by
// read-hardware.ts.

import type { Device } from '../../control/hardware.ts';
import { type BoxFiles, linkName } from './box-files.ts';
import { lookedAtMax } from './limits.ts';

export async function readTpms(box: BoxFiles): Promise<Device[]> {
  const found: Device[] = [];
  const names = (await box.names('/sys/class/tpm')).filter((name) => /^tpm\d{1,3}$/.test(name));
  for (const name of names.slice(0, lookedAtMax)) {
    const paths: string[] = [];
    for (const path of [`/dev/${name.replace('tpm', 'tpmrm')}`, `/dev/${name}`]) {
      if (await box.exists(path)) paths.push(path);
    }
    if (paths.length === 0) continue;
    const version = await box.text(`/sys/class/tpm/${name}/tpm_version_major`);
    const place = (await linkName(box, `/sys/class/tpm/${name}/device`)) ?? name;
    found.push({ id: `tpm:${place}`, kind: 'tpm', name: version === undefined ? 'TPM' : `TPM ${version}`, paths });
  }
  return found;
}

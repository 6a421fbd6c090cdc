// Network interfaces of the box itself, from `/sys/class/net`: those with a device behind them. Bridges and the ends of containers come
// and go with workloads and are left out. Called by read-hardware.ts.

import type { NetworkInterface } from '../../control/hardware.ts';
import { hardwareNetworksMax } from '../../control/limits.ts';
import { type BoxFiles, printableText } from './box-files.ts';
import { lookedAtMax } from './limits.ts';

/** ARPHRD_ETHER of the kernel's if_arp.h. */
const ethernetType = '1';

export async function readNetworks(box: BoxFiles): Promise<NetworkInterface[]> {
  const found: NetworkInterface[] = [];
  for (const entry of (await box.names('/sys/class/net')).slice(0, lookedAtMax)) {
    const at = `/sys/class/net/${entry}`;
    const name = printableText(entry);
    if (name === undefined || !(await box.exists(`${at}/device`))) continue;
    const wireless = (await box.exists(`${at}/wireless`)) || (await box.exists(`${at}/phy80211`));
    const type = await box.text(`${at}/type`);
    const mac = await box.text(`${at}/address`);
    // -1 while nothing is plugged in.
    const speed = Number((await box.text(`${at}/speed`)) ?? -1);
    found.push({
      name,
      kind: wireless ? 'wireless' : type === ethernetType ? 'ethernet' : 'other',
      up: (await box.text(`${at}/operstate`)) === 'up',
      ...(mac !== undefined && /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(mac) && { mac }),
      ...(Number.isSafeInteger(speed) && speed > 0 && { speedMbits: speed }),
    });
  }
  return found.slice(0, hardwareNetworksMax);
}

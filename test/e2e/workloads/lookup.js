// A workload of the end-to-end tests: asks the service `resolver`, by UDP, again and again for a name, and says what it was told. Each
// question is from another source port, as a resolver's are.

import { lookup, Resolver } from 'node:dns/promises';
import { setTimeout } from 'node:timers/promises';

const { address } = await lookup('resolver');
const resolver = new Resolver({ timeout: 2_000, tries: 2 });
resolver.setServers([`${address}:${process.env.RESOLVER_PORT}`]);
for (;;) {
  try {
    const [[node], [found]] = await Promise.all([resolver.resolveTxt('probe.test'), resolver.resolve4('probe.test')]);
    console.log(`${found} by ${node.join('')}`);
  } catch (error) {
    console.log(`failed: ${error.message}`);
  }
  await setTimeout(200);
}

// Every kind of frame that arrives from the network. A further one is one entry: valid frames, how to make hostile ones, and what must hold.

import { capsuleKinds } from './capsules.ts';
import { carryingKinds } from './carrying.ts';
import { enrollmentKinds } from './enrollment.ts';
import { frameKinds } from './frames.ts';
import { linkKinds } from './links.ts';
import { nameKinds } from './names.ts';
import { replicationKinds } from './replication.ts';
import type { HostileKind } from './run-kind.ts';
import { signedKinds } from './signed.ts';
import { streamKinds } from './streams.ts';

export const kinds: readonly HostileKind[] = [
  ...frameKinds,
  ...capsuleKinds,
  ...carryingKinds,
  ...signedKinds,
  ...linkKinds,
  ...enrollmentKinds,
  ...replicationKinds,
  ...nameKinds,
  ...streamKinds,
];

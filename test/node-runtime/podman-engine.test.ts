// The docker engine against the conformance body on Debian's podman, which speaks Docker's API too, and what differs there.

import test from 'ava';
import { testEngine } from '../conformance/engine.ts';
import { skip } from '../skip.ts';
import { containersUnderTest } from './container-world.ts';
import { podmanMissing, startPodman } from './podman.ts';

const missing = await podmanMissing();
const podman = missing === undefined ? await startPodman() : undefined;
test.after.always(() => podman?.close());

/** This file's own: an engine beside it, of another test, knows nothing of the networks that are being made here. */
const range = '10.213.0.0/16';

if (podman === undefined) test('the docker engine on podman', (t) => skip(t, missing ?? ''));
else {
  testEngine(test.serial, 'podman', () => containersUnderTest(podman.host, range));
}

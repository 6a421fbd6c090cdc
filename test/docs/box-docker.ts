// A real Docker Engine inside a box of box.ts, at the usual socket, with the images that the documentation names: made of a static
// busybox, since no registry can be reached. It ends with its box.

import type { ExecutionContext } from 'ava';
import { eventually } from '../eventually.ts';
import { dockerMissing } from '../node-runtime/dockerd.ts';
import { skip } from '../skip.ts';
import type { Box } from './box.ts';

const image = 'busybox:1.36';

async function run(box: Box, command: string): Promise<string> {
  const running = box.start(command);
  if ((await running.ended) !== 0) throw new Error(`${command}\n${running.printed()}`);
  return running.printed();
}

/** Resolves when it answers. Containers are removed when the test ends: each has a control group outside the box. */
export async function startBoxDocker(t: ExecutionContext, box: Box, folder: string): Promise<void> {
  const missing = await dockerMissing();
  if (missing !== undefined) return skip(t, missing);
  const words = `--data-root ${folder}/docker --exec-root ${folder}/docker-exec --bridge none --log-level warn`;
  const engine = box.start(`exec dockerd ${words}`);
  t.teardown(async () => {
    await run(box, 'docker ps --all --quiet | xargs -r docker rm --force --volumes').catch((error) => t.log(error));
    engine.child.kill('SIGKILL');
  });
  await eventually(() => run(box, 'docker version'), {
    deadlineMs: 60_000,
    everyMs: 200,
    what: `dockerd: ${engine.printed()}`,
  });
  await run(
    box,
    `mkdir -p rootfs/bin && cp "$(command -v busybox)" rootfs/bin &&
     for applet in $(busybox --list); do [ $applet = busybox ] || ln -s busybox rootfs/bin/$applet; done &&
     tar -C rootfs -c . | docker import - ${image} && rm -r rootfs`,
  );
}

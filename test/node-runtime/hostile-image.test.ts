// Images that are made to harm the node that runs them, on a real dockerd: what they say of themselves and what they hold.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { DockerSpec } from '../../control/plan.ts';
import type { ContainerFacts } from '../../node-runtime/docker-client.ts';
import { describeAll } from '../../node-runtime/docker-describe-all.ts';
import type { Engine, Launch } from '../../node-runtime/engine.ts';
import { DockerRefusedError, DockerUnavailableError } from '../../node-runtime/errors.ts';
import { launchOf } from '../conformance/engine.ts';
import { skip } from '../skip.ts';
import { createContainerWorld } from './container-world.ts';
import { busyboxImage, type Dockerd, dockerMissing, startDockerd } from './dockerd.ts';

const missing = await dockerMissing();
const dockerd: Dockerd | undefined = missing === undefined ? await startDockerd() : undefined;
test.after.always(() => dockerd?.close());

const range = '10.223.0.0/16';
const deadlineMs = 60_000;

/** Builds an image on top of busybox's. */
async function build(docker: Dockerd, name: string, instructions: string): Promise<string> {
  const folder = await mkdtemp(join(docker.folder, 'build-'));
  await writeFile(join(folder, 'Dockerfile'), `FROM ${busyboxImage}\n${instructions}\n`);
  await docker.docker('build', '--quiet', '--network', 'none', '--tag', name, folder);
  await rm(folder, { recursive: true });
  return name;
}

async function ends(engine: Engine, instance: string): Promise<number | undefined> {
  return (await engine.waitForExit(instance, AbortSignal.timeout(deadlineMs))).status;
}

async function lines(engine: Engine, instance: string): Promise<string[]> {
  const all: string[] = [];
  for await (const { text } of engine.logs(instance, { tail: 100, follow: false })) all.push(text);
  return all;
}

/** A shell in a container of that image. */
function inImage(image: string, script: string, instance: string): Launch & { spec: DockerSpec } {
  const { spec, ...rest } = launchOf(['/bin/sh', '-c', script], { instance });
  const { command: _, workingDirectory: __, ...common } = spec;
  return { ...rest, spec: { ...common, engine: 'docker', image, command: ['/bin/sh', '-c', script] } } as Launch & {
    spec: DockerSpec;
  };
}

if (dockerd === undefined) test('hostile images', (t) => skip(t, missing ?? ''));
else {
  test.serial(
    'attack: a container with megabytes of labels, as its image may have them, takes the engine away from nobody',
    async (t) => {
      const world = await createContainerWorld(dockerd.host, range);
      t.teardown(world.close);
      const away: (string | undefined)[] = [];
      world.engine.subscribe(() => away.push(world.engine.unavailable()));
      const other = launchOf(['/bin/sh', '-c', 'sleep 1000'], { instance: 'default.app.other.0' });
      await world.engine.launch(other);

      const labels = Object.fromEntries(Array.from({ length: 30 }, (_, at) => [`l${at}`, 'x'.repeat(50_000)]));
      const hostile = inImage(busyboxImage, 'exit 3', 'default.app.big.0');
      await world.launchAsIs({ ...hostile, spec: { ...hostile.spec, labels } });
      t.is(await ends(world.engine, hostile.instance), 3);
      // An event that comes after its own is heard.
      const ended = world.engine.waitForExit(other.instance);
      await world.engine.terminate(other.instance, 0);
      await ended;
      t.deepEqual(away, [], 'the engine was there all the time');
    },
  );

  test.serial('attack: an image that says its containers are the node’s makes none of a stranger’s', async (t) => {
    const world = await createContainerWorld(dockerd.host, range);
    const { owner, engine } = world;
    const launch = launchOf(['/bin/sh', '-c', 'sleep 1000']);
    await engine.launch(launch);
    const labels = (instance: string): string =>
      `LABEL io.selvedge.fabric=${owner.fabricId} io.selvedge.node=${owner.node} io.selvedge.instance=${instance}`;
    const image = await build(dockerd, 'hostile/owned', labels('default.app.another.0'));
    const same = await build(dockerd, 'hostile/same', labels(launch.instance));
    const created = await dockerd.docker('create', '--network', 'none', image, 'true');
    const running = await dockerd.docker('run', '--detach', '--network', 'none', same, 'sleep', '1000');
    t.teardown(async () => {
      await dockerd.docker('rm', '--force', created, running);
      await world.close();
    });
    const next = await world.adopt();
    for (const one of [engine, next])
      t.deepEqual(
        (await one.list()).map(({ instance }) => instance),
        [launch.instance],
      );
    await next.terminate('default.app.another.0', 0);
    await next.remove('default.app.another.0');
    await next.terminate(launch.instance, 0);
    await next.remove(launch.instance);
    const left = await dockerd.docker('ps', '--all', '--quiet', '--no-trunc');
    t.deepEqual(left.split('\n').sort(), [created, running].sort());
    t.is(await dockerd.docker('inspect', '--format', '{{.State.Running}}', running), 'true');
  });

  test.serial('attack: the health check of an image is not run, and what else it says is no way out', async (t) => {
    const world = await createContainerWorld(dockerd.host, range);
    t.teardown(world.close);
    const image = await build(
      dockerd,
      'hostile/says',
      `HEALTHCHECK --interval=1ms --timeout=1s --retries=1 CMD echo beat >> /beats
RUN mkdir -p /etc && echo "app:x:4294967296:0::/:/bin/sh" > /etc/passwd
USER app
VOLUME ["/data"]
ENTRYPOINT ["/bin/sh", "-c", "exit 99"]
STOPSIGNAL SIGCONT
ENV SELVEDGE_NODE=other`,
    );
    const volumes = await dockerd.docker('volume', 'ls', '--quiet');
    const files = [{ path: 'password', content: Buffer.from('hidden') }];
    const look =
      'cat /selvedge/secrets/db/password; echo; touch /selvedge/x 2>/dev/null && echo writes; sleep 2; wc -l < /beats || echo none';
    const launch = inImage(image, look, 'default.app.says.0');
    await world.launchAsIs({ ...launch, mounts: [{ kind: 'secrets', name: 'db', files }] });
    t.is(await ends(world.engine, launch.instance), 0);
    const said = await lines(world.engine, launch.instance);
    t.is(said[0], 'hidden');
    t.true(said.includes('none'), said.join(' '));
    t.false(said.includes('writes'));
    await world.engine.remove(launch.instance);
    t.is(await dockerd.docker('volume', 'ls', '--quiet'), volumes, 'no volume of an image is left');
  });
}

test('attack: one container that Docker cannot describe, as with a pipe for its /etc/passwd, takes no other one away', async (t) => {
  const facts = (id: string) => ({ Id: id }) as ContainerFacts;
  const inspect = async (id: string): Promise<ContainerFacts | undefined> => {
    if (id === 'stuck') throw new DockerUnavailableError('Docker did not describe a container within 30000 ms');
    return id === 'gone' ? undefined : facts(id);
  };
  const ids = ['a', 'stuck', 'gone', ...Array.from({ length: 40 }, (_, at) => `b${at}`)];
  const left = ids.filter((id) => id !== 'stuck' && id !== 'gone').map(facts);
  t.deepEqual(await describeAll({ inspect, ping: async () => undefined }, ids), left);
  const silent = async (): Promise<void> => {
    throw new DockerUnavailableError('no sign of life');
  };
  await t.throwsAsync(describeAll({ inspect, ping: silent }, ids), { message: /no sign of life/ });
  const refusing = async (): Promise<undefined> => {
    throw new DockerRefusedError('describe a container', 'no');
  };
  const attempt = describeAll({ inspect: refusing, ping: silent }, ids);
  await t.throwsAsync(attempt, { instanceOf: DockerRefusedError });
});

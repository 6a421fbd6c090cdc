// Volumes of programs: a folder of the node that outlives the instance; those of containers are in docker-engine.test.ts.

import test from 'ava';
import { LaunchRefusedError } from '../../node-runtime/errors.ts';
import { launchOf } from '../conformance/engine.ts';
import { createProcessWorld } from './process-world.ts';

const instance = 'default.app.web.0';

test('what a program writes to its volume is there after its removal, and another instance has its own', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  const run = async (script: string, of = instance): Promise<number | undefined> => {
    const launch = launchOf(['/bin/sh', '-c', script], { instance: of });
    await world.engine.launch({ ...launch, spec: { ...launch.spec, volumes: [{ name: 'sensor-data' }] } });
    const { status } = await world.engine.waitForExit(of);
    await world.engine.remove(of);
    return status;
  };
  t.is(await run('echo kept > "$VOLUME_SENSOR_DATA/words"'), 0);
  t.is(await run('grep kept "$VOLUME_SENSOR_DATA/words"'), 0);
  t.is(await run('test -e "$VOLUME_SENSOR_DATA" && test ! -e "$VOLUME_SENSOR_DATA/words"', 'default.app.web.1'), 0);
  t.is(await world.text('.volumes', instance, 'sensor-data', 'words'), 'kept\n');
  t.deepEqual(await world.engine.list(), []);
});

test('a volume’s name cannot lead out of its folder', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  const launch = launchOf(['/bin/true']);
  for (const name of ['..', 'a/b', '', 'A']) {
    const spec = { ...launch.spec, volumes: [{ name }] };
    await t.throwsAsync(world.engine.launch({ ...launch, spec }), { instanceOf: LaunchRefusedError });
  }
});

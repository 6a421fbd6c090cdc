// Plug and play on a real daemon with the process engine: the box's devices are a tree made for the test, everything else is real. What
// the node publishes has the published form.

import { access, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { createClient } from '../../control/cli/client.ts';
import { hardwareSchema } from '../../control/hardware.ts';
import { type Daemon, startDaemon } from '../../node-runtime/daemon.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { eventually } from '../eventually.ts';
import { createHardwareTree } from '../node-runtime/hardware-tree.ts';

const adapter = { port: '1-2', vendor: '0403', product: '6001', serial: 'A50285BI', name: 'FT232R USB UART' };
const instance = 'default.metering.reader.0';
const manifest = {
  apiVersion: 'selvedge/v1',
  kind: 'Application',
  metadata: { name: 'metering' },
  spec: {
    microservices: [
      {
        name: 'reader',
        engine: 'process',
        // Ends by itself, should the test not come to end it.
        command: ['/bin/sh', '-c', 'echo "reads $DEVICE_METER"; exec sleep 180'],
        placement: { devices: [{ name: 'meter', kind: 'serial', vendor: '0403', product: '6001' }] },
      },
    ],
  },
};

test('a program starts when its device is plugged in, stops when it is pulled out, and outlives its daemon', async (t) => {
  const clock = createSystemClock();
  const tree = await createHardwareTree();
  const dataFolder = await mkdtemp('/tmp/selvedge-plug-');
  let daemon: Daemon | undefined;
  const start = async (): Promise<void> => {
    daemon = await startDaemon({
      ...{
        dataFolder,
        port: 0,
        name: 'box1',
        found: true,
        fabricName: 'plug',
        router: 'interior',
        labels: {},
        join: [],
      },
      ...{ hardwareRoot: tree.root, options: { location: 'hall 2, by the press' } },
    });
  };
  const client = createClient({ socketPath: join(dataFolder, 'selvedge.sock') });
  t.teardown(async () => {
    await client.down(true).catch(() => undefined);
    await daemon?.stop();
    await rm(dataFolder, { recursive: true, force: true });
    await rm(tree.root, { recursive: true, force: true });
  });
  await start();
  const view = async () => (await client.application('default', 'metering')).instances[0];
  const ready = () => eventually(async () => (await view())?.ready, { what: 'it is ready' });
  const says = async (): Promise<string> =>
    await readFile(join(dataFolder, 'instances', instance, 'stdout.log'), 'utf8');

  await client.apply([manifest], ['test']);
  await eventually(async () => /has no device for meter/.test((await view())?.reason ?? ''), {
    what: 'it has no place',
  });

  const pluggedAt = clock.now();
  await tree.plugAdapter(adapter, 'ttyUSB0');
  await ready();
  t.log(`from plugging in to ready: ${clock.now() - pluggedAt} ms`);
  await eventually(async () => (await says()).includes(`reads ${tree.root}/dev/ttyUSB0\n`), {
    what: 'it has its device',
  });
  const pid = (await view())?.pid as number;

  const node = await eventually(async () => {
    const told = await client.node('box1');
    return told.hardware?.devices.length === 2 ? told : undefined;
  });
  t.deepEqual(hardwareSchema.strict().parse(node.hardware), node.hardware);
  t.is(node.hardware?.system, 'Test Linux 1');
  t.is(node.location, 'hall 2, by the press');

  // The next daemon finds it with its device, and touches nothing.
  await daemon?.stop();
  await start();
  await ready();
  t.is((await view())?.pid, pid);

  const pulledAt = clock.now();
  await tree.unplugAdapter('1-2', 'ttyUSB0');
  const waiting = await eventually(async () => {
    const one = await view();
    return one?.state === 'waiting' && one.reason.startsWith('waits for device meter') ? one : undefined;
  });
  t.log(`from pulling out to stopped: ${clock.now() - pulledAt} ms`);
  t.regex(waiting.reason, /^waits for device meter \(serial 0403:6001\), gone since \d{4}-/);
  t.deepEqual([waiting.restarts, waiting.failures], [0, 0]);
  await t.throwsAsync(access(`/proc/${pid}`), { code: 'ENOENT' });

  await tree.plugAdapter({ ...adapter, port: '1-4', plugging: 9 }, 'ttyUSB3');
  await ready();
  await eventually(async () => (await says()).includes(`reads ${tree.root}/dev/ttyUSB3\n`), {
    what: 'it has it again',
  });
});

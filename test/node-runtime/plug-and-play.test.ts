// Plug and play through the whole composition on virtual time: an application is applied, placed by what nodes say they have, starts when
// its device is there, stops when it goes, and goes on with no controller.

import test from 'ava';
import type { Device } from '../../control/hardware.ts';
import { createSimFabric } from './sim-fabric.ts';

const device: Device = {
  ...{ id: 'serial:0403:6001:A5:if0', kind: 'serial', name: 'FT232R', paths: ['/dev/ttyUSB0'] },
  ...{ vendor: '0403', product: '6001', serial: 'A5', port: '1-2', plugging: 4 },
};

const need = (more = {}) => ({ name: 'meter', kind: 'serial', vendor: '0403', ...more });

function reader(name: string, placement: object, more: object = {}): unknown {
  return {
    apiVersion: 'selvedge/v1',
    kind: 'Application',
    metadata: { name },
    spec: { microservices: [{ name: 'reader', engine: 'process', command: ['sim', 'run'], placement, ...more }] },
  };
}

test('it is placed where the device is, stays there when the device goes, and starts and stops with it', async (t) => {
  const fabric = await createSimFabric(t, 'plug-and-play');
  const box2 = await fabric.join('box2');
  const view = async (name = 'default.metering.reader.0') => {
    const found = await fabric.controller().status.instance(name);
    if (found === undefined) throw new Error(`there is no ${name}`);
    return found;
  };
  const described = async () => (await fabric.controller().status.node('box2'))?.hardware;
  await fabric.until('box2 has told of its box', async () => (await described()) !== undefined);

  await fabric.during(fabric.controller().apply.apply([reader('metering', { devices: [need()] })], {}));
  await fabric.until('it says why it has no place', async () =>
    /box1: has no device for meter \(serial 0403:\*\).*box2: has no device/.test((await view()).reason),
  );

  box2.hardware.plug(device);
  await fabric.until('it runs on box2', async () => (await view()).ready);
  t.is((await view()).node, 'box2');
  t.deepEqual((await described())?.devices, [device]);
  t.true(fabric.said('box2').includes('device there: serial:0403:6001:A5:if0 (FT232R), /dev/ttyUSB0'));
  const [launched] = await box2.engine.list();
  t.is(launched?.env['DEVICE_METER'], '/dev/ttyUSB0');

  // The same device at another box moves nothing.
  fabric.founder.hardware.plug({ ...device, id: 'serial:0403:6001:B7:if0', serial: 'B7' });
  box2.hardware.unplug(device.id);
  await fabric.until('it waits', async () => (await view()).state === 'waiting');
  await fabric.until('it says for what', async () =>
    /^waits for device meter \(serial 0403:\*\), gone since /.test((await view()).reason),
  );
  const waiting = await view();
  t.is(waiting.node, 'box2');
  t.deepEqual([waiting.restarts, waiting.failures], [0, 0]);
  t.true((waiting.history ?? []).some(({ state, reason }) => state === 'stopping' && /is gone/.test(reason)));

  box2.hardware.plug({ ...device, plugging: 5, paths: ['/dev/ttyUSB1'] });
  await fabric.until('it runs again', async () => (await view()).ready);
  const [again] = await box2.engine.list();
  t.is(again?.env['DEVICE_METER'], '/dev/ttyUSB1');
  t.is((await view()).restarts, 0);

  // One more instance goes where a device is free.
  await fabric.during(
    fabric.controller().apply.apply([reader('metering', { devices: [need()] }, { replicas: 3 })], {}),
  );
  await fabric.until('the second is at box1', async () => (await view('default.metering.reader.1')).ready);
  t.is((await view('default.metering.reader.1')).node, 'box1');
  t.regex((await view('default.metering.reader.2')).reason, /box1: has no free device .*box2: has no free device/);

  // No controller: the node decides by itself.
  fabric.founder.crash();
  const own = async () =>
    (await box2.node().status()).nodes[0]?.instances.find(({ name }) => name.endsWith('.reader.0'));
  box2.hardware.unplug(device.id);
  await fabric.until('it waits without a controller', async () => (await own())?.state === 'waiting');
  box2.hardware.plug({ ...device, plugging: 6 });
  await fabric.until('it runs without a controller', async () => (await own())?.ready === true);
});

test('a daemon that was killed finds its instance and its device again, and one that it lost meanwhile', async (t) => {
  const fabric = await createSimFabric(t, 'plug-and-adopt');
  const box2 = await fabric.join('box2');
  box2.hardware.plug(device);
  const name = 'default.metering.reader.0';
  await fabric.during(fabric.controller().apply.apply([reader('metering', { node: 'box2', devices: [need()] })], {}));
  const view = async () => await fabric.controller().status.instance(name);
  await fabric.until('it runs', async () => (await view())?.ready === true);
  const before = (await box2.engine.list())[0]?.startedAt;

  box2.crash();
  await fabric.clock.advance(1_000);
  await box2.start();
  // For a moment the controller still believes what it heard last.
  const isUp = () => box2.node().member() !== undefined;
  await fabric.until('it is heard again', async () => isUp() && (await view())?.ready === true);
  t.is((await box2.engine.list())[0]?.startedAt, before, 'it was not touched');

  box2.crash();
  box2.hardware.unplug(device.id);
  await fabric.clock.advance(1_000);
  await box2.start();
  await fabric.until('it was ended', async () => (await view())?.state === 'waiting');
  t.regex((await view())?.reason ?? '', /waits for device meter/);
});

test('of two on one node the first has the device, the other says who, and gets it when that is removed', async (t) => {
  const fabric = await createSimFabric(t, 'plug-and-share');
  fabric.founder.hardware.plug(device);
  await fabric.until(
    'box1 told of it',
    async () => ((await fabric.controller().status.node('box1'))?.hardware?.devices.length ?? 0) > 0,
  );
  const { apply, status } = fabric.controller();
  await fabric.during(apply.apply([reader('first', { devices: [need()] })], {}));
  await fabric.until('it runs', async () => (await status.instance('default.first.reader.0'))?.ready === true);
  await fabric.during(apply.apply([reader('second', { devices: [need()] })], {}));
  await fabric.until('the second has no place', async () =>
    /has no free device/.test((await status.instance('default.second.reader.0'))?.reason ?? ''),
  );
  t.is((await status.instance('default.first.reader.0'))?.node, 'box1');
  await fabric.during(apply.deleteApplication('default', 'first'));
  await fabric.until(
    'the second has it',
    async () => (await status.instance('default.second.reader.0'))?.ready === true,
  );
});

// Which instance gets which device, and when it has lost it.

import test from 'ava';
import type { DeviceNeed } from '../../control/devices.ts';
import type { Device } from '../../control/hardware.ts';
import { deviceChanges } from '../../node-runtime/hardware/device-changes.ts';
import { createDeviceClaims } from '../../node-runtime/hardware/device-claims.ts';
import { createSimHardware } from '../../simulations/sim-hardware.ts';

const usb: Device = {
  ...{ id: 'usb:0403:6001:A5', kind: 'usb', name: 'FT232R', paths: ['/dev/bus/usb/001/004'] },
  ...{ vendor: '0403', product: '6001', serial: 'A5', port: '1-2', plugging: 4 },
};
const serial: Device = {
  ...usb,
  ...{ id: 'serial:0403:6001:A5:if0', kind: 'serial', paths: ['/dev/ttyUSB0'], partOf: usb.id },
  links: ['/dev/serial/by-id/usb-A5'],
};
const board: Device = { id: 'serial:ttyS0', kind: 'serial', name: 'ttyS0', paths: ['/dev/ttyS0'] };
const meter: DeviceNeed = { name: 'meter', kind: 'serial', vendor: '0403' };
const shared = { ...meter, shared: true };

function world(...devices: Device[]) {
  const hardware = createSimHardware();
  for (const device of devices) hardware.plug(device);
  const freed = { times: 0 };
  const onFreed = (): void => {
    freed.times += 1;
  };
  return { hardware, freed, claims: createDeviceClaims({ hardware, clock: { now: () => 1_000 }, onFreed }) };
}

test('what is needed is found by kind, ids, serial number, path and link', (t) => {
  const { claims } = world(board, serial, usb);
  const fits = (need: Partial<DeviceNeed>) => claims.claim('a', [{ name: 'x', kind: 'serial', ...need }]) === undefined;
  t.true(fits({}));
  t.true(fits({ vendor: '0403', product: '6001', serial: 'A5' }));
  t.true(fits({ path: '/dev/ttyUSB0' }));
  t.true(fits({ path: '/dev/serial/by-id/usb-A5' }));
  t.true(fits({ kind: 'usb' }));
  t.false(fits({ serial: 'A6' }));
  t.false(fits({ path: '/dev/ttyUSB1' }));
  t.false(fits({ kind: 'video' }));
});

test('a device is for one, the other hears who has it, and gets it when it is given back', (t) => {
  const { claims, freed } = world(serial, usb);
  t.is(claims.claim('first', [meter]), undefined);
  t.is(claims.claim('first', [meter]), undefined, 'asking again changes nothing');
  t.is(claims.claim('second', [meter]), 'waits for device meter (serial 0403:*): first has it');
  // The port is a part of the USB device.
  t.is(claims.claim('third', [{ name: 'raw', kind: 'usb' }]), 'waits for device raw (usb): first has it');
  t.is(freed.times, 0);
  claims.release('first');
  claims.release('first');
  t.is(freed.times, 1, 'who waits hears of it once');
  t.is(claims.claim('second', [meter]), undefined);
  // Another specification that needs none.
  t.is(claims.claim('second', undefined), undefined);
  t.is(freed.times, 2);
});

test('those who say shared have it together, and nobody else with them', (t) => {
  const { claims } = world(serial);
  t.is(claims.claim('first', [shared]), undefined);
  t.is(claims.claim('second', [shared]), undefined);
  t.is(claims.claim('third', [meter]), 'waits for device meter (serial 0403:*): first has it');
});

test('all or nothing: what one lacks leaves the rest to others', (t) => {
  const { claims } = world(serial);
  const both = [meter, { name: 'camera', kind: 'video' as const }];
  t.is(claims.claim('first', both), 'waits for device camera (video)');
  t.is(claims.claim('second', [meter]), undefined);
});

test('who loses one of two gives the other back', (t) => {
  const { claims, hardware, freed } = world(serial, board);
  const two: DeviceNeed[] = [meter, { name: 'console', kind: 'serial', path: '/dev/ttyS0' }];
  t.is(claims.claim('first', two), undefined);
  hardware.unplug(serial.id);
  t.regex(claims.lost('first') ?? '', /its device meter .* is gone/);
  t.regex(claims.claim('first', two) ?? '', /waits for device meter/);
  t.is(freed.times, 1);
  t.is(claims.claim('second', [{ name: 'any', kind: 'serial' }]), undefined);
});

test('two names are two devices', (t) => {
  const { claims, hardware } = world(serial);
  const two: DeviceNeed[] = [
    { name: 'left', kind: 'serial' },
    { name: 'right', kind: 'serial' },
  ];
  t.is(claims.claim('a', two), 'waits for device right (serial): this microservice has it under another name');
  hardware.plug(board);
  t.is(claims.claim('a', two), undefined);
});

test('what is gone is lost, since when is said, and it is found again where it comes back', (t) => {
  const { claims, hardware } = world(serial);
  t.is(claims.claim('a', [meter]), undefined);
  t.is(claims.lost('a'), undefined);
  hardware.unplug(serial.id);
  t.is(claims.lost('a'), 'its device meter (serial 0403:*) is gone');
  t.is(claims.claim('a', [meter]), 'waits for device meter (serial 0403:*), gone since 1970-01-01T00:00:01.000Z');
  t.is(claims.lost('a'), undefined, 'it has nothing any more');
  hardware.plug({ ...serial, plugging: 5, paths: ['/dev/ttyUSB7'] });
  t.is(claims.claim('a', [meter]), undefined);
  t.is(claims.given('a', 'process').env['DEVICE_METER'], '/dev/ttyUSB7');
});

test('one that was plugged in again within one look is another: open files on it are dead', (t) => {
  const { claims, hardware } = world(serial);
  claims.claim('a', [meter]);
  hardware.plug({ ...serial, plugging: 5 });
  t.is(claims.lost('a'), 'its device meter (serial 0403:*) was plugged in again');
  t.is(claims.claim('a', [meter]), undefined);
  t.is(claims.lost('a'), undefined);
});

test('what ran on keeps its device by its environment; one that was plugged in again meanwhile is lost', (t) => {
  const { claims, hardware } = world(serial);
  claims.claim('a', [meter]);
  const { env } = claims.given('a', 'docker');

  const next = createDeviceClaims({ hardware, clock: { now: () => 1 }, onFreed: () => undefined });
  next.adopt('a', [meter], env);
  t.is(next.lost('a'), undefined);
  t.is(next.claim('b', [meter]), 'waits for device meter (serial 0403:*): a has it');

  hardware.plug({ ...serial, plugging: 5 });
  const later = createDeviceClaims({ hardware, clock: { now: () => 1 }, onFreed: () => undefined });
  later.adopt('a', [meter], env);
  t.regex(later.lost('a') ?? '', /was plugged in again/);
  for (const odd of [{}, { SELVEDGE_DEVICES: 'no JSON' }, { SELVEDGE_DEVICES: '{"meter":{"id":7}}' }]) {
    const without = createDeviceClaims({ hardware, clock: { now: () => 1 }, onFreed: () => undefined });
    without.adopt('a', [meter], odd);
    t.regex(without.lost('a') ?? '', /is gone/, JSON.stringify(odd));
  }
});

test('a program is told the path on its box, a container the one inside', (t) => {
  const { hardware } = world({ ...serial, paths: ['/dev/video0', '/dev/video1'], kind: 'video' });
  const claims = createDeviceClaims({
    hardware: { ...hardware, hostPath: (path) => `/box${path}` },
    clock: { now: () => 1 },
    onFreed: () => undefined,
  });
  claims.claim('a', [{ name: 'front-door', kind: 'video' }]);
  t.is(claims.given('a', 'process').env['DEVICE_FRONT_DOOR'], '/box/dev/video0');
  const { env, devices } = claims.given('a', 'docker');
  t.is(env['DEVICE_FRONT_DOOR'], '/dev/video0');
  t.deepEqual(devices, [
    { host: '/box/dev/video0', path: '/dev/video0' },
    { host: '/box/dev/video1', path: '/dev/video1' },
  ]);
  t.deepEqual(claims.given('b', 'docker'), { env: {}, devices: [] });
});

test('what came and went is said once each', (t) => {
  const again = { ...serial, plugging: 9 };
  t.deepEqual(deviceChanges([board, serial], [again, usb]), [
    'gone: serial:ttyS0, /dev/ttyS0',
    'plugged in again: serial:0403:6001:A5:if0 (FT232R), /dev/ttyUSB0',
    'there: usb:0403:6001:A5 (FT232R), /dev/bus/usb/001/004',
  ]);
  t.deepEqual(deviceChanges([serial], [serial]), []);
});

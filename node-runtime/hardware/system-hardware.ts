// The box that this runs on. Called by daemon.ts. Node has no way to hear the kernel's own word of devices (netlink), so it watches the
// folders where udev and the kernel make files for them, and looks at the names of all of them now and then.
//
// `/dev` itself is not watched: many kernels tell such a watch of every write to `/dev/null` and to every serial port.

import { type FSWatcher, watch } from 'node:fs';
import type { Hardware } from '../../control/hardware.ts';
import type { Clock, TimerId } from '../clock.ts';
import { createBoxFiles } from './box-files.ts';
import type { BoxHardware } from './hardware.ts';
import { recheckMs, rereadMs, settleMs, settleMsMax, watchesMax } from './limits.ts';
import { type Box, readBox } from './read-hardware.ts';

/** udev writes a file for each device; the kernel makes one for each USB device, udev or not. */
const watched = ['/run/udev/data', '/dev/bus/usb', '/dev/serial/by-id', '/dev/v4l/by-id', '/dev/dri'];
const looked = [
  ...['/dev', '/dev/serial/by-id', '/dev/v4l/by-id', '/dev/dri', '/sys/bus/usb/devices', '/sys/block'],
  ...['/sys/class/tty', '/sys/class/video4linux', '/sys/class/drm', '/sys/class/tpm'],
];
const networks = '/sys/class/net';

export function createSystemHardware({ clock, ...place }: Box & { clock: Clock }): BoxHardware {
  const box = createBoxFiles(place.root);
  const listeners = new Set<() => void>();
  const watchers = new Map<string, FSWatcher>();
  let current: Hardware | undefined;
  let said = '';
  let names = '';
  let readAt = 0;
  let running = false;
  let reading: Promise<void> | undefined;
  let again = false;
  let settling: { since: number; timer: TimerId } | undefined;
  let rechecking: TimerId;

  const buses = (): string[] =>
    box
      .namesNow('/dev/bus/usb')
      .filter((name) => /^\d{3}$/.test(name))
      .map((name) => `/dev/bus/usb/${name}`);

  /** Without the ends of containers, which nobody publishes: each start of one would have everything read again. */
  function namesNow(): string {
    const ofDevices = box.namesNow(networks).filter((name) => box.existsNow(`${networks}/${name}/device`));
    return JSON.stringify([ofDevices, ...[...looked, ...buses()].map((folder) => box.namesNow(folder))]);
  }

  /** Folders come with the first device of their kind. */
  async function watchAll(): Promise<void> {
    for (const folder of [...watched, ...buses()]) {
      if (!running || watchers.has(folder) || watchers.size >= watchesMax) continue;
      try {
        const watcher = watch(box.hostPath(folder), { persistent: false }, sign);
        const end = (): void => {
          watcher.close();
          if (watchers.get(folder) === watcher) watchers.delete(folder);
        };
        watcher.on('error', end);
        watchers.set(folder, watcher);
      } catch {
        // No such folder, or no watch left: the slow look finds it.
      }
    }
    // A watch on a folder that was removed says nothing more, also when there is a new one.
    for (const [folder, watcher] of watchers) {
      if (await box.exists(folder)) continue;
      watcher.close();
      watchers.delete(folder);
    }
  }

  function sign(): void {
    if (!running) return;
    const now = clock.now();
    const since = settling?.since ?? now;
    clock.clearTimeout(settling?.timer);
    const wait = Math.max(0, Math.min(settleMs, since + settleMsMax - now));
    const timer = clock.setTimeout(() => {
      settling = undefined;
      void read();
    }, wait);
    settling = { since, timer };
  }

  async function readOnce(): Promise<void> {
    // Before the look: what comes meanwhile is a difference at the next one.
    names = namesNow();
    const next = await readBox(place);
    readAt = clock.now();
    await watchAll();
    const text = JSON.stringify(next);
    if (text === said) return;
    said = text;
    current = next;
    if (running) for (const listener of [...listeners]) listener();
  }

  async function read(): Promise<void> {
    if (reading !== undefined) {
      again = true;
      return await reading;
    }
    reading = (async () => {
      do {
        again = false;
        await readOnce();
      } while (again && running);
    })().finally(() => {
      reading = undefined;
    });
    await reading;
  }

  async function recheck(): Promise<void> {
    if (settling === undefined && reading === undefined) {
      if (clock.now() - readAt >= rereadMs) await read();
      else if (namesNow() !== names) sign();
    }
    if (running) rechecking = clock.setTimeout(() => void recheck(), recheckMs);
  }

  return {
    async start() {
      if (running) return;
      running = true;
      await read();
      rechecking = clock.setTimeout(() => void recheck(), recheckMs);
    },
    stop() {
      running = false;
      clock.clearTimeout(rechecking);
      clock.clearTimeout(settling?.timer);
      settling = undefined;
      for (const watcher of watchers.values()) watcher.close();
      watchers.clear();
    },
    current() {
      if (current === undefined) throw new Error('the hardware was not read yet');
      return current;
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    hostPath: box.hostPath,
  };
}

// Every bound of this folder, each with its reason. How much is published is bounded in control/limits.ts.

/** Read of one file of the kernel: `/proc/cpuinfo` of 64 cores is 90 kB and only its first lines count, the others have a line. */
export const boxFileBytesMax = 128 * 1024;
/** What is made ready for one of them; four times as much whenever that is full. */
export const boxFileBytesUsual = 4 * 1024;
/** Names looked at in one folder: `/sys/class/tty` has 64 consoles of its own, `/dev` some hundreds. */
export const boxFolderNamesMax = 2_048;
/** Devices of one kind that are looked at, before those are taken that are published. */
export const lookedAtMax = 256;

/** From the first sign of a change until it is looked at: meanwhile udev sets rights and makes links, and a plug is pushed home. */
export const settleMs = 300;
/** Signs that do not end put that off no longer than this. */
export const settleMsMax = 1_500;
/** A look at the names in a dozen folders, for what gives no sign (a box without udev) or when the kernel has no watch left. */
export const recheckMs = 5_000;
/** Everything is read again: speeds of links, sizes of drives. */
export const rereadMs = 60_000;
/** Folders watched: one for each USB bus, and a few. */
export const watchesMax = 48;

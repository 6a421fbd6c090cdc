// Every bound of a runner, each with its reason. Read by wasm-launch.ts too, which makes room for them.

/** What a module may be asked and may answer; both are held in memory. */
export const requestBytesMax = 1024 * 1024;
export const responseBytesMax = 4 * 1024 * 1024;
/** Requests that wait for their turn, with their bodies: 64 MiB at most. One more is answered 503. */
export const requestsWaitingMax = 64;
/** Connections at once: a tunnel keeps one for each call. */
export const connectionsMax = 1_024;
/** How long a caller may take to send a request. */
export const requestReceiveMs = 30_000;
/** A thread that nobody needs is given back after this, but for one: a thread costs 10 MB, and 30 ms to start. */
export const threadIdleMs = 30_000;
/** A thread must end within this once it is told to; V8 ends a loop within milliseconds. Otherwise the whole runner ends. */
export const threadEndMs = 5_000;
/** Runs of one thread between two collections: until then the files and folders of a run stay open. */
export const runsBetweenCollections = 32;
/** A run with more memory than this is collected at once, so that the next one does not come on top. */
export const collectAtOnceBytes = 4 * 1024 * 1024;
/** Of what is said of a module that cannot be run: a module's names may be long. */
export const faultCharactersMax = 300;
/** V8's own heap in a thread; a module has none of it but its tables. */
export const threadHeapMb = 64;

// Every bound of the command line, each with its reason.

/** Bytes of one manifest file: a thousand applications' worth of text; more is a file given by mistake. */
export const manifestBytesMax = 4 * 1024 * 1024;
/** Documents in one `apply`: the API takes no more. */
export const documentsMax = 200;
/** Aliases that a YAML document may resolve: a shared probe in each of a hundred microservices; ten levels of an alias bomb are 10^10. */
export const yamlAliasesMax = 200;
/** Levels of flow collections and of dashes on one line: far beyond any manifest (8), far below what overflows the parser's stack. */
export const yamlDepthMax = 64;
/** Bytes of one file that `fromFile` names: the API takes no larger one. */
export const configFileBytesMax = 1024 * 1024;
/** Bytes of all files of one `apply`: with base64 (4/3) they fit one request of 8 MiB. */
export const configBytesMax = 5 * 1024 * 1024;
/** Bytes of one value of a Secret: the API takes no larger one. */
export const secretFileBytesMax = 256 * 1024;
/** Bytes of a token in a file: tokens have some hundred. */
export const tokenBytesMax = 4096;

/** Bytes of an answer: a status of 10,000 nodes is some 10 MB. */
export const answerBytesMax = 64 * 1024 * 1024;
/** Bytes of one log line: engines cut longer ones. */
export const logLineBytesMax = 1024 * 1024;
/** Silence before a daemon counts as hanging: an `apply` waits up to 1 s for a second controller, and disks are slow. */
export const answerMs = 30_000;
/** An answer to `ping` needs nothing but a turn of the daemon's loop. */
export const pingMs = 2_000;
/** Linux: sun_path has 108 bytes with the closing zero (unix(7)). */
export const socketPathBytesMax = 107;

/** How often `wait` looks: unnoticeable for a person, 20 small answers a second for the daemon. */
export const waitEveryMs = 50;
/** How often `events --follow` and `status --watch` look. */
export const followEveryMs = 500;
export const watchEveryMs = 1_000;
/** A terminal with fewer rows scrolls: below this a status says nothing. */
export const screenRowsMin = 20;
/** `up --detach` waits this long for the socket to answer: a small box loads the program in some seconds. */
export const detachMs = 30_000;
/** A log of a detached daemon that is larger at the start is moved aside, and replaces the one moved before. */
export const detachedLogBytesMax = 16 * 1024 * 1024;
/** Lines of its log shown when a detached daemon fails. */
export const detachedLogLinesShown = 20;
/** `down` waits this long for the daemon to be gone, beyond the time its workloads get to end. */
export const downMs = 60_000;
/** Signals within this of the first one are the same Ctrl-C: a terminal sends it to the whole group, and npm passes it on. */
export const sameSignalMs = 1_000;
/** Waiting shorter than this needs no words; then a line says what is waited for, and moves. */
export const progressAfterMs = 400;
export const progressEveryMs = 100;
/** The longest duration an option may give: 10 years. */
export const durationMsMax = 10 * 365 * 86_400_000;

// --- Installation ---
/** One systemctl command: stopping takes at most the unit's TimeoutStopSec of 30 s. */
export const systemctlMs = 60_000;
/** Lines of the daemon's journal shown when it does not come up. */
export const journalLinesShown = 20;
/** `install` waits this long for the daemon's socket, and for a fabric to be founded. */
export const installStartMs = 60_000;
/** A daemon that has been started again this often before it answered will not answer. */
export const installRestartsMax = 3;
/** A start under systemd that lasts this long is none of a row of failures. */
export const startLastsMs = 60_000;
/** Before the third start of such a row, doubled for each one more: a try costs half a second of a processor. */
export const startPauseMs = 2_000;
/** A box is well again this long after what stood in the way is gone. */
export const startPauseMsMax = 60_000;
/** `install` with a token waits this long for the box to be admitted; later it happens without it. */
export const installJoinMs = 20_000;
/** `uninstall` waits this long for workloads to end: a spec may give one an hour. */
export const uninstallWorkloadsMs = 3_660_000;
/** Output of the founding daemon that is kept to explain why it could not found a fabric. */
export const foundingOutputBytesMax = 64 * 1024;

// --- Demo ---
/** A daemon loads and founds a fabric in about a second; a busy small box may need many. */
export const demoStartMs = 60_000;
/** Found by mDNS (up to 5 s between queries), admitted, certified. */
export const demoJoinMs = 60_000;
export const demoLinkMs = 30_000;
/** From `apply` to ready: tens of milliseconds, unless the box is overloaded. */
export const demoReadyMs = 60_000;
/** Until readings have grown: they pass sensor, monitor and dashboard. */
export const demoCheckMs = 30_000;
/** How often the dashboard is asked, and for how long readings must go on growing. */
export const demoCheckEveryMs = 200;
export const demoCheckGrowthMs = 2_500;
/** A step that is told to end may take this long to say why. */
export const demoAbortMs = 50;
/** Daemons end their workloads and themselves within this, or are killed. */
export const demoStopMs = 20_000;
/** How often the demo looks whether something holds. */
export const demoEveryMs = 15;
/** Lines of a daemon's output that are kept to explain a failure. */
export const demoLogLinesMax = 200;
export const demoLogLinesShown = 15;
/** The demo's tokens are used at once. */
export const demoTokenTtlMs = 10 * 60_000;
/** A step's deadline beyond that of the wait inside it, which knows why it was in vain. */
export const demoStepMarginMs = 2_000;

/** Of a support bundle before it is packed: what a mail takes when it is. */
export const bundleBytesMax = 32 * 1024 * 1024;
/** Of each of its parts: days of a daemon's log. */
export const bundlePartBytesMax = 2 * 1024 * 1024;
/** Files of the data folder that it lists: hundreds of instances have some ten each. */
export const bundleFilesMax = 10_000;
/** Of one folder: a workload may have millions in its volume, and the others are to be listed too. */
export const bundleFolderFilesMax = 1_000;
/** Lines of the daemon's log; of each workload's a quarter of that. */
export const bundleLogLines = 2_000;
export const bundleEvents = 1_000;
/** One command of the box. */
export const bundleCommandMs = 10_000;
/** Of one file that is read for the secrets in it: larger ones are no text. */
export const bundleSecretBytesMax = 4 * 1024 * 1024;

/** What an operator may say that a link costs: a minute is dearer than any other way. */
export const linkCostMsMax = 60_000;

/** Rows of nodes, links or services without --all: a few screens. */
export const topologyRowsShown = 200;

/** What nodes say of a gateway is looked at this often, and waited for so long: a linked node says it within a second. */
export const gatewayEveryMs = 100;
export const gatewaySettledMs = 10_000;

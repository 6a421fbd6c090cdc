// Every bound of this folder, each with its reason.

/** Instances in one plan: a box that runs more is beyond what one Node process can watch with probes each second. */
export const planInstancesMax = 1_000;
/** Files in one plan: each is a document and a file of the obeyed copy. */
export const planFilesMax = 4_000;

/** Writes of one observed document that may follow each other at once: a start is waiting, creating, starting, running, ready. */
export const observationBurstWrites = 6;
/** A step on the way to ready is written after this, unless the next one has followed: a quick start is one write, and its replication does not take the time of the start. */
export const observationPassingMs = 150;
/** Afterwards one write a period: a crash loop must not fill the mailbox. */
export const observationPeriodMs = 1_000;
/** What could not be written (a full disk) is written after this, or what is true by then. */
export const observationRetryMs = 5_000;

/** Neighbours in one message of a link. */
export const neighboursMax = 1_024;
/** Who connects must prove membership, or be asking to be admitted, within this time. */
export const unadmittedMs = 20_000;
/** Dialling and proving membership to a neighbour; a box under load answers late, a dead one never. */
export const establishMs = 10_000;

/** After a dial that failed, until another peer may take the place: below what anybody notices, and no storm where the network is gone. */
export const chooseAgainMs = 250;

/** How long a workload that nobody plans any more may take to end before it is killed. */
export const stopKillMarginMs = 10_000;

/** A path inside the data folder; Linux takes 4,096 bytes, the data folder's own path included. */
export const DISK_PATH_BYTES_MAX = 1_024;
/** A file of the data folder is read into memory as a whole; the largest real one is a plan of 1,000 instances. */
export const DISK_FILE_BYTES_MAX = 32 * 1024 * 1024;

/** Ports drawn before giving up: a draw only fails when a port was promised to an instance that does not listen yet. */
export const FREE_PORT_TRIES = 32;

/** Read of a probe's answer; a health page is smaller, and a download must not fill memory each second. */
export const PROBE_BODY_BYTES_MAX = 64 * 1024;
export const PROBE_HEADER_BYTES_MAX = 16 * 1024;
/** Of the workload's own words in a reason: they are copied into documents. */
export const PROBE_REASON_CHARACTERS_MAX = 160;

/** An instance's name is a folder's name (255 bytes), with room for suffixes. */
export const INSTANCE_NAME_CHARACTERS_MAX = 200;
/** All of a command; the kernel takes 128 KiB for one argument and 2 MiB for arguments and environment together. */
export const COMMAND_BYTES_MAX = 64 * 1024;
/** All of the given environment, names and values. */
export const ENVIRONMENT_BYTES_MAX = 256 * 1024;
/** One variable, name and value: the kernel's MAX_ARG_STRLEN is 128 KiB. */
export const ENVIRONMENT_VARIABLE_BYTES_MAX = 120 * 1024;
/** Lines of names for one instance: one a service that it may call. */
export const HOSTS_LINES_MAX = 1_024;
/** Files of one launch, and their bytes together: they are held in memory while they are written. */
export const LAUNCH_FILES_MAX = 1_024;
export const LAUNCH_FILE_BYTES_MAX = 32 * 1024 * 1024;
/** launch.json: a command and an environment, with JSON's escapes. */
export const LAUNCH_RECORD_BYTES_MAX = 4 * 1024 * 1024;

/** Of a process of Node.js 24 that idles, measured: 512 MiB for V8's code and 50 for stacks count as data (RLIMIT_DATA), at 42 MiB in memory. */
export const NODE_RESERVED_BYTES = 576 * 1024 * 1024;

/** From spawn to the workload's own record; a box that swaps takes seconds, one that never answers is broken. */
export const LAUNCH_RECORD_WAIT_MS = 10_000;
/** Look again this often while waiting for it; the watch on the folder answers first. */
export const LAUNCH_RECORD_POLL_MS = 25;
/** A launch found without any record is given this long before it counts as never started (the daemon died in between). */
export const LAUNCH_GRACE_MS = 2_000;
/** Look again for an end this often: the watch on the folder answers first, this is for watches that the kernel drops. */
export const EXIT_POLL_MS = 2_000;
/** So many of these looks may be at the shim alone before the records are read again: half a minute. */
export const EXIT_QUIET_LOOKS_MAX = 15;
/** The same for a workload whose shim was killed: nothing in its folder changes when it ends. */
export const ORPHAN_POLL_MS = 250;
/** Between two rounds of SIGKILL: a process that forks can slip through one. */
export const KILL_ROUND_MS = 50;
/** How long SIGKILL may take before the processes are reported as unkillable. */
export const KILL_WAIT_MS = 10_000;
/** The helper commands of the start (does the kernel give names?) answer in milliseconds. */
export const DETECTION_MS = 5_000;

/** Programs of a node with a network of their own: a thousand of them, and as many services that they call; the usual range has 64 such parts. */
export const PROCESS_RANGE_PREFIX = 21;
/** At the node's address in it, so that no two nodes of a box take the same one; registered for AppleTalk, which is gone. */
export const PROCESS_RANGE_LOCK_PORT = 202;
/** A call on the box itself is answered by the kernel: whom it does not answer by then, after two tries, a packet filter keeps from it. */
export const NETWORK_CALL_MS = 2_500;
/** A command for networks of programs takes milliseconds, and seconds on a box that has much else to do; one that has not ended by then hangs. */
export const NETWORK_COMMAND_MS = 60_000;
/** A packet filter that somebody else changes is waited for so long. */
export const PACKET_FILTER_MS = 10_000;
/** All rules of a box: some have tens of thousands. */
export const PACKET_FILTER_BYTES_MAX = 64 * 1024 * 1024;
/** Who reloads the box's packet filter drops our rules with it: they are back after this at the latest. A look costs two programs. */
export const PACKET_FILTER_CHECK_MS = 15_000;

/** One log file of an instance: moved aside when it is larger, and that file has at most twice this. What is written between two looks comes on top. */
export const LOG_BYTES_MAX = 4 * 1024 * 1024;
/** How often sizes are looked at: is how exactly history of both streams is put in order. */
export const LOG_CHECK_MS = 1_000;
/** The same for a quiet one whose first write is heard of: for watches that the kernel drops. */
export const LOG_QUIET_CHECK_MS = 5_000;
/** The same while a log grows fast, and after the first write to a quiet one: a look takes a fifth of a millisecond, a rotation three. */
export const LOG_FLOOD_CHECK_MS = 20;
/** Of what a workload wrote faster than its log was moved aside, the end: what it said last is what is looked for. */
export const LOG_CUT_BYTES_MAX = 256 * 1024;
/** Sizes noted for that order: 17 minutes of steady output exactly, what is older ever less so. */
export const LOG_MARKS_MAX = 1_024;
/** A longer line is delivered in pieces. */
export const LOG_LINE_BYTES_MAX = 16 * 1024;
/** Lines that `tail` may ask for, and how much of each stream is searched for them. */
export const LOG_TAIL_LINES_MAX = 10_000;
export const LOG_TAIL_BYTES_MAX = 1024 * 1024;
/** Read at once from one stream, so that a loud one does not starve the other. */
export const LOG_CHUNK_BYTES = 64 * 1024;
/** Looks at both streams for a moment when neither is written to: a loud workload never has one. */
export const LOG_LOOKS_MAX = 3;
/** How soon a follower sees a line: below what a person notices as a delay. */
export const LOG_FOLLOW_MS = 100;

/** Lines of history in one answer across the mesh. */
export const logTailMax = 10_000;
/** Instances that are gone whose last lines are kept on a node: with the bytes of each, 16 MiB of disk at most. */
export const goneLogsMax = 32;
/** Of one of them, as JSON: thousands of lines, and read into memory at once. */
export const goneLogBytesMax = 512 * 1024;
/** After a week nobody asks any more, and what a workload wrote is not kept for ever. */
export const goneLogAgeMsMax = 7 * 86_400_000;
/** With less free than both the room is for what runs: plans, logs of instances, the store. */
export const goneLogBytesFreeMin = 64 * 1024 * 1024;
export const goneLogBytesFreePartMin = 0.05;
/** Between two looks at age and room. */
export const goneLogLookMs = 600_000;
/** A node that does not say in this time whether it has the log of a gone instance is taken to have none. */
export const goneLogSearchMs = 3_000;
/** The text that lines are searched for: what a person types. */
export const logGrepCharactersMax = 256;
/** What was refused or failed lately, in `observed/node`. */
export const problemsMax = 20;

/** A controller looks this often whether a node's authority has reached half of its life, which is 15 days. */
export const authorityCheckPeriodMs = 3_600_000;
/** Facts live as long as facts may: longer than any certificate of the node that they are about. */
export const controllerFactLifetimeMs = 400 * 86_400_000;
/** Addresses of a controller in its fact: a box with more interfaces is reachable by these. */
export const controllerAddressesMax = 16;
/** Where other nodes' workloads reach this node's; another port when it is taken. */
export const tunnelPort = 7434;

/** Messages of one link that wait for a slow reader; beyond, the link is ended and begun anew. Statements wait elsewhere (mesh/spreading.ts): these are
 * what nodes say of themselves and their neighbours. */
export const linkMessagesWaitingMax = 1_024;
/** Neighbours that tell of others, and how many each: whoever lies fills its own share alone. */
export const hintingPeersMax = 64;
export const hintsPerPeerMax = 1_024;
/** After a choice of links that somebody found on the network caused, the next such one waits: each costs a millisecond where many were found. */
export const foundChoiceMs = 100;
/** A replication in which the far end says nothing for so long is begun anew; what arrived stays. */
export const replicaSilenceMs = 60_000;
/** Nodes in one message of neighbours, and how often it is told: a fabric that starts changes many times a second. */
export const neighboursPerMessageMax = 256;
export const neighboursPeriodMs = 500;
/** Peers whose failed attempts are remembered. */
export const failedPeersMax = 4_096;
/** Conversations with one peer: one each way while both begin at once. */
export const sessionsPerPeerMax = 2;

/** Any answer of Docker but a pull: creating a container on a slow card takes seconds. */
export const DOCKER_ANSWER_MS = 30_000;
/** How often Docker is asked for a sign of life, and how long one may take: a frozen one is noticed within 7 s, one on a box under load answers in time. */
export const DOCKER_PING_PERIOD_MS = 2_000;
export const DOCKER_PING_MS = 5_000;
/** One pull: a large image over a slow uplink; it is tried again afterwards and keeps the layers it has. */
export const DOCKER_PULL_MS = 2 * 3_600_000;
/** Between two words about a pull: each is a document on its way to the controller. */
export const DOCKER_PULL_TELL_MS = 2_000;
/** Layers of one image that are counted; Docker itself takes 127. */
export const DOCKER_PULL_LAYERS_MAX = 256;
/** Images that this node remembers having pulled; those beyond stay on the box. */
export const pulledImagesMax = 256;
/** An image that nothing used for a week is for no rollback any more, and a site with a slow uplink has had it for a while. */
export const imageUnusedMsMax = 7 * 86_400_000;
/** Between two looks at who uses the images: two questions to Docker, and one small file while one of them is unused. */
export const imageLookMs = 900_000;
/** Less free than both, where Docker keeps its data, and unused images go at once: the next pull may need as much. */
export const imageBytesFreeMin = 2 * 1024 * 1024 * 1024;
export const imageBytesFreePartMin = 0.1;
/** The node's start waits this long for Docker to say what runs; later it is found when it answers. */
export const DOCKER_FIRST_LOOK_MS = 3_000;
/** Between two tries to reach Docker, doubled from one to the other: a restart of dockerd takes seconds. */
export const DOCKER_RETRY_MS = 250;
export const DOCKER_RETRY_MS_MAX = 5_000;
/** Look again at a container this often while waiting for its end: the events answer first. */
export const DOCKER_EXIT_POLL_MS = 30_000;
/** Containers that Docker is asked to describe at a time. */
export const DOCKER_INSPECTS_MAX = 8;
/** One line of JSON that Docker sends; a container's labels are in an event. */
export const DOCKER_LINE_BYTES_MAX = 1024 * 1024;
/** A container's log that Docker keeps: each of two files. */
export const DOCKER_LOG_FILE_BYTES_MAX = 4 * 1024 * 1024;
/** Lines kept of a container that was replaced, and of what the engine itself says about an instance. */
export const DOCKER_KEPT_LINES_MAX = 1_000;
/** A container's question is passed to so many of the box's resolvers, and each is given so long: together less than the 4 s that Docker's own resolver gives us. */
export const DNS_RESOLVERS_MAX = 3;
export const DNS_FORWARD_MS = 1_200;
/** Questions passed on at a time, for one container and for all: each holds a socket. */
export const DNS_FORWARDS_EACH_MAX = 64;
export const DNS_FORWARDS_MAX = 512;
/** Networks of one node, one for each application: rules of the packet filter are walked for each packet, and the usual range has 128 parts. */
export const DOCKER_NETWORKS_MAX = 100;
/** Connections of the containers' resolver: TCP is for what does not fit in a packet. */
export const DNS_CONNECTIONS_MAX = 512;
/** Of one container: none takes them from the others. */
export const DNS_CONNECTIONS_EACH_MAX = 8;
/** One question, EDNS and a signature; over UDP as much as resolvers send without fragments. */
export const DNS_UDP_QUERY_BYTES_MAX = 1_232;
export const DNS_TCP_QUERY_BYTES_MAX = 4_096;
export const DNS_CONNECTION_IDLE_MS = 10_000;
/** How long a service's address may be kept by who asked: a service may leave the plan at any time. */
export const DNS_ANSWER_TTL_S = 5;
/** New service names of a running instance are tried again after this. */
export const renameRetryMs = 2_000;

/** While the node's authority is outside its time, workload certificates are made again this often: a clock that was set is noticed. */
export const unusableRetryMs = 600_000;

// --- Doctor ---
/** Where other nodes reach this one unless `up --port` says otherwise. */
export const defaultMeshPort = 7433;
/** One question to a socket, a command or an address: a LAN answers in milliseconds. */
export const doctorProbeMs = 2_000;
/** One check with all its questions; a busy small box needs seconds to start a process. */
export const doctorCheckMs = 10_000;
/** A packet that a box sends to itself comes back at once, or never. */
export const multicastEchoMs = 500;
/** The clock may be this much behind what the data folder has seen: clocks are set back a little when they are synchronised. */
export const clockBehindMs = 300_000;
/** Less free than this cannot take a plan and its files (32 MiB each, written beside the old ones). */
export const diskBytesFreeFail = 64 * 1024 * 1024;
/** A few instances with full logs (16 MiB each) and a store. */
export const diskBytesFreeWarn = 1024 * 1024 * 1024;
/** Part of all inodes. */
export const inodesFreePartWarn = 0.02;
/** A node's authority is renewed 15 days before its end; with less than a week left something is wrong. */
export const authorityWarnMs = 7 * 86_400_000;
/** An issuing authority is signed by the root key, which may be far away (design: 90 days). */
export const issuingAuthorityWarnMs = 90 * 86_400_000;

/** What the mailbox delivered and could not be stored (a full disk) is looked at again after this. */
export const planRetryMs = 5_000;

// --- Memory (dense-heap.ts) ---
/** From the daemon's start: joining, its first plan and a usual number of instances are behind it then. */
export const denseHeapMs = 5_000;

// --- Conditions of the box (box-health.ts) ---
/** Between two looks while all is well: three system calls. */
export const boxLookMs = 10_000;
/** While something is not: what is mended is noticed within this. */
export const boxWatchMs = 2_000;
/** The fsync of a small file takes 5 ms on a disk and up to 1 s on a bad card. */
export const slowDiskMs = 3_000;
/** Less free than this and LevelDB cannot tidy up (tables of 2 MiB), while single small writes still pass. */
export const diskBytesFreeFull = 8 * 1024 * 1024;
/** Part of the descriptors in use from which something is wrong: 200 are usual, a router of a large fabric has thousands. */
export const descriptorsPartMax = 0.9;
/** What a daemon wants: 52 are open at rest; files of the store, links, requests and launches under way come on top. */
export const descriptorsWanted = 512;
/** … and for each of its instances: its address, and calls, probes and readers of its log at the same time. At rest it has one. */
export const descriptorsWantedPerInstance = 8;
/** Let go when none is left: a few questions on the socket, each with a file or two. */
export const descriptorsHeldBack = 16;
/** A node with 500 links and 500 instances has some 3,000. */
export const descriptorsFewWarn = 4_096;
/** A node syncs some ten files when it starts and some five for each change. */
export const fsyncWarnMs = 250;
/** Conditions that a node tells its neighbours, and the text of each. */
export const conditionsMax = 8;
export const conditionCharactersMax = 400;

// --- Problems that peers bring about (peer-problems.ts) ---
/** Of one peer in a window: as many as a peer of another version may bring at once; then a summary is enough. */
export const peerProblemsMax = 150;
export const peerProblemsWindowMs = 60_000;
/** Of all peers, strangers included: 300 lines a minute are 60 MB of log a day at worst. */
export const peerProblemsTotalMax = 300;
/** Peers whose problems are counted; a stranger makes as many peer ids as it likes, then the total alone limits. */
export const peerProblemPeersMax = 1_024;

// --- Approval by code (admissions.ts, approving.ts) ---
/** Controllers that a box registers with at the same time: with their share of checks (pki/limits.ts) nobody starves another. */
export const registrationsMax = 16;
/** Answers on the LAN that are remembered: most are nodes that are no controllers, and are asked once a minute. */
export const registrationCandidatesMax = 1_024;
/** When more answer than may be registered with, the others get their turn after this. */
export const registrationTurnMs = 60_000;
/** With --trust-lan: how long a second fabric gets to answer after the first one was seen. mDNS answers within a second. */
export const trustLanWaitMs = 5_000;
/** Wrong proofs that a box reports in a minute. */
export const wrongProofsReportedMax = 20;

/** Denied calls in `observed/node`: those of a minute or so, and below what a controller reads. */
export const observedDenialsMax = 16;
/** Links in `observed/node`: a router with more tells of the first. */
export const observedLinksMax = 256;
/** Nodes of which it is kept when they were linked last. */
export const unlinkedPeersMax = 10_000;
/** Peers in it that this node wants and cannot reach. */
export const unreachedMax = 32;
/** Characters of why: a dial of many addresses says each. */
export const unreachedReasonCharactersMax = 200;
/** How often a node looks whether what it says of its links is still so: in memory, and a link's cost or traffic may wait. */
export const linkNewsLookMs = 10_000;
/** What changes all the time is said no more often than this: a write and its replication take some 5 kB, of 31 bytes a second that an idle node may send. */
export const linkNewsMs = 300_000;
/** Another cost is news when it differs by this part of the one that was said, and by so much: nobody looks at a millisecond. */
export const linkNewsCostPart = 0.5;
export const linkNewsCostMicrosecondsMin = 2_000;
/** Traffic is news after so much more: telling of it costs less than a hundredth of that. Signs of life alone take weeks for it. */
export const linkNewsBytes = 1024 * 1024;

/** Milliseconds without any of a command's output after its end; whoever holds its pipes longer, or so often says more, is no part of it. */
export const EXEC_OUTPUT_WAIT_MS = 200;
export const EXEC_OUTPUT_LOOKS_MAX = 25;
/** Exec sessions at once from each side, the mesh and the node's own socket: each holds a process. */
export const execSessionsMax = 16;
/** What is typed and not taken by the command yet; the typing end knows it too (control/limits.ts). */
export const execInputBytesMax = 256 * 1024;
/** A session in which nothing is typed or printed: longer than a meeting, shorter than a night. */
export const execIdleMs = 3_600_000;
/** Between two sizes that a command's terminal is given: a window that is dragged has dozens a second. */
export const execResizeMs = 100;
/** Docker knows no terminal of a command until it has started it: how often, and for how long it is tried. */
export const execResizeTryMs = 50;
export const execResizeTries = 20;
/** To find and kill what a session has left: processes that fork meanwhile are found in the next round. */
export const execEndMs = 2_000;
export const execEndRoundMs = 20;
/** Of the file with credentials for registries: hundreds of them. */
export const registryAuthBytesMax = 256 * 1024;
/** Of an exec probe's output: a reason needs no more. */
export const probeOutputBytesMax = 4 * 1024;

/** Steps of an instance's life that its observation holds: three crashes with all that lies between them, in 2 kB. */
export const transitionsMax = 15;
export const transitionReasonCharactersMax = 120;

/** Between two announcements of this node: far below the second in which callers must hear of a change. */
export const announceIntervalMs = 50;

/** Between two times that what others serve is put in order and acted upon: of 10,000 instances that takes some 20 ms. */
export const endpointsToldMs = 50;

/** Things that are fetched ahead at a time: instances that start have most of the line. */
export const stageAtOnceMax = 2;
/** What the plan does not name any more is fetched on for so long: an instance that needs it takes the pull over. */
export const stageLingerMs = 5_000;
/** Of why it failed: what a node says of all of them fits into one document. */
export const stageReasonCharactersMax = 300;
/** Things to fetch ahead in one plan: twice what a controller of this version asks for. */
export const planStageItemsMax = 128;
/** What a node says of itself rests longer after more bytes: a full part is a quarter of a second, and hundreds of crash loops cost each
 * neighbour no more than this. */
export const announcedBytesPerSecond = 1_000_000;

// --- Modules (wasm-modules.ts, wasm-launch.ts; those of a runner are in wasm/limits.ts) ---
/** A module is compiled and held in memory by each of its instances; the largest language runtimes have 30 MB. */
export const MODULE_BYTES_MAX = 64 * 1024 * 1024;
/** Modules that no instance uses any more are kept up to this: a rollback needs no network. */
export const MODULE_CACHE_BYTES_MAX = 256 * 1024 * 1024;
/** One fetch: the largest module over a slow uplink (40 kB/s); it is tried again from its beginning. */
export const MODULE_FETCH_MS = 30 * 60_000;
/** Nothing came for this long: the other side is gone. */
export const MODULE_SILENCE_MS = 30_000;
/** To compile a module for a look into it: the largest take 7 s on two busy cores. */
export const MODULE_LOOK_MS = 5 * 60_000;
/** What is said of it is one sentence. */
export const MODULE_VERDICT_BYTES_MAX = 16 * 1024;
/** Between two words about a fetch: each is a document on its way to the controller. */
export const MODULE_TELL_MS = 2_000;
/** One request in a module, and how many at a time, where the manifest says nothing. */
export const REQUEST_TIMEOUT_MS = 10_000;
export const REQUEST_CONCURRENCY = 4;
/** What a runner needs beside the module's memory, in its control group: Node's heap and code (measured: 20 MB), the compiled module. */
export const RUNNER_BYTES = 128 * 1024 * 1024;
/** Beside that for requests: bodies that wait (64 MiB), and for each that runs a thread (10 MB) with its answer twice. */
export const RUNNER_REQUESTS_BYTES = 64 * 1024 * 1024;
export const RUNNER_THREAD_BYTES = 24 * 1024 * 1024;
/** Memory of a module grows in pages of this. */
export const WASM_PAGE_BYTES = 65_536;
/** Code that V8 makes of a module, in MB: the largest modules take a third of it. */
export const WASM_CODE_MB = 512;

/** A container's /etc/passwd, to find out whose its secrets are: a few kilobytes, also where hundreds may log in. */
export const DOCKER_PASSWD_BYTES_MAX = 1024 * 1024;

/** A container that ends while podman describes it: by the next look it has ended. */
export const DOCKER_INSPECT_TRIES = 5;
/** What a peer may ask for: it keeps itself from being missed, and nobody else. */
export const keepAliveSaidMsMax = 300_000;
/** A link that stood for so long is tried again at once when it is lost; one that goes as it comes waits as after any failure. */
export const linkStoodMs = 2_000;
/** An edge node looks for routers that are closer than its uplinks so long after its start, then twice as long each time until it is an hour, half of
 * that more or less. */
export const uplinkLookFirstMs = 60_000;
export const uplinkLookMsMax = 3_600_000;
/** Routers that one look measures, and between two of them: each is a connection of one round trip. */
export const measuredPerLookMax = 3;
export const measurePauseMs = 4_000;
/** To the first round trip, which a connection samples as soon as it is quiet. */
export const measureMs = 5_000;
/** Routers whose measure is remembered: as many as one neighbour may tell of. */
export const measuredRoutersMax = 1_024;
/** A new uplink stands for so long before a farther one is let go: what it costs was measured a few times by then. */
export const uplinkSettleMs = 30_000;
/** How often a link through others is tried directly in the end: one failed dial a minute, where most such links stay as they are. */
export const directRetryMs = 60_000;
/** A new address of such a peer is tried after this: by then both ends have said what they are, and most links that can be direct are so at once. */
export const directFirstMs = 1_000;

/** Gateways that a node publishes, and that it tells of: each is a listening port. */
export const planGatewaysMax = 256;
export const gatewaysObservedMax = 64;
export const gatewayReasonCharactersMax = 300;
/** How often a node tells how many connections its gateways have, while that changes. */
export const gatewayToldMs = 10_000;
/** Who was turned away by gateways, in the daemon's output: of one address, and of all, in a minute. */
export const gatewayRefusalsMax = 2;
export const gatewayRefusalsTotalMax = 30;
export const gatewayRefusalsWindowMs = 60_000;
export const gatewayRefusalAddressesMax = 256;

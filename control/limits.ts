// Every bound of this folder, each with its reason.

// --- Manifests (manifest-schema.ts, manifest-checks.ts). What one apply may ask for; beyond these a plan no longer fits one document. ---
/** Documents in one apply: a large application with its configs is a dozen. */
export const manifestDocumentsMax = 200;
/** Levels of nesting in one document; the deepest field there is has 8. */
export const manifestDepthMax = 16;
/** Values in one document: counted before anything recursive looks at it (YAML aliases can multiply). */
export const manifestValuesMax = 50_000;
/** Reasons listed in one refusal: more than an operator reads at once. */
export const manifestIssuesMax = 50;
/** Names of nodes in a refusal: more than fit a line or two help nobody. */
export const nodesShownMax = 20;
/** Microservices in one application. */
export const microservicesMax = 100;
/** Replicas of one microservice. */
export const replicasMax = 1000;
/** Instances of one application: its placement record lists them all (about 60 bytes each). */
export const applicationInstancesMax = 5000;
/** Words of a command; and characters of one word (Linux allows 128 KiB for one). */
export const commandWordsMax = 256;
export const commandWordCharactersMax = 32_768;
/** Environment variables of a microservice, characters of one value, and bytes of all: the plan repeats them for each instance. */
export const envVariablesMax = 256;
export const envNameCharactersMax = 128;
export const envValueCharactersMax = 16_384;
export const envBytesMax = 65_536;
/** Ports of a microservice: each (instance, service, port) is a listener on every node that calls it. */
export const portsMax = 32;
/** Services of other applications that one microservice calls: each costs it a name and a listening socket. */
export const callsMax = 64;
/** Rules of one policy, and ports of one rule: a policy travels to every node as one signed fact. */
export const policyRulesMax = 32;
export const policyPortsMax = 16;
/** Denied calls in what a node tells of itself, and characters of each text of one. */
export const deniedCallsMax = 16;
export const deniedTextCharactersMax = 512;
/** Causes of one node among those that the ledger tells apart. */
export const deniedCausesMax = 8;
/** Policies of a fabric: every node holds all of them. */
export const policiesMax = 1000;
/** Configs that one microservice mounts, and Secrets. */
export const configsMax = 32;
/** Labels of a node, or of a placement; Kubernetes' bounds on their length. */
export const labelsMax = 64;
export const labelKeyCharactersMax = 253;
export const labelValueCharactersMax = 63;
/** Files of one Config, bytes of one, and of all of one: each is a document that replicates as a whole. */
export const configFilesMax = 256;
export const configFileBytesMax = 1024 * 1024;
export const configBytesMax = 3 * 1024 * 1024;
/** Keys of one Secret, characters of a key's name, bytes of one value and of all: passwords, keys and certificates, with room. */
export const secretKeysMax = 64;
export const secretKeyCharactersMax = 128;
export const secretValueBytesMax = 256 * 1024;
export const secretBytesMax = 1024 * 1024;
/** Microservices that a refusal to delete names: more than fit a line or two help nobody. */
export const contentUsersShownMax = 10;
/** Bytes of chance before a secret's value: nobody guesses them together with a short password. */
export const secretSaltBytes = 32;
/** Characters of a path inside a Config. */
export const configPathCharactersMax = 200;
/** Characters of a path that a slot's name repeats; with the other parts a slot stays a legal file name (255 bytes). */
export const slotPathCharactersMax = 100;
/** Milliseconds that a probe or a stop may take: a day, an hour. */
export const probePeriodMsMax = 86_400_000;
export const stopTimeoutMsMax = 3_600_000;
/** Milliseconds; a day: longer than any start that fails in the end. */
export const healthyAfterMsMax = 86_400_000;
export const probeThresholdMax = 1_000;

// --- Gateways ---
/** `selvedge-gateway-<name>` is the name of the fact that lets it call, a DNS label. */
export const gatewayNameCharactersMax = 46;
/** Gateways of a fabric: each is a fact that every node holds, as a policy is. */
export const gatewaysMax = 500;
/** Routes of one: each is a rule of that fact (`policyRulesMax`). */
export const gatewayRoutesMax = 32;
export const gatewayNodesMax = 64;
export const gatewayPathCharactersMax = 512;
/** Grants of one, declared and added, and ranges of one grant: all are in the plan, and each connection is held against them. */
export const gatewayGrantsMax = 64;
export const gatewayRangesMax = 32;
/** DNS names of one certificate: its node's authority names all of them. */
export const gatewayNamesMax = 16;
/** Of an authority's certificate in PEM: an RSA key of 8192 bits takes half. */
export const gatewayCertificateCharactersMax = 8192;
/** Of what a node says of its gateways is read. */
export const gatewayReasonCharactersMax = 400;
export const gatewaysShownMax = 64;
/** A grant that is added lives no longer than ten years; who wants more declares it. */
export const grantMsMax = 10 * 365 * 86_400_000;
/** Bytes of chance in a token. */
export const grantTokenBytes = 32;

// --- Placement and planner ---
/** Instances on one node: its plan is one document, of some 3 MB then, and one small box runs no more processes than this. */
export const nodeInstancesMax = 640;
/** Reasons (instance x node) in one placement record; later instances of a microservice refer to the first. */
export const unplacedReasonsMax = 1000;
/** Bytes of a signed plan: what pki signs and verifies as one document (jwsBytesMax). */
export const planBytesMax = 4 * 1024 * 1024;
/** Mailboxes written at the same time: enough to keep the store busy, few enough to bound memory. */
export const plannerWritersMax = 32;
/** A mailbox that failed is tried again after this, doubled up to the second. */
export const plannerRetryMs = 500;
export const plannerRetryMsMax = 60_000;
/** Reports that are remembered so that a lasting fault is one event; beyond, they are forgotten and may repeat. */
export const reportedMax = 1000;
/**
 * What has not ended so long after its time to stop was over holds up nothing any more: its node cannot be heard, or cannot end it. Time
 * for a node that starts again to take its plan.
 */
export const leavingMarginMs = 60_000;
/** Instances that the reason of one that stays names: a line or two. */
export const leavingShownMax = 3;
/** Config records whose file hashes are remembered. */
export const hashedConfigsMax = 1000;

// --- Lease ---
/** The longest a lease can be held without renewal; after a start nothing is granted for as long. */
export const leaseMsMax = 10_000;
/** Lines of the journal before it is rewritten with the newest alone. */
export const leaseJournalLinesMax = 200;

// --- Ledger ---
/** Characters of an event's message, subject and type: a line on a screen or two. */
export const eventMessageCharactersMax = 1000;
export const eventSubjectCharactersMax = 253;
export const eventTypeCharactersMax = 64;
/** Identical events within this are counted into one. */
export const eventCollapseMs = 1000;
/** Events with a cause, which others can bring about as often as they like: the time that they are counted over doubles up to this. */
export const eventFloodMsMax = 3_600_000;
/** A cause is forgotten once it was silent for a time of at least this: whoever pauses between two events gets no more than one a minute. */
export const eventCauseMemoryMs = 60_000;
/** Causes that are counted at once; beyond, events are counted by type alone. */
export const eventCausesMax = 32;
/** Different (type, subject) pairs that are counted at once; beyond, events are counted by type alone. */
export const eventCollapseKeysMax = 256;
/** Events that wait to be written; beyond, they are dropped and the number is itself an event. */
export const eventQueueMax = 2000;
/** Events in one answer. */
export const eventPageMax = 1000;

// --- Nodes ---
/** Suffixes tried for a taken default name (`raspberrypi-2` …): a fabric has at most 10,000 nodes. */
export const nodeNameSuffixMax = 10_000;
/** Of an operator's words about a revocation: they are in a fact that every node keeps. */
export const revocationReasonCharactersMax = 200;

// --- API ---
/** Bytes of a request: an apply with a few full configs in base64. */
export const requestBytesMax = 8 * 1024 * 1024;
/** Connections on the local socket: CLIs and one console. */
export const apiConnectionsMax = 128;
/** Log streams followed at once: each holds a connection and a reader. */
export const logFollowersMax = 64;
/** Exec sessions at once: each holds a connection and a process. */
export const execSessionsMax = 16;
/** What is typed and not taken by the command yet: a few pipes full. */
export const execInputBytesMax = 256 * 1024;
/** A frame of a session: what a pipe or Docker brings at once, with room. */
export const execFrameBytesMax = 1024 * 1024;
/** Values in a message of a session: the words of a command and a terminal, with room. */
export const execValuesMax = 1_024;
/** Words of a command, and their characters: as for a workload's. */
export const execArgumentsMax = 256;
export const execCommandBytesMax = 64 * 1024;
/** Columns and rows of a terminal: what the kernel holds of one. */
export const terminalCellsMax = 65_535;
/** Lines of history in one answer. */
export const logTailMax = 10_000;
/** The text that lines are searched for: what a person types; the node accepts no more. */
export const logGrepCharactersMax = 256;
/** A local client sends its headers and its body within these. */
export const apiHeadersMs = 10_000;
export const apiRequestMs = 60_000;
/** How soon it is noticed that one does not: who holds connections and asks nothing keeps nobody else out for longer. */
export const apiRequestCheckMs = 1_000;
export const apiKeepAliveMs = 5_000;
/** What is still being answered may go on this long once the server stops. */
export const apiStopGraceMs = 1_000;
/** Linux: sun_path has 108 bytes with the closing zero (unix(7)). */
export const socketPathBytesMax = 107;
/** Asking an existing socket whether a daemon answers. */
export const socketProbeMs = 2_000;
/** Lines of `problems` in a status. */
export const statusProblemsMax = 100;
/** Uses and lifetime of a token, the same as in pki/limits.ts: a batch of boxes, a week. */
export const tokenUsesMax = 1000;
export const tokenTtlMsMax = 7 * 86_400_000;
export const tokenTtlMsMin = 60_000;

// --- Store and replication ---
/** Bytes of one document as JSON: a plan of `planBytesMax` and its fields. */
export const documentBytesMax = 8 * 1024 * 1024 + 65_536;
/** Characters of a document id: three names of 253 and their separators do not occur, file slots stay below 255. */
export const documentIdCharactersMax = 512;
/** Revisions that PouchDB remembers per leaf: 1,000 (its default) costs 6 ms a write (facts); 50 outlasts an offline spell. */
export const revisionsMax = 50;
/** Revisions in one document's `_revisions` that are accepted: twice ours, so that another setting there does no harm. */
export const revisionsAcceptedMax = 100;
/** Leaves of one document that a peer may list: conflicts are a handful; more is an attack. */
export const leavesMax = 1000;
/** Tries of `update` against concurrent writers: each loses at most to one other writer. */
export const updateAttemptsMax = 20;
/** Open files of the store's LevelDB: LevelDB's minimum is 74; 27 are usual. */
export const levelFilesMax = 100;
/** Free space without which a store that failed is not opened again: a table, a manifest and a new journal beside the old ones. */
export const storeReopenBytesFree = 1024 * 1024;
/** Written to see whether the volume takes anything at all. */
export const storeProbeBytes = 4_096;
/** A store that refused a write is looked at again this often; a write looks at once. */
export const storeReopenMs = 2_000;
/** A read that the box refused (no descriptors) is made again after this. */
export const storeReadRetryMs = 500;
/** Documents per batch of replication: bounds memory, and a checkpoint is written after each. */
export const replicationBatchMax = 32;
/** Batches of changes that are read ahead of the one that is being written. */
export const replicationBatchesMax = 2;
/** Bytes of documents in one batch: 32 config files of 1.4 MB in base64 and a plan. */
export const replicationBatchBytesMax = 64 * 1024 * 1024;
/** Bytes of one frame on a replication stream; longer messages are cut, so that others on the connection get their turn. */
export const replicationFrameBytesMax = 512 * 1024;
/** Bytes of one message: a document of the largest size with its revisions. */
export const replicationMessageBytesMax = 9 * 1024 * 1024;
/** Values in one message: differences of 32 documents with 1,000 leaves each are half of it. 65,536 are read in 0.3 s, 9 MiB of them in 4 s. */
export const replicationValuesMax = 65_536;
/** Bytes of documents after which an answer ends and the rest is asked for again. */
export const replicationAnswerBytes = 1024 * 1024;
/** Rows of changes in one answer. */
export const replicationChangesMax = 100;
/** Requests of one client that are under way; a replicator uses two or three. */
export const replicationOutstandingMax = 16;
/** Requests that wait for one of those. */
export const replicationWaitingMax = 256;
/** Streams of one peer: its mailbox and the bulletin, old ones about to end, and a spare of each. */
export const replicationStreamsPerPeerMax = 6;
/** Checkpoints of one peer in one database: pull and push, and those of databases it made anew; the oldest goes. */
export const checkpointsPerPeerMax = 8;
/** Bytes of one checkpoint: PouchDB keeps five sessions of about 90 bytes. */
export const checkpointBytesMax = 4096;
/** Times that a checkpoint's write may meet a conflict in one run; PouchDB would try for ever. */
export const checkpointConflictsMax = 3;
/** Refusals reported for one stream; the next one says that no more are, and protocol errors then end the stream. */
export const refusalsPerStreamMax = 200;
/** Bytes of an observed document: links and problems of a node, both bounded lists. */
export const observedBytesMax = 65_536;
/** Of what a node says of itself and its instances, as much is shown as an honest one says: 256 links, 20 problems, 15 steps. */
export const observedLinksMax = 256;
export const observedAddressesMax = 64;
/** Peers that it cannot reach: more have one reason. */
export const observedUnreachedMax = 64;
/** What a link may cost: dearer ones are no way (mesh/limits.ts has the same minute). */
export const observedCostMicrosecondsMax = 60_000_000;
export const observedProblemsMax = 64;
export const observedHistoryMax = 64;
/** Of a name in it; and of a reason, which an engine's error may make long. */
export const observedNameCharactersMax = 253;
export const observedReasonCharactersMax = 2_000;
/** Bytes of a tombstone that a node writes: id, revision, and whom it is about. */
export const observedTombstoneBytesMax = 1024;
/** Observed documents in one mailbox: what one node may run (`nodeInstancesMax`), as much again that is ending, and itself. */
export const observedInstancesMax = 1281;
/** Leaves of an observed document: it has one writer; each power cut that sets the node's mailbox back may leave one. */
export const observedLeavesMax = 16;
/** Bytes of all observations in one mailbox: some 600 an instance, ten times that for wordy reasons, and the node's own. */
export const observedMailboxBytesMax = 8 * 1024 * 1024;
/** A mailbox that refuses is counted anew so often: longer than a batch takes to be stored. */
export const observedRecountMs = 60_000;
/** A node that was out of reach may speak this long of instances that a newer plan no longer has, and of so many. */
export const plannedLatelyMs = 86_400_000;
export const plannedLatelyMax = 1000;
/** Bytes of a file slot: a file of `configFileBytesMax` in base64, and its fields. */
export const fileDocumentBytesMax = 1536 * 1024;
/** Certificates of `desired/authority`, and characters of each in base64. */
export const authorityChainMax = 5;
export const certificateCharactersMax = 16_384;
/** Bytes of a bulletin fact: a signature with its chain (5 KB) and a small payload. */
export const factBytesMax = 65_536;

// --- Open window (api-requests.ts): as in pki/limits.ts, which has the last word. ---
export const windowMsMin = 10_000;
export const windowMsMax = 86_400_000;
export const windowAdmissionsMax = 1000;
export const windowRangesMax = 32;

/** Engines of one node: there are two kinds so far. */
export const enginesMax = 8;
/** Of an engine's own words about why it cannot be used. */
export const engineReasonCharactersMax = 300;
/** Of an image's reference: registry, path, tag and digest; a registry's own bound on the path is 255. */
export const imageCharactersMax = 512;
/** Of a module's address: what servers and proxies take. */
export const moduleUrlCharactersMax = 2_048;
/** Of one request in a module: a caller that waits longer than this has long given up. */
export const requestTimeoutMsMax = 600_000;
/** Requests in one instance of a module at a time, each a thread of about 10 MB; more instances take more. */
export const requestConcurrencyMax = 64;

/** The memory of one instance: Docker takes no less than 6 MiB, and no box has more than this. */
export const memoryBytesMin = 6 * 1024 * 1024;
export const memoryBytesMax = 4096 * 1024 * 1024 * 1024;
/** Less is no whole millisecond of Linux's period of 100 ms; no box has more cores than this. */
export const cpusMin = 0.01;
export const cpusMax = 4_096;
/** The kernel's own bound of process numbers. */
export const pidsMax = 4_194_304;

/** Linux has 41 capabilities. */
export const capabilitiesMax = 64;
/** Devices, volumes, limits of one container: more are a mistake. */
export const devicesMax = 64;
/** What of a node's policy is shown; it has a handful of rights, and patterns of images. */
export const policyItemsMax = 64;
export const gpusMax = 64;
/** A container's log on its node: less is one burst, and more fills a card. */
export const logFileBytesMin = 64 * 1024;
export const logFileBytesMax = 256 * 1024 * 1024;
export const logFilesMax = 16;
export const volumesMax = 64;
export const containerLabelsMax = 64;
export const extraHostsMax = 64;

// --- Hardware (hardware.ts, devices.ts) ---
/** Devices in what a node says of its box: two full USB hubs with all that is in them; a hostile one brings no more. */
export const hardwareDevicesMax = 64;
/** Network interfaces and drives of a box, without those of containers. */
export const hardwareNetworksMax = 32;
export const drivesMax = 32;
/** Paths of one device: a camera has up to four, a graphics card two. */
export const devicePathsMax = 8;
/** Of a device's name or serial number. USB allows 126; a table has room for less. */
export const deviceTextCharactersMax = 64;
/** An id has vendor, product, the serial number with its escapes, and the place. */
export const deviceIdCharactersMax = 300;
/** Devices that one microservice may ask for. */
export const deviceNeedsMax = 16;
/** Of the text that says where a node is. */
export const locationCharactersMax = 120;

/** What is fetched ahead stays wanted for so long: a roll-out is prepared in the evening and done the day after. */
export const stageLifetimeMs = 24 * 3_600_000;
/** Images and modules that one node fetches ahead: what it says of them fits into what it says of itself. */
export const nodeStageItemsMax = 64;
/** Of what a node says of one of them. */
export const stageReasonCharactersMax = 300;

/** Of calls that fail on one node, and of what is said beside one instance: a screen shows no more. */
export const callsShownMax = 64;
export const callReasonCharactersMax = 300;

/** Links in one answer: a thousand nodes with two uplinks each, and routers that all know each other; some 200 bytes each. */
export const topologyLinksMax = 20_000;
/** Peers out of reach in one answer: behind so many there is one cause. */
export const unreachedShownMax = 1_000;
/** Of a link whose cost was not said yet, when ways are compared: as dear as one over a country. */
export const unknownLinkCostMicroseconds = 50_000;
/** Callers in one trace: the replicas of one microservice, of which more see the same. */
export const traceCallersMax = 64;
/** Names in one sentence of it. */
export const traceNamesShown = 5;

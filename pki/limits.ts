// Every bound of this folder, each with its reason.

const secondMs = 1000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

/** A root changes by roll-over, not by running out while a box is in the field: twenty years. */
export const rootLifetimeMs = 20 * 365 * dayMs;

/** An issuing authority outlives any stay of the root's key in a safe. */
export const controllerAuthorityLifetimeMs = 365 * dayMs;

/** Renewed at half life, this leaves an isolated site at least 14 days. */
export const nodeAuthorityLifetimeMs = 30 * dayMs;

/** A stolen workload key is worth a day at most. */
export const workloadLifetimeMs = 24 * hourMs;

/** Certificates begin this long before their issue: the verifier's clock may lag by a day. */
export const backdatingMs = 24 * hourMs;

/** A serial of 16 random bytes (RFC 5280 allows 20, asks for unique ones) needs no counter that survives a power cut. */
export const serialBytes = 16;

/** Services that one node authority covers; more would make a certificate too big for a handshake's first flight. */
export const coveredServicesMax = 256;
/** DNS names of a node's gateways in its authority, beside those. */
export const publicNamesMax = 64;

/** 256 covered services (247 bytes) and 64 public names (253 bytes) of the longest, and the rest. */
export const certificateBytesMax = 88 * 1024;

/** Workload, node authority, issuing authority, root. */
export const chainLengthMax = 4;

/** A request with a P-256 key and a common name takes 300 bytes. */
export const signingRequestBytesMax = 4 * 1024;

/** Our deepest structure nests 8 levels; a hostile one must not cost stack. */
export const asn1DepthMax = 24;

/** Chains whose signatures were checked are remembered: at most this many, 200 bytes each. */
export const checkedChainsMax = 2048;

/** A plan of 256 instances, each with a ticket of 4 kB, and twice that. */
export const jwsBytesMax = 4 * 1024 * 1024;

/** Authorities kept read: 10 kB each. A controller with more nodes than that reads some again (0.5 ms). */
export const readAuthoritiesMax = 256;

/** RFC 1035. */
export const labelCharactersMax = 63;

/** 160 bits: cannot be guessed at any rate; 32 base32 characters without padding. */
export const tokenSecretBytes = 20;

/** Each attempt compares against every token in constant time (1 µs each). */
export const tokensMax = 1000;
export const tokenUsesMax = 1000;
/** Uses of all outstanding tokens: twice the largest fabric; their files, 100 bytes a use, stay under 5 MB. */
export const tokenUsesOutstandingMax = 20_000;
export const tokenTtlMsMin = minuteMs;
/** A forgotten token must not stay an open door. */
export const tokenTtlMsMax = 7 * dayMs;
/** Labels that a token, or a node, may carry. */
export const labelsMax = 64;
export const labelTextCharactersMax = 128;

/** The mesh carries no more on a protocol that anyone may open; the largest answer, 256 services covered, takes half. */
export const enrollmentFrameBytesMax = 256 * 1024;

/** The slowest honest step is a controller's fsync and signature on a busy flash card. */
export const enrollmentStepTimeoutMs = 15 * secondMs;

/** Streams of enrollment served at once; each holds at most one frame. */
export const enrollmentStreamsMax = 256;

/** One peer's attempts: it retries at most every few seconds when something is wrong. */
export const enrollmentAttemptsPerPeerMax = 30;
/** Everybody's token attempts together: a rack of boxes powered on at once passes, the ledger cannot be flooded. */
export const enrollmentTokenAttemptsMax = 600;
/** Refusals that reach the ledger in a window; the rest is counted: whoever makes peer ids must not fill it. */
export const enrollmentRefusalsReportedMax = 120;
export const enrollmentWindowMs = minuteMs;
/** Peers whose attempts are counted; peer ids cost nothing to make, so the table is bounded and the total counts too. */
export const enrollmentPeersCountedMax = 4096;

/** Controllers, and addresses of each, that an answer names. */
export const controllersMax = 32;
export const addressesMax = 32;
export const addressCharactersMax = 200;

/** A fact is small; a controller's with its addresses is the largest. */
export const factBytesMax = 32 * 1024;
/** `policy/<project>/<name>`, both DNS labels. */
export const factSubjectCharactersMax = 160;
/** A policy of this size, with the longest names, fills a fact up to its limit. */
export const policyRulesMax = 32;
export const policyPortsMax = 16;
/** A fact about a controller must outlive its authority (1 year), with a month to spare. */
export const factLifetimeMsMax = 400 * dayMs;

// --- Approval by code and open window (approval-*.ts, pending-requests.ts, enroll-window.ts) ---
/** A nonce is the salt of a code's key, too. */
export const approvalNonceBytes = 32;
/** Long enough to walk from the box to the desk; with the checks below a whole hour yields a guess with probability 2^-31. */
export const approvalCodeLifetimeMs = hourMs;
/** Proofs that a box checks in a second, of all controllers together. */
export const approvalChecksPerSecondMax = 100;
/** Of one controller: with at most 16 registrations at a time nobody can use up the others' share. */
export const approvalChecksPerPeerMax = 6;
/** More than one box talks to in a second. */
export const approvalPeersCountedMax = 1024;
/** After an answer `busy` a box lets that controller wait this long: a loop of proofs must not cost it its processor. */
export const approvalBusyPauseMs = 100;
/** Requests that wait for an operator; each holds a stream, and the mesh holds no more strangers' connections. */
export const pendingRequestsMax = 64;
/** Of one address: boxes behind one NAT. The newest takes the place of the oldest. */
export const pendingPerAddressMax = 16;
/** Of one subnet (IPv4 /24, IPv6 /64): somebody who owns one must not fill the list. */
export const pendingPerSubnetMax = 48;
/** Registrations of one address in a window: 16 boxes that come back every few seconds. */
export const pendingAttemptsPerAddressMax = 120;
/** Boxes that an operator denied are not listed again for this long. */
export const deniedMs = hourMs;
export const deniedMax = 1024;
/** Keys derived at the same time on a controller: each takes 32 MiB and a core for 0.1 s. */
export const approvalDerivationsMax = 2;
/** Approvals that run at the same time: each is an operator who waits. */
export const approvalsMax = 4;
/** An approval ends after this: below what a command waits for an answer. */
export const approvalTimeoutMs = 20 * secondMs;
/** It ends sooner when no request of that handle has come, or come anew, for this long: a box that was pushed out is back by then. */
export const approvalQuietMs = 4 * secondMs;
/** Between two tries of a box that answered `busy`; it counts in windows of a second. */
export const approvalRetryMs = 300;
/** A box answers a proof at once; somebody who holds it back holds up nobody else. */
export const approvalAnswerMs = 5 * secondMs;
export const windowMsMin = 10 * secondMs;
/** An open window is a door without a lock: a day at most. */
export const windowMsMax = dayMs;
export const windowAdmissionsMax = 1000;
export const windowRangesMax = 32;

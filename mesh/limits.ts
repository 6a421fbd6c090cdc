// Every bound of this folder, each with its reason.

// Announcements, local service addresses and the tunnel (section "Services" of the README).

/** An announcement is read whole before it is verified: 64 instances with tickets of about 3 kB each, in base64. */
export const announcementBytesMax = 400_000;
/** Instances in one part of an announcement: whoever is linked gets the whole part when one of them becomes ready or ceases to be. */
export const announcementInstancesMax = 64;
/** Parts of one node: 1,024 instances, more than one plan may have. All parts of one node together are below 6.4 MB. */
export const announcementPartsMax = 16;
/** Ports of one instance: a ticket that names more is dropped. */
export const ticketPortsMax = 64;
/** Peers whose announcements are held: the largest fabric is 10,000 nodes. */
export const announcingPeersMax = 16_384;
/** Forgotten peers and moved instances whose newest number is remembered, so that an old announcement cannot bring them back. */
export const rememberedMarksMax = 65_536;
/** Verified tickets that are not verified again at each heartbeat: about 300 bytes each. */
export const verifiedTicketsMax = 16_384;

/** Candidate addresses that are tried for one service before giving up: with few nodes on a box the second one is free. */
export const serviceAddressCandidatesMax = 64;
/** (service, port) pairs that one instance may call: each holds a listening socket. */
export const callableServicesMax = 256;
/** Instances attached to one node. */
export const attachedInstancesMax = 1_024;
/** Connections at once from one instance: each costs about 18 kB and two descriptors. */
export const callsPerInstanceMax = 2_048;
/** A call on which nothing is said is asked for a sign of life by TCP itself, between a workload, or a gateway's client, and its node: no time-out
 * ends it, but a container whose network was taken away with the end of its connections unsaid is noticed, and a client that has vanished. Well
 * below what a packet filter on the way remembers. */
export const callKeepAliveMs = 5 * 60_000;
/** Of them from the workloads of one other node: it leaves room for those of the rest. */
export const callsPerInstanceOfPeerMax = 1_536;

/** Streams of one tunnel session: with a window of 2 MiB each the worst that stalled readers can hold is 1 GiB. */
export const tunnelStreamsPerSessionMax = 512;
/** Sessions that one pair of workloads and node may use at once, when one is full. */
export const tunnelSessionsPerPairMax = 8;
/** Sessions that a node accepts or opens, each way: 10,000 callers do not call one small box. */
export const tunnelSessionsMax = 2_048;
/** Sockets that have not finished their TLS handshake: strangers can make no more than these. */
export const tunnelHandshakesMax = 256;
/** Of them from one address: a node opens one session per pair of workloads, and few at once. */
export const tunnelHandshakesPerHostMax = 32;
/** Sessions from one node: it cannot take the places of all others. */
export const tunnelSessionsPerPeerMax = 512;
/** A whole connection may carry this much unacknowledged; the default of 64 KB makes 2 MB/s at 20 ms round trip. */
export const tunnelSessionWindowBytes = 16 * 1024 * 1024;
/** What one slow reader can hold on the other side: 256 MiB/s at 8 ms round trip. */
export const tunnelStreamWindowBytes = 2 * 1024 * 1024;
/** On a longer path a stream's window is that rate times its round trip, up to this: 64 ms; 27 MiB/s at the 600 ms of a satellite. */
export const tunnelWindowBytesPerMicrosecond = (256 * 1024 * 1024) / 1_000_000;
export const tunnelStreamWindowBytesMax = 16 * 1024 * 1024;
/** The worst that stalled readers of one session on a long path can hold: 128 streams of 16 MiB; what more is called has another session. */
export const tunnelWindowsBytesMax = 2 * 1024 * 1024 * 1024;
/** What a peer may send in one frame: 64 KiB is what a socket reads at once. node:http2 itself sends 16 KiB at most. */
export const tunnelFrameBytes = 64 * 1024;
/** Bytes of one direction of a call that were read and are not written yet, when reading stops: 8 reads of a socket. */
export const unwrittenBytesMax = 512 * 1024;
/** Bytes of one turn of the event loop that are written together: 4 reads of a socket. */
export const gatheredBytesMax = 256 * 1024;
/** A shorter chunk does not wait for others: it is a message more often than a part of something long. */
export const gatheredChunkBytesMin = 8 * 1024;
/** Memory of one session as nghttp2 counts it, in megabytes: twice the largest window of a session. */
export const tunnelSessionMemoryMb = 64;
/** A CONNECT has four headers. */
export const tunnelHeaderPairsMax = 32;
/** `<service>:<port>` and an instance's name are below 600 bytes. */
export const tunnelHeaderBytesMax = 8 * 1024;
/** Resets that a peer may send at once and each second: workloads that reset their connections are carried as such, and node:http2's
 * defaults (1,000 and 33) end such a session. The callers are authenticated and authorized. */
export const tunnelResetBurst = 20_000;
export const tunnelResetsPerSecond = 5_000;
/** TCP and TLS to one address of a node: routed paths take 24 ms, satellites 1.5 s. */
export const tunnelHandshakeMs = 5_000;
/** From CONNECT to its answer. */
export const tunnelAnswerMs = 5_000;
/** The called node's connection to its own instance: it is on the same box. */
export const instanceConnectMs = 3_000;
/** All attempts of one call together: below the 30 s that most HTTP clients wait. */
export const callAttemptsMs = 15_000;
/** A session that is carried has a sign of life of each end in every tunnelSilenceMs: four times that, in sweeps, for ways that are slow. */
export const carriedSilentSweepsMax = 60;
/** What a neighbour's addresses get before it is asked to dial back: a round trip or two on a LAN. */
export const nodeBackAfterMs = 250;
/** And for doing so: TCP and TLS, as tunnelHandshakeMs, with one round trip of the link. */
export const nodeBackMs = 6_000;
/** Connections with one neighbour, those that it makes and those that are made to it: twice what is carried for one, and as many of this node's own. */
export const neighbourConnectionsMax = 512;
/** With all neighbours; from there on each has its share of it. */
export const neighboursConnectionsMax = 4_096;
/** Of a neighbour that asks to be dialled back, at a time: each is a dial to all of its addresses. */
export const backDialsMax = 64;
/** Of a request to carry: 32 peer ids of 52 characters, and as much again. */
export const carryHeaderBytesMax = 4_096;
/** What a tunnel's own addresses get before the link is asked to carry it: one round trip to the moon. */
export const tunnelOverLinkAfterMs = 1_500;
/** A session on a link looks this often for a connection of its own. */
export const tunnelDirectRetryMs = 60_000;
/** A call that reaches nobody waits so long for a link that was lost just now: another way is found within a second where there is one. */
export const relinkMs = 3_000;
/** Calls that find their session's way overdue wait so long for one by another way, all for the same, and go by the old one then. */
export const betterWayMs = 250;
/** When there was none, or it was no better, none is looked for again for so long. */
export const betterWayRetryMs = 5_000;
/** The longest payload of UDP: what its length field has, less its header (RFC 9298, section 5). IPv4 carries 20 bytes less. */
export const datagramBytesMax = 65_527;
/** A capsule of a type that is unknown here is passed over without being kept; none that is known has a tenth of this. */
export const capsuleSkippedBytesMax = 1024 * 1024;
/** What a flow holds for a way that is slow, beyond which its datagrams are dropped: two of the longest, or a tenth of a second at 10 Mbit/s. */
export const datagramUnsentBytesMax = 128 * 1024;
/** As so many a shorter one counts while it waits to be sent: that is what holding it takes, however short it is. */
export const datagramUnsentBytesMin = 256;
/** The same of all flows of a node together. */
export const datagramUnsentInAllBytesMax = 32 * 1024 * 1024;
/** What a socket holds while this process is busy: a burst, 100 ms of 10 MB/s. The kernel gives twice of what net.core.rmem_max allows, and
 * memory only for what has arrived; net.ipv4.udp_mem bounds that of all sockets. */
export const datagramReceiveBytes = 1024 * 1024;
/** Datagrams of a flow that wait while it is opened: a client asks again after a second, so that few are worth keeping. */
export const datagramsWaitingMax = 16;
export const datagramsWaitingBytesMax = 128 * 1024;
/** A flow that was not opened, or broke, is not opened again before this. */
export const datagramRetryMs = 1_000;
/** A flow that is silent both ways for so many sweeps (two minutes: the least that RFC 4787, REQ-5, allows) is ended: most of UDP is one question. */
export const datagramSilentSweepsMax = 120;
/** UDP flows of one calling instance, and of a node's together: half of the streams that one pair may have, which leaves the rest to connections. */
export const datagramFlowsPerInstanceMax = 512;
export const datagramFlowsMax = 2_048;
/** Flows to one instance from the workloads of one node, and to all of a node: each is a stream and a socket, all of them below 100 MB. */
export const datagramFlowsPerPeerMax = 1_024;
export const datagramServedFlowsMax = 4_096;
/** Flows that one instance may begin in one second: as many as connections. A client that takes another source port for each question needs one each. */
export const datagramNewFlowsPerSecondMax = 1_000;
/** Pairs of sender and receiver whose dropped datagrams are counted apart, and sweeps between two words about one of them: a minute. */
export const datagramDropsCountedMax = 1_024;
export const datagramDropsToldSweeps = 60;
/** Words in one sweep: each ends in a document on its way to the controller. */
export const datagramDropsToldPerSweepMax = 2;
/** Instances that one call tries. */
export const callAttemptsMax = 8;
/** An instance that did not take a call is ejected for so long at first: the next announcement says whether it is ready. */
export const ejectionMs = 2_000;
/** At most, however often it failed: what is well again is called again within a minute. */
export const ejectionMsMax = 60_000;
/** Ejected instances remembered: more than a node calls. */
export const ejectedEndpointsMax = 4_096;
/** Costs that differ by less are equal: below a millisecond, or a quarter, it is the boxes that differ, not the way to them. */
export const equalCostMicroseconds = 1_000;
export const equalCostRatio = 1.25;
/** Pairs of caller and service whose last call failed: a node has 1,024 instances, few of which fail. */
export const failingCallsMax = 1_024;
/** A caller that has not tried again for so long is no news any more. */
export const failingCallsKeptMs = 10 * 60_000;
/** Between two words about calls that fail: each is a document on its way to the controller. */
export const callsToldMs = 2_000;
/** Of why one failed: the called side has a say in it. */
export const callReasonCharactersMax = 300;
/** Entries of each list in such a word. */
export const toldCallsMax = 64;
/** A session without streams is closed after this: longer than the usual poll of a microservice. */
export const tunnelIdleMs = 60_000;
/** How often sessions are looked at: revoked ones are closed within this. */
export const tunnelSweepMs = 1_000;
/** Silence after which a session is asked for a sign of life. */
export const tunnelPingAfterMs = 5_000;
/** Silence after which it is given up: longer than a full stream window takes on a link of 2 Mbit/s. */
export const tunnelSilenceMs = 15_000;
/** A session lives on at most this long past its certificates (design, section 7). */
export const tunnelPastCertificateMs = 24 * 60 * 60 * 1_000;
/** Denied calls told in one minute; further ones are counted and told with the next. */
export const deniedEventsPerMinuteMax = 60;
/** Denied calls that are told apart, so that each is told once a minute: about 300 bytes each. */
export const deniedCallsCountedMax = 1_024;
/** Addresses of an offer that are tried. */
export const offerAddressesMax = 16;
/** Certificates that are read of a peer's chain: leaf, node authority, issuing authority, root, and one more while the root rolls over. */
export const peerChainCertificatesMax = 5;

// Links and streams (libp2p-mesh.ts, stream-frames.ts, simulations/sim-mesh.ts)

/** A frame beyond this is refused on both sides: one message must not take a small box's memory. */
export const frameBytesMax = 4 * 1024 * 1024;
/** The same on protocols that anyone may open: enrollment needs a few kilobytes. */
export const unadmittedFrameBytesMax = 256 * 1024;
/** Unread bytes after which a stream is paused; the sender then waits once the window (below) is used up. */
export const unreadBytesMax = 256 * 1024;
/** Most that the far end may send ahead. yamux breaks under load when this exceeds the stream's read buffer (libp2p's is 4 MiB). */
export const streamWindowBytesMax = 2 * 1024 * 1024;
/** Bytes that a stream holds for a far end that is slow, before `send` waits: enough to keep a socket busy meanwhile. */
export const unsentBufferBytesMax = 256 * 1024;
/** Bytes that callers may have handed to `send` of one stream without waiting for it; beyond, `send` rejects. */
export const unsentBytesMax = 32 * 1024 * 1024;
/** One frame of a byte stream on a link: others get a turn between two of them. */
export const frameDuplexChunkBytes = 64 * 1024;
/** From the wish for a stream through routers to the far end's answer: a satellite on each of a few hops. */
export const routeAnswerMs = 8_000;
/** Neighbours that are asked one after the other for a way. */
export const nextHopsTriedMax = 3;
/** What one router carries for others, and for one neighbour: each holds up to half a MiB each way, or two windows as a stream of links. */
export const forwardedStreamsMax = 512;
export const forwardedStreamsPerPeerMax = 128;
/** Of what a neighbour carries for others itself, all together: no one router takes more than half of what this one has. */
export const forwardedStreamsPerRouterMax = 256;
/** A direct connection gets so long before a way through others is tried beside it. */
export const routedAfterMs = 2_000;
/** The same for a peer that was reached through others just now: enough for a handshake on a LAN, should there be one after all. */
export const routedAgainAfterMs = 30;
/** A way through others that failed is tried again after this, then after twice as long: what a loss changes is said within a second. */
export const routedRetryMs = 200;
export const routedTriesMax = 3;
/** Keep-alive of a connection through others: the links below notice what dies on the way, this one only a far end that hangs. */
export const routedIntervalMs = 2_500;
export const routedSilentMsMax = 10_000;
/** A neighbour that led a connection to a bad end comes after others for so long: what was an accident is forgotten, a router that harms is met seldom. */
export const wayMarkMs = 10 * 60_000;
/** What ended so shortly before the link to its neighbour ended with that, as when a router is stopped. */
export const lossNoticedMs = 3_000;
/** Pairs of far end and neighbour of which that is remembered: more than a node calls. */
export const wayMarksMax = 1_024;
/** Of those, the ones that whoever asks to be carried may name. */
export const avoidedMax = 8;
/** Open streams of one protocol and direction on one connection. */
export const streamsPerProtocolMax = 256;
/** Streams that one connection may open to us, over all protocols. */
export const inboundStreamsMax = 512;
/** The same before the peer is admitted: one enrollment and its retry. */
export const unadmittedStreamsMax = 4;
/** Opening a stream waits this long for the far end to accept it. */
export const openTimeoutMs = 5_000;
/** After a handler has finished, the far end has this long to close its side before the stream is reset. */
export const streamLingerMs = 10_000;

/** Connections of a node: a controller with a thousand nodes holds one or two to each. */
export const connectionsMax = 2_500;
/** Inbound connections of peers that are not admitted; beyond, the oldest of the host that holds most is closed. */
export const unadmittedConnectionsMax = 64;
/** Connections of one peer: two sides dialling at once make two, a restart may leave old ones for a second. */
export const connectionsPerPeerMax = 4;
/** Inbound handshakes at a time, in total and from one host: a slow or silent dialler must not keep the others out. */
export const handshakesMax = 64;
export const handshakesPerHostMax = 16;
/** Inbound connections of one host in one second. Above a whole fabric started on one box. */
export const connectionsPerHostPerSecondMax = 32;
/** Noise takes two round trips; a link that needs longer than this is of no use. */
export const handshakeTimeoutMs = 5_000;

/** Addresses tried for one `connect`; a box with more is reached by one of these. */
export const dialAddressesMax = 16;
/** Dials at a time for one `connect`, and how much later each next one starts (RFC 8305, section 5). */
export const dialsInParallelMax = 3;
export const dialStaggerMs = 250;
/** One address, and one `connect` in total. */
export const dialTimeoutMs = 5_000;
export const connectTimeoutMs = 15_000;

/** A peer that has been silent for this long is asked for a sign of life: 3 pings a second and their answers on a quiet link, as README says. */
export const keepAliveIntervalMs = 300;
/** A peer that is silent for this long is gone: with what follows, new connections are on another way within the second. */
export const silentMsMax = 600;
/** Upper end of what a peer that is late, or a path that is uneven, gets beyond that. */
export const silentMsCeiling = 10_000;
/** A ping has so long to be answered, whatever else: TCP sends again what was lost on a radio link after 200 ms. */
export const answerMsMin = 220;
/** Beyond the usual silence a peer gets so many times what it was lately late by: a busy box is late by more once than on most days. */
export const latenessFactor = 4;
/** And no more than this beyond the worst itself: who hangs for seconds again and again is missed each time. */
export const latenessRoomMsMax = 1_000;
/** The worst of late counts half after this: who was busy is prompt again a minute later. */
export const latenessHalfLifeMs = 20_000;
/** A peer of which nothing is known yet may have just started, with all its work before it. */
export const latenessAtFirstMs = 100;
/** A peer that is back within this after it was last heard was slow, and not gone: it gets more time from then on. */
export const backAgainMs = 3_000;
/** Peers whose lateness is remembered beyond their connections. */
export const rememberedPeersMax = 1_024;
/** Between the doubt and the verdict: what has arrived meanwhile is read. */
export const doubtMs = 20;
/** What is due so soon is done at the same look: pings of several links go out together. */
export const lookAheadMs = 50;
/** Looks are no closer together, but for a doubt. */
export const lookMsMin = 20;
/** A round trip is sampled at least this often, also while other traffic shows that the peer lives. */
export const roundTripSampleMs = 5_000;
/** A second connection to a peer is kept this long, so that both ends know both before one is closed. */
export const duplicateConnectionMs = 5_000;

// Discovery (discovery.ts, interfaces.ts)

/** Found peers that are remembered; the one not heard of for longest makes room. */
export const foundPeersMax = 512;
/** A peer that has not answered for this long is forgotten; also the TTL of our records (RFC 6762, section 10). */
export const foundExpiryMs = 120_000;
/** Addresses in one answer, and characters of each. */
export const announcedAddressesMax = 10;
export const addressCharactersMax = 80;
/** Questions and records of one packet; one with more is not looked at. */
export const recordsPerPacketMax = 64;
/** RFC 6762, section 17. */
export const discoveryPacketBytesMax = 9_000;
/** Pointers that decoding one packet may follow: below a millisecond. 64 records with an address each have a third. */
export const discoveryPacketStepsMax = 65_536;
/** Packets that one socket decodes in one second: a thousand nodes answer one question within it. */
export const discoveryPacketsPerSecondMax = 2_000;
/** A flood is told when it begins, and so often while it lasts. */
export const floodTellMs = 60_000;
/** The first question comes at once, the next after one second, then twice as long each time (RFC 6762, section 5.2). */
export const firstQueryBackoffMs = 1_000;
export const queryBackoffMsMax = 60_000;
/** An answer waits a random part of this, so that not all answer in the same instant (RFC 6762, section 6). */
export const answerJitterMs = 40;
/** Between two answers on one interface. */
export const answerIntervalMs = 250;
/** Sockets: one per interface and family. */
export const discoverySocketsMax = 32;
/** How often the network interfaces are read; there is no event for it in Node. */
export const interfacePollMs = 3_000;
/** The next address of an offer is tried beside the ones under way after this (RFC 8305 recommends 250 ms). */
export const addressStaggerMs = 250;
/** A session whose link is gone must give a sign of life within this. */
export const tunnelHurryMs = 3_000;
/** Stopping waits this long for a goodbye to leave the box. */
export const goodbyeMs = 200;

/** One call of `ip`: it answers in milliseconds. */
export const localRangesMs = 5_000;
/** Ranges that a killed daemon left are looked for so long after the start, when what was adopted has its own again. */
export const localRangesSweepMs = 60_000;

// Routing (link-state-format.ts, link-states.ts, link-cost.ts, own-links.ts, routes.ts, spreading.ts)

/** A link state is read whole before it is verified: what it may name below is about 250 kB in base64, its chain 4 kB. */
export const linkStateBytesMax = 300_000;
/** Interior routers that one router says it is linked to: a full mesh of as many as Skupper stops at, four times. */
export const neighboursSaidMax = 512;
/** Edge nodes that one router says are attached to it: its connections (connectionsMax) leave room for no more. */
export const attachedSaidMax = 2_048;
/** Routers whose link states are held: eight times the 500 that are tested, some 4 kB each. */
export const routersMax = 4_096;
/** A path with more hops is none: throughput halves with the first and each takes up to half a millisecond; 500 routers at random are 10 apart. */
export const routeHopsMax = 32;
/** Next hops of equal cost that are kept for one destination. */
export const equalNextHopsMax = 8;
/** A link state that was not said again in so many looks at its age is forgotten: a day. A router that is gone needs no such time: its neighbours say so. */
export const linkStateAgeMax = 24;
/** How often it is said again although nothing changed: 500 of them are 0.7 kbit/s on a link. RFC 2328 has half of the age; here three may be lost. */
export const linkStateRefreshMs = 6 * 60 * 60 * 1_000;
/** Between two looks at their age: counted and not measured, so that a clock that is set years ahead ages nothing. */
export const linkStateSweepMs = 60 * 60 * 1_000;

/** What crossing a router costs beside its link: measured, 0.3 to 0.5 ms a round trip. Of paths over equal links the shorter one is taken. */
export const forwardingCostMicroseconds = 500;
/** A link at its worst; 32 of them are far below what a number holds exactly. */
export const linkCostMicrosecondsMax = 60_000_000;
/** Of a link whose round trip is not known yet: dearer than a LAN, cheaper than another continent. */
export const unknownCostMicroseconds = 10_000;
/** A cost is said anew only when it differs by this part of it, and by this much: a busy box answers a millisecond later. */
export const costBandPart = 0.3;
export const costBandMicrosecondsMin = 2_000;
/** And when it has differed for so long: a transfer that fills a link for seconds, smoothed over samples 5 s apart, moves no route. */
export const costSettleMs = 30_000;

/** A link that came back for the second time is said after this, then after twice as long each time (as RFC 2439 damps routes). */
export const flapHoldMs = 1_000;
export const flapHoldMsMax = 60_000;
/** A link that has stood for so long has not flapped. */
export const flapForgottenMs = 5 * 60_000;
/** Links whose losses are remembered. */
export const flapsRememberedMax = 4_096;

/** Link states of this router (RFC 8405, section 5, for when to say and not for when to compute): the first at once, with what is lost in the same moment. */
export const linkStateFirstMs = 5;
/** The next ones, while the change is still being learnt. */
export const linkStateShortMs = 100;
export const linkStateLearnMs = 1_000;
/** Then no more often than this, until it has been quiet: a loss is still said within the second. */
export const linkStateLongMs = 800;
export const linkStateQuietMs = 2_000;

/** Positions in one message of a summary: about 110 bytes each. */
export const summaryPositionsMax = 1_024;
/** Positions that are remembered of one summary: four parts of each node of the largest fabric. */
export const summaryHeldMax = 65_536;
/** What a neighbour lacks by its summary is looked for no more often, however often it sends one: each time all that is held is gone through. */
export const summaryLookMs = 100;
/** Statements (link states, announcements) in one message: as many as fit, at least one. Verifying so many takes some 25 ms. */
export const statementsBytesMax = 512 * 1024;
export const statementsPerMessageMax = 64;
/** A certificate's name on links: 132 bits of its SHA-256. Two that share one would harm nobody but who made them: signatures are verified all the same. */
export const certificateNameCharacters = 22;
/** Certificates in one chain: workload, node, controller, root. */
export const referencedChainMax = 4;
/** Certificates that one statement names: its own chain, and those of the controllers that signed its tickets. */
export const referencedCertificatesMax = 128;
/** Verified certificates that are kept for statements which name them, about 1 kB each: one for each node of the largest fabric. */
export const certificatesHeldMax = 16_384;
/** All of them together: twice that; that of a node which covers 256 services is a hundred times as long as others. */
export const certificatesHeldCharactersMax = 32 * 1024 * 1024;
/** Statements that were taken apart lately: each goes to several links. */
export const referencedHeldMax = 64;
/** What waits on one link for certificates that were asked for: 500 link states, or the announcements of 5,000 instances, and twice that. */
export const waitingStatementsMax = 1_024;
export const waitingStatementsBytesMax = 8 * 1024 * 1024;
/** And certificates that those lack, counted for each that names them: some three each, and twice that. */
export const waitingCertificatesMax = 8_192;
/** A neighbour that has not answered by then is not the only one to be asked: whoever names and does not say holds nothing up for longer. */
export const certificatesAskAgainMs = 200;
/** A neighbour whose statement has waited for so long is asked in any case: five others have had their time. */
export const certificatesPatienceMs = 1_000;
/** Then the link goes on with whole statements. */
export const certificatesWaitMs = 10_000;
/** Certificates in one message, at most. */
export const certificatesPerMessageMax = 256;
/** A certificate that is longer, of a node which covers hundreds of services with long names, is never named: statements with it go whole. */
export const certificateTextMax = 100_000;
/** Between two messages of statements on one link: what comes meanwhile goes together (IS-IS paces its flooding at 33 ms). */
export const statementsPauseMs = 5;
/** The same statement of a node, in newer versions, crosses a link no more often: whoever says it anew all the time costs the others this much. */
export const statementSpacingMs = 50;

/** Services that an edge node may say that it wants to hear of, 200 bytes each at most; one that wants more says nothing, and hears of all. */
export const servicesWantedMax = 2_048;
/** Nodes to which an edge node may ask one of its routers for the cost: as many as one node announces instances. */
export const reachWantedMax = 1_024;
/** Costs that changed are told to edge nodes together, and no sooner after the last time. */
export const reachTellMs = 500;
/** Routes are computed when somebody asks, and after a change elsewhere no sooner than this after the last time: 500 routers take a millisecond or two. */
export const routesComputeMs = 20;

/** Connections of one gateway, and of one IPv4 address or IPv6 /64 among them: a proxy before it has all of its own; each costs some 20 kB. */
export const gatewayConnectionsMax = 1_024;
export const gatewayConnectionsOfOriginMax = 512;
/** A request's head: nginx takes 8 KiB in one line, and cookies are larger. */
export const gatewayHeadBytesMax = 32 * 1024;
/** From the first byte of a connection to the end of a request's head, and of a TLS handshake: honest slow links take seconds. */
export const gatewayHeadMs = 15_000;
/** A whole request with its body: a large upload over a slow uplink. */
export const gatewayRequestMs = 60 * 60_000;
/** How soon that is noticed. */
export const gatewayRequestCheckMs = 1_000;
/** A connection between two requests. */
export const gatewayKeepAliveMs = 15_000;
/** Nothing goes either way during a request: long polls last minutes. */
export const gatewayIdleMs = 10 * 60_000;
/** Requests that one connection has under way: browsers do not send the next before the answer. */
export const gatewayPipelinedMax = 8;
/** UDP flows of one gateway and of one origin among them, half of what one caller of services may have: those that began, and those whose client has
 * sent again after an answer, so that addresses which nobody has, in a flood, take no place of honest clients. */
export const gatewayFlowsMax = 256;
export const gatewayFlowsOfOriginMax = 128;
/** A flow ends when its client is silent for so many looks at it: 30 s, and 120 s once it has sent after an answer, as in Linux's connection
 * tracking. What the service sends does not keep it: a client that is gone, or never was there, is not sent to for longer. */
export const gatewayBegunSweepsMax = 60;
export const gatewayProvenSweepsMax = 240;
/** Flows that begin between two looks, which are half a second: of a gateway as many as of any caller, and of one origin a tenth of that. */
export const gatewayNewFlowsMax = 500;
export const gatewayNewFlowsOfOriginMax = 50;
/** How often what is open is held against the grants, whose time passes: half of the second in which it must be closed. */
export const gatewaySweepMs = 500;

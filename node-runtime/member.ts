// A node that belongs to a fabric, composed: trust, links, replicas, plan, instances, announcements, and on a controller the
// deciding half (controller.ts). Called by node.ts; the same code runs on real and on simulated ports. It wires and reports;
// what it wires decides.

import type { ObservedCalls, ObservedNode } from '../control/fabric.ts';
import type { Plan } from '../control/plan.ts';
import { nodeStatus } from '../control/status.ts';
import { readMailbox } from '../control/status-reader.ts';
import { nodeTopologyOf, type TopologyView } from '../control/topology.ts';
import type { StatusView } from '../control/views.ts';
import { bulletinWrites, controllerWrites } from '../control/write-guard.ts';
import { type Authorize, policyAuthorization } from '../mesh/authorization.ts';
import { createBoundedMap } from '../mesh/bounded-map.ts';
import { harmText } from '../mesh/harm.ts';
import { routeHopsMax } from '../mesh/limits.ts';
import type { Mesh, PeerId } from '../mesh/mesh.ts';
import { presentMembership } from '../pki/enrollment-client.ts';
import { enrollmentProtocol } from '../pki/enrollment-frames.ts';
import { windowOver } from '../pki/facts.ts';
import type { PrivateKey } from '../pki/keys.ts';
import { certificateToPem, chainToPem } from '../pki/pem.ts';
import type { ActorSystem } from './actor-system.ts';
import { createAnnouncer } from './announcer.ts';
import { createNodeAuthority } from './authority.ts';
import { nextBootCounter } from './boot-counter.ts';
import { boundedConditions } from './box-conditions.ts';
import { createBoxHealth } from './box-health.ts';
import type { Controller } from './controller.ts';
import { createDeliveredPlans } from './delivered-plan.ts';
import { createDenials } from './denials.ts';
import { execText } from './exec-sessions.ts';
import { withNewChain, withUsableChain } from './former-chain.ts';
import type { ControllerAuthority } from './founding.ts';
import { createGatewayRefusals } from './gateway-refusals.ts';
import { createGateways } from './gateways.ts';
import { deviceChanges } from './hardware/device-changes.ts';
import { createDeviceClaims } from './hardware/device-claims.ts';
import { createInstances, microserviceKey } from './instances.ts';
import { problemsMax, unlinkedPeersMax } from './limits.ts';
import { createLinkNews } from './link-news.ts';
import { createLinks, type LinkedPeer } from './links.ts';
import { type Membership, saveMembership } from './membership.ts';
import { observedNode } from './node-observation.ts';
import type { NodePorts, Report } from './node-ports.ts';
import { loadObeyedAtStart, recoverObeyedPlan } from './obeyed-recovery.ts';
import { createObserver } from './observer.ts';
import { createPeerProblems } from './peer-problems.ts';
import { createPlanFollower } from './plan-follower.ts';
import { serveProtocols } from './protocols.ts';
import { createReplicas, type Replicated } from './replicas.ts';
import { createRouting, type Routing } from './routing.ts';
import { createStaging } from './staging.ts';
import { createTrust } from './trust.ts';
import { windowNotices } from './window-facts.ts';
import { createWorkloadCertificates } from './workload-certificates.ts';

export interface Member {
  membership(): Membership;
  /** Undefined on a node that is none. */
  readonly controller: Controller | undefined;
  /** What this node says of itself; on a worker that is all that its socket answers. */
  status(): Promise<StatusView>;
  /** Its links and the ways that it knows. */
  topology(): TopologyView;
  /** Which way to the other nodes. */
  readonly routing: Pick<Routing, 'costTo' | 'routes' | 'step'>;
  /** What everybody should see although nothing is wrong. */
  notices(): string[];
  /** `workloads` also ends every instance; otherwise they run on and are adopted at the next start. */
  stop(options: { workloads: boolean }): Promise<void>;
}

export interface MemberDependencies {
  ports: NodePorts;
  membership: Membership;
  authorityKey: PrivateKey;
  controllerAuthority: ControllerAuthority | undefined;
  mesh: Mesh;
  actors: ActorSystem;
  jitter: () => number;
  report: Report;
}

const decodeChain = (chain: readonly string[]): Uint8Array[] =>
  chain.map((certificate): Uint8Array => Buffer.from(certificate, 'base64'));

/** Starts everything, or stops what had started and throws. */
export async function startMember(dependencies: MemberDependencies): Promise<Member> {
  const stops: (() => Promise<void> | void)[] = [];
  const stopAll = async (): Promise<void> => {
    for (const stop of stops.splice(0).reverse()) await stop();
  };
  try {
    return await compose(dependencies, stops, stopAll);
  } catch (error) {
    await stopAll();
    throw error;
  }
}

async function compose(
  dependencies: MemberDependencies,
  stops: (() => Promise<void> | void)[],
  stopAll: () => Promise<void>,
): Promise<Member> {
  const { ports, authorityKey, controllerAuthority, mesh, actors, jitter, report } = dependencies;
  const { clock, random, keys, engines, hardware } = ports;
  const startedAt = clock.now();
  let membership = withUsableChain(dependencies.membership, clock.now());
  const { fabricId, fabricName, node, router } = membership;
  const root = decodeChain(membership.chain).at(-1) ?? new Uint8Array();
  const bundlePem = certificateToPem(root);
  const owner = { fabricId, node, peerId: mesh.peerId };
  const health = createBoxHealth({
    ...{ clock, disk: ports.disk, box: ports.box },
    instances: () => obeyed?.instances.length ?? 0,
    // Looked at once everything has started.
    span: () => authority.span(),
    onChanged(id, now, before) {
      if (now !== undefined) problem(now);
      else report('mended', `over: ${before}`);
      // What was issued meanwhile is of the wrong time.
      if (id === 'clock' && now === undefined) certificates.renewAll();
      if (id === 'clock') {
        goBackToUsable();
        controller?.recheckAuthorities();
      }
      links.refresh();
    },
  });
  const { disk } = health;
  /** What was mended before there is anybody to tell. */
  const mended: string[] = [];
  const onMended = (message: string): void => void mended.push(message);
  await hardware.start();
  stops.push(() => hardware.stop());
  const stored = await loadObeyedAtStart(disk, owner, onMended);
  let obeyed: Plan | undefined = stored.obeyed?.plan;
  const problems: ObservedNode['problems'] = [];
  /** When the link to each that has none any more was lost. */
  const unlinkedAt = createBoundedMap<PeerId, number>(unlinkedPeersMax);
  /** Of peers that have, or had, a link. */
  const nodeNames = createBoundedMap<PeerId, string>(unlinkedPeersMax);
  let calls: ObservedCalls = { ejected: [], failing: [] };

  const store = await ports.openStore();
  stops.push(() => store.close());
  const mailbox = await store.open(`mailbox/${node}`);
  const bulletinDatabase = await store.open('bulletin');

  const observer = createObserver({
    mailbox,
    clock,
    onFailed(message) {
      report('problem', message);
      health.suspect();
    },
  });

  function problem(message: string): void {
    problems.unshift({ at: clock.now(), message });
    problems.length = Math.min(problems.length, problemsMax);
    report('problem', message);
    observeNode();
  }

  const staging = createStaging({ clock, actors, jitter, engines, onChanged: () => observeNode() });

  const denials = createDenials({ clock, self: mesh.peerId });
  /** By the policies of now; made with the next question after they changed. */
  let authorize: Authorize | undefined;

  const peerProblem = createPeerProblems({ clock, problem });

  /** Issued by a clock that was ahead, its chain is believed by nobody: with the former one it hears of a better one. */
  function goBackToUsable(): void {
    const usable = withUsableChain(membership, clock.now());
    if (usable === membership) return;
    try {
      authority.replace(usable.chain);
    } catch (error) {
      problem(`the former certificate of this node cannot be used either: ${(error as Error).message}`);
      return;
    }
    membership = usable;
    saveMembership(disk, membership).catch((error: unknown) =>
      problem(`the membership is not stored: ${String(error)}`),
    );
    certificates.renewAll();
    announcer.announce();
    routing.refresh();
  }

  const controllerReachable = (): boolean =>
    controllerAuthority !== undefined || links.linked().some(({ identity }) => identity.kind === 'controller');

  const observation = () =>
    observedNode({
      node,
      software: ports.software,
      startedAt,
      version: obeyed,
      engines: engines.states(),
      policy: engines.policy,
      hardware: hardware.current(),
      location: ports.location,
      controllerReachable: controllerReachable(),
      mesh,
      at: clock.now(),
      linkCost: (peerId) => routing.linkCost(peerId),
      indirect: (peerId) => links.indirect(peerId),
      links: links.linked(),
      unreached: links.unreached(),
      staged: staging.observed(),
      calls,
      gateways: gateways.observed(),
      denied: denials.lately(),
      problems,
    });
  const linksSaid = ({ links: linked, unreached = [] } = observation()) => ({ links: linked, unreached });
  const news = createLinkNews({ clock, current: linksSaid, onNews: () => observeNode() });
  const observeNode = (): void => {
    const now = observation();
    news.said(linksSaid(now));
    observer.observe(now);
  };

  const { bulletin, verifyChain, verifyOwnChain, verifySigned } = createTrust({
    clock,
    fabricId,
    root,
    database: bulletinDatabase,
    disk,
    onChanged: enforceTrust,
    onIgnored: problem,
  });

  /** Ends what runs with a peer as soon as the bulletin says so. */
  function enforceTrust(): void {
    authorize = undefined;
    serviceNetwork.recheck();
    controller?.recheckPolicies();
    // Everybody who proved membership, also those who hold streams but no link session.
    for (const peerId of mesh.connected()) {
      if (!mesh.isAdmitted(peerId) || !bulletin.isRevoked(peerId)) continue;
      links.drop(peerId);
    }
    announcer.forget((peerId) => bulletin.isRevoked(peerId));
    routing.forget((peerId) => bulletin.isRevoked(peerId));
  }

  const { damage, atLeast } = stored;
  const obeyedAtStart =
    damage === undefined
      ? stored.obeyed
      : await recoverObeyedPlan({
          ...{ disk, damage, atLeast, onMended },
          delivered: createDeliveredPlans({ ...owner, mailbox, verifySigned, onIgnored: () => undefined }),
        });
  obeyed = obeyedAtStart?.plan;
  staging.obey(obeyed?.stage ?? []);
  const bootCounter = await nextBootCounter({
    ...{ disk, peerId: mesh.peerId, nowMs: clock.now(), onRebuilt: onMended },
    expected: obeyedAtStart !== undefined,
  });

  const authority = createNodeAuthority({
    clock,
    random,
    keys,
    key: authorityKey,
    chain: membership.chain,
    verifyChain,
    verifyOwnChain,
    onUnusable: onMended,
  });

  const serviceNetwork = ports.createServiceNetwork({
    fabricId,
    mesh,
    localPeerId: mesh.peerId,
    advertisedAddresses: () => mesh.addresses(),
    verifyChain,
    verifyOwnChain,
    nodeCredential: () => ({ keyPem: authorityKey.toPem(), chainPem: chainToPem(authority.chain()) }),
    step: (stream) => routing.step(stream),
    isPeerAdmitted: (peerId) => mesh.isAdmitted(peerId) && !bulletin.isRevoked(peerId),
    isPeerRevoked: (peerId) => bulletin.isRevoked(peerId),
    costOf: (peerId) => routing.costTo(peerId),
    onTroubles(troubles) {
      calls = troubles;
      observeNode();
    },
    authorize(...call) {
      authorize ??= policyAuthorization(bulletin.policies().map(({ body }) => body));
      return authorize(...call);
    },
    onDenied: (denied) => problem(denials.add(denied)),
    onDropped: ({ from, to, reason, dropped }) =>
      problem(`${dropped} datagrams from ${from} to ${to} were dropped: ${reason}`),
  });

  const certificates = createWorkloadCertificates({
    clock,
    actors,
    jitter,
    issue: (name) => authority.issue(name),
    async onRenewed(instance, credential) {
      if (!gateways.renewed(instance, credential)) await instances.renewed(instance, credential);
    },
  });

  const gateways = createGateways({
    ...{ clock, actors, jitter, openGateway: ports.openGateway, serviceNetwork, certificates, authority },
    onChanged: () => observeNode(),
    onRefused: createGatewayRefusals({ clock, report }),
  });

  const announcer = createAnnouncer({
    fabricId,
    peerId: mesh.peerId,
    node,
    bootCounter,
    clock,
    sign: () => authority.sign(),
    verifySigned,
    served: () => instances.announced(),
    news: (statement, from) => routing.news(statement, from),
    onEndpoints(endpoints) {
      serviceNetwork.setEndpoints(endpoints);
      instances.recheck();
      links.refresh();
    },
    onRefused: (from, reason) => peerProblem(from, `an announcement from ${from} was refused: ${reason}`),
  });

  const instances = createInstances({
    node,
    clock,
    jitter,
    actors,
    engines,
    serviceNetwork,
    certificates,
    observer,
    probe: ports.probe,
    freePort: ports.freePort,
    bundlePem,
    devices: createDeviceClaims({ hardware, clock, onFreed: () => queueMicrotask(() => instances.recheck()) }),
    observedBefore: async () => (await readMailbox(mailbox)).instances,
    heldBy(planned) {
      if (!authority.covers(planned)) return 'waiting for an authority that covers it';
      const missing = planned.dependsOn.find((microservice) => !isReady(microserviceKey({ ...planned, microservice })));
      return missing === undefined ? undefined : `waiting for ${missing} to be ready`;
    },
    onReadiness() {
      announcer.announce();
      instances.recheck();
    },
    onProblem: problem,
    onChanged: ({ instance, state, ready, reason, pid }) =>
      report('instance', `${instance} is ${state}${ready ? ', ready' : ''}${reason === '' ? '' : `: ${reason}`}`, {
        instance,
        state,
        ready,
        ...(pid !== undefined && { pid }),
      }),
  });

  /** Anywhere in the fabric, as far as this node has heard. */
  const isReady = (key: string): boolean => instances.readyHere().has(key) || announcer.ready().has(key);

  const calledByGateways = (): string[] => gateways.called().map(microserviceKey);

  /** The nodes that serve what instances and gateways here call. */
  function called(): Set<PeerId> {
    const here = new Set([...instances.calledHere(), ...calledByGateways()]);
    const endpoints = announcer.endpoints().filter((endpoint) => here.has(microserviceKey(endpoint)));
    return new Set(endpoints.map(({ peerId }) => peerId));
  }

  const routing = createRouting({
    ...{ mesh, clock, jitter, fabricId, node, router, bootCounter, verifySigned, called },
    sign: () => authority.sign(),
    setCostMs: (peerId) => ports.linkCostsMs?.get(nodeNames.get(peerId) ?? ''),
    announcements: announcer.table,
    servicesWanted: () => new Set([...instances.wantedHere(), ...calledByGateways()]),
    onServicesWanted: (services) => announcer.keepServing(services),
    onAnnouncement: (from, jws) => announcer.receive(from, jws),
    onRefused: (from, reason) => peerProblem(from, `a link state from ${from} was refused: ${reason}`),
  });

  const replicas = createReplicas({ mesh, clock, actors, jitter, replicate: ports.replicate, onRefused: peerProblem });

  /** A shows its issuing authority when it is a controller, else its node's authority. */
  const presented = (): Uint8Array[] => decodeChain(controllerAuthority?.chain ?? membership.chain);

  const links = createLinks({
    mesh,
    clock,
    actors,
    jitter,
    fabricId,
    router,
    controllers: () => [...membership.controllers, ...bulletin.controllers()],
    present: async (peerId, signal) =>
      presentMembership({
        stream: await mesh.open(peerId, enrollmentProtocol, signal),
        peerId,
        chain: presented(),
        verifyChain,
        clock,
        signal,
        // The other side may use the link before its answer is here.
        onVerified: (identity) => links.admitted(peerId, identity),
      }),
    describe: () => {
      const offer = serviceNetwork.offer();
      const { authorityKeySha256 } = authority.identity();
      const conditions = boundedConditions(health.conditions());
      return {
        type: 'node',
        node,
        router,
        controller: controllerAuthority !== undefined,
        addresses: mesh.addresses().slice(0, 32),
        ...(conditions.length > 0 && { conditions }),
        ...(offer && { offer: { ...offer, authorityKeySha256 } }),
      };
    },
    called,
    leadsTo: (peerId) =>
      routing.step({ destination: peerId, from: undefined, hopsLeft: routeHopsMax }).type === 'forward',
    isWaiting: (peerId) => controller?.admissions.requests.has(peerId) === true,
    linkCost: (peerId) => routing.linkCost(peerId),
    carries: (peerId) => serviceNetwork.carries(peerId),
    keepAliveMs: (name) => ports.keepAlivesMs?.get(name) ?? ports.keepAlivesMs?.get('*'),
    traffic: routing,
    onLinked(peer) {
      unlinkedAt.delete(peer.peerId);
      nodeNames.set(peer.peerId, peer.identity.node);
      report('linked', `linked to ${peer.identity.node}`, { peerId: peer.peerId, node: peer.identity.node });
      replicas.follow(peer.peerId, replicatedWith(peer));
      observeNode();
    },
    onUnlinked({ peerId, identity }, reason, wayLost) {
      report('unlinked', `the link to ${identity.node} is gone: ${reason}`, { peerId, node: identity.node });
      replicas.unfollow(peerId);
      unlinkedAt.set(peerId, clock.now());
      if (wayLost) serviceNetwork.loseWay(peerId);
      else serviceNetwork.setOffer(peerId, undefined);
      observeNode();
    },
    onNode({ peerId, node: said }) {
      serviceNetwork.setOffer(peerId, said?.offer);
      observeNode();
    },
  });
  stops.push(
    mesh.subscribe((event) => {
      // A link that came back before the box knew its new addresses has told of the old ones.
      if (event.type === 'moved') observeNode();
      if (event.type !== 'harmed') return;
      const nameOf = (peerId: PeerId) => links.linked().find((peer) => peer.peerId === peerId)?.identity.node ?? peerId;
      peerProblem(event.peerId, harmText(event.harm, nameOf(event.peerId), event.through && nameOf(event.through)));
    }),
  );

  function replicatedWith({ identity }: LinkedPeer): Replicated[] {
    const guard = bulletinWrites((document) => bulletin.judge(document));
    const whole = { pushPrefix: undefined, pullPrefix: undefined };
    const all: Replicated[] = [{ database: bulletinDatabase, kind: 'bulletin', ...whole, guard, expected: windowOver }];
    // A controller has its mailbox in its own store.
    if (identity.kind === 'controller' && controllerAuthority === undefined) {
      const prefixes = { pushPrefix: 'observed/', pullPrefix: 'desired/' };
      all.push({ database: mailbox, kind: 'mailbox', ...prefixes, guard: controllerWrites });
    }
    return all;
  }

  const follower = createPlanFollower({
    clock,
    mailbox,
    disk,
    fabricId,
    node,
    peerId: mesh.peerId,
    authorityKeySha256: authority.identity().authorityKeySha256,
    verifySigned,
    verifyChain,
    obeyed: obeyedAtStart,
    issueNumber: authority.identity().issueNumber,
    onPlan(next) {
      // Before the plan counts as obeyed: what the node says of both belongs together.
      staging.obey(next.plan.stage ?? []);
      obeyed = next.plan;
      const { epoch, term, generation } = obeyed;
      const count = `${obeyed.instances.length} instances`;
      actors.report('plan', `obeyed ${epoch}.${term}.${generation}`, count);
      report('plan-obeyed', `obeying plan ${epoch}.${term}.${generation}: ${count}`, {
        version: { epoch, term, generation },
      });
      instances.obey(next);
      gateways.obey(next);
      announcer.announce();
      links.refresh();
      observeNode();
    },
    async onAuthority(chain, { issueNumber }) {
      membership = withNewChain(membership, chain, clock.now());
      await saveMembership(disk, membership);
      const wasUsable = authority.isUsable();
      authority.replace(chain);
      if (!wasUsable) certificates.renewAll();
      actors.report('authority', 'replaced', `issue ${issueNumber}`);
      announcer.announce();
      routing.refresh();
      instances.recheck();
      gateways.recheck();
    },
    onIgnored: problem,
  });

  const controller =
    controllerAuthority &&
    (await ports.createController({
      ports: { ...ports, disk },
      store,
      bulletin,
      mesh,
      membership,
      authorityPublicKey: authorityKey.publicKey,
      issuing: controllerAuthority,
      obeyed: obeyedAtStart?.plan,
      verifyOwnChain,
      verifySigned,
      lastSeenAt: (peerId) => unlinkedAt.get(peerId),
      isLinked: (peerId) => peerId === mesh.peerId || links.linked().some((peer) => peer.peerId === peerId),
      conditionsOf: (peerId) =>
        peerId === mesh.peerId
          ? health.conditions()
          : (links.linked().find((peer) => peer.peerId === peerId)?.node?.conditions ?? []),
      problem,
    }));

  await bulletin.start();
  stops.push(() => bulletin.stop());
  await engines.start({ fabricId, node });
  stops.push(
    () => engines.stop(),
    engines.subscribe(() => observeNode()),
  );
  await serviceNetwork.start();
  stops.push(
    () => serviceNetwork.stop(),
    () => observer.stop(),
  );
  let { devices } = hardware.current();
  stops.push(
    hardware.subscribe(() => {
      for (const change of deviceChanges(devices, hardware.current().devices)) report('device', change);
      devices = hardware.current().devices;
      instances.devicesChanged();
      observeNode();
    }),
  );
  // The obeyed plan first: a box without any network runs what it should before anything else.
  if (obeyedAtStart !== undefined) instances.obey(obeyedAtStart);
  if (obeyedAtStart !== undefined) gateways.obey(obeyedAtStart);
  staging.start();
  stops.push(
    () => staging.stop(),
    async () => announcer.stop(),
  );
  await instances.start();
  stops.push(() => instances.stop());
  gateways.start();
  stops.push(() => gateways.stop());
  await follower.start();
  stops.push(() => follower.stop());
  serveProtocols({
    mesh,
    clock,
    membership,
    presented,
    verifyChain,
    links,
    engines,
    bulletin: bulletinDatabase,
    controller,
    executed(event) {
      const by = links.linked().find(({ peerId }) => peerId === event.by)?.identity.node ?? event.by;
      report('exec', execText({ ...event, by }), { instance: event.instance });
    },
    problem: peerProblem,
  });
  health.start();
  stops.push(() => health.stop());
  routing.start();
  mesh.route(routing.step);
  links.start();
  news.start();
  stops.push(
    () => news.stop(),
    () => routing.stop(),
    () => links.stop(),
    () => replicas.stop(),
  );
  await controller?.start();
  stops.push(() => controller?.stop());
  mesh.advertise(fabricId);
  announcer.announce();
  for (const message of mended) problem(message);
  observeNode();

  /** Its own window a controller tells in more detail. */
  const notices = (): string[] => [
    ...(controller?.admissions.notices() ?? []),
    ...windowNotices(bulletin.windows().filter(({ peerId }) => peerId !== mesh.peerId)),
  ];

  return {
    membership: () => membership,
    controller,
    routing,
    notices,
    async status() {
      const { addresses, links: linked, problems: lately, policy } = observation();
      return nodeStatus({
        fabric: { id: fabricId, name: fabricName },
        node: {
          name: node,
          peerId: mesh.peerId,
          router,
          controller: controller !== undefined,
          labels: membership.labels,
          engines: engines.offered(),
          ...(policy && { policy }),
          hardware: hardware.current(),
          ...(ports.location !== undefined && { location: ports.location }),
          links: linked,
          addresses,
          problems: lately,
          ...(health.conditions().length > 0 && { conditions: health.conditions() }),
        },
        obeyed,
        mailbox: await readMailbox(mailbox),
        controllerReachable: controllerReachable(),
      });
    },
    topology() {
      const { links: linked, unreached = [] } = observation();
      return nodeTopologyOf({
        ...{ fabric: { id: fabricId, name: fabricName }, node, peerId: mesh.peerId, router },
        ...{ controller: controller !== undefined, links: linked, unreached, now: clock.now() },
        routes: routing.routes().routers(),
      });
    },
    async stop({ workloads }) {
      if (workloads) await instances.terminateAll();
      await stopAll();
    },
  };
}

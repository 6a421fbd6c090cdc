// A box without fabric and token shows a code and waits: it registers with every controller that answers, and joins the one that
// proves that it knows the code. Called by node.ts; ends with a membership that is on disk. With --trust-lan it also joins a
// fabric that has a window open, if no other fabric answers.

import { type Actor, fromPromise } from 'xstate';
import { type RegistrationEvent, registrationMachine } from '../actors/registration.ts';
import type { ApprovalView } from '../control/views.ts';
import type { Mesh } from '../mesh/mesh.ts';
import { registerForApproval } from '../pki/approval-client.ts';
import { createApprovalDesk, type ShownCode } from '../pki/approval-desk.ts';
import { enrollmentProtocol } from '../pki/enrollment-frames.ts';
import type { PrivateKey } from '../pki/keys.ts';
import { createRateLimiter } from '../pki/rate-limit.ts';
import type { ActorSystem } from './actor-system.ts';
import type { Disk } from './disk.ts';
import { joinAddress, membershipOf } from './enrolling.ts';
import { AlreadyAskedError } from './errors.ts';
import {
  establishMs,
  registrationCandidatesMax,
  registrationsMax,
  registrationTurnMs,
  trustLanWaitMs,
  wrongProofsReportedMax,
} from './limits.ts';
import { type Membership, saveMembership } from './membership.ts';
import type { NodePorts, NodeSettings, Report } from './node-ports.ts';

export interface Approving {
  /** Resolves once a fabric has admitted this box; rejects when the signal aborts. */
  readonly joined: Promise<Membership>;
  /** What the box's own `status` shows; undefined until the first code is there. */
  view(): ApprovalView | undefined;
}

/** Somebody who may be a controller. */
interface Candidate {
  /** Peer id, or the given address. */
  key: string;
  peerId?: string;
  addresses: string[];
  /** Given with --join: asked before those that merely answer. */
  given: boolean;
}

interface Registration {
  candidate: Candidate;
  /** Undefined for the moment in which it starts. */
  actor: Actor<typeof registrationMachine> | undefined;
  /** Who Noise says is there, once connected. */
  peerId: string | undefined;
  waitingAt: { fabricId: string; fabricName: string; peerId: string } | undefined;
  /** The newest run of its effect. */
  run: symbol | undefined;
  /** It is no controller, or denied us: it takes no place while that lasts. */
  resting: boolean;
}

export function startApproving(dependencies: {
  ports: Pick<NodePorts, 'clock' | 'random' | 'deriveKey' | 'platform' | 'software' | 'engines'>;
  settings: NodeSettings;
  jitter: () => number;
  disk: Disk;
  mesh: Mesh;
  actors: ActorSystem;
  authorityKey: PrivateKey;
  nodeName: string;
  report: Report;
  signal: AbortSignal;
}): Approving {
  const { ports, settings, jitter, disk, mesh, actors, authorityKey, report, signal } = dependencies;
  const { clock } = ports;
  const trustLan = settings.trustLan === true;
  const desk = createApprovalDesk({
    clock,
    random: ports.random,
    deriveKey: ports.deriveKey,
    self: mesh.peerId,
    onFailed: (error) => report('problem', `no code can be made: ${error instanceof Error ? error.message : ''}`),
  });
  const wrongProofs = createRateLimiter({
    clock,
    windowMs: 60_000,
    perKeyMax: Number.POSITIVE_INFINITY,
    totalMax: wrongProofsReportedMax,
    keysMax: 1,
  });
  const { promise: done, resolve: finish, reject: fail } = Promise.withResolvers<Membership>();
  const candidates = new Map<string, Candidate>();
  const registrations = new Map<string, Registration>();
  /** Fabrics that answered, whatever they are worth: any second one is a reason not to trust the first. */
  const fabrics = new Set<string>();
  let fabricSeenAt: number | undefined;
  let shown: ShownCode | undefined;
  /** The one that has the word: its proof was right, or its invitation was accepted. */
  let deciding: Registration | undefined;
  let toldDistrust = false;
  let over = false;

  function sawFabric(fabricId: string): void {
    fabricSeenAt ??= clock.now();
    if (fabrics.size < registrationCandidatesMax) fabrics.add(fabricId);
  }

  function showCode(next: ShownCode): void {
    shown = next;
    const { code, expiresAt } = next;
    report('code', `the code of this box is ${code}; on a controller: selvedge nodes approve ${code}`, {
      code,
      expiresAt,
    });
    for (const registration of registrations.values()) {
      if (registration !== deciding) tell(registration, { type: 'CODE_CHANGED' });
    }
  }

  const tell = ({ actor }: Registration, event: RegistrationEvent): void => actor?.send(event);

  // --- one registration

  async function mayTrust(fabricId: string, registration: Registration): Promise<boolean> {
    await clock.sleep(Math.max(1, (fabricSeenAt ?? clock.now()) + trustLanWaitMs - clock.now()), signal);
    for (const found of mesh.found()) if (found.fabricId !== undefined) sawFabric(found.fabricId);
    const alone = fabrics.size === 1 && fabrics.has(fabricId);
    if (!alone && !toldDistrust) {
      toldDistrust = true;
      report('problem', `${fabrics.size} fabrics answer here: none is trusted without a code or a token`, {
        fabrics: [...fabrics],
      });
    }
    if (!alone || deciding !== undefined) return false;
    // At once: two controllers of the fabric may invite at the same moment.
    deciding = registration;
    return true;
  }

  async function register(registration: Registration, abort: AbortSignal): Promise<Membership> {
    const { candidate } = registration;
    const run = Symbol('registration');
    registration.run = run;
    const connecting = new AbortController();
    const late = () => connecting.abort(new Error('it took too long'));
    const timer = clock.setTimeout(late, establishMs);
    const limit = AbortSignal.any([abort, connecting.signal]);
    try {
      const peerId = await mesh.connect(candidate, limit);
      registration.peerId = peerId;
      // Given by address and found by mDNS alike: one registration is enough.
      const twin = [...registrations.values()].some((other) => other !== registration && other.peerId === peerId);
      if (twin) throw new AlreadyAskedError(peerId);
      const stream = await mesh.open(peerId, enrollmentProtocol, limit);
      clock.clearTimeout(timer);
      const enrolled = await registerForApproval({
        stream,
        peerId,
        clock,
        signal: abort,
        desk,
        self: mesh.peerId,
        name: dependencies.nodeName,
        nameChosen: settings.name !== undefined,
        key: authorityKey,
        labels: settings.labels,
        engines: ports.engines.offered(),
        platform: { ...ports.platform, software: ports.software },
        trustLan,
        onWaiting(fabric) {
          sawFabric(fabric.fabricId);
          registration.waitingAt = { ...fabric, peerId };
          tell(registration, { type: 'HELD' });
          report('waiting', `the fabric ${fabric.fabricName} knows that this box waits`, { ...fabric, peerId });
        },
        onWrongProof({ fabricId, fabricName }) {
          if (!wrongProofs.allow('')) return;
          const message = `${peerId} of ${fabricName} does not know the code of this box: mistyped, or somebody guesses`;
          report('problem', message, { peerId, fabricId });
        },
        onDecided() {
          deciding = registration;
        },
        mayTrust: (fabricId) => mayTrust(fabricId, registration),
      });
      const membership = membershipOf(enrolled, { peerId, addresses: candidate.addresses }, settings);
      await saveMembership(disk, membership);
      return membership;
    } finally {
      clock.clearTimeout(timer);
      // Aborted for a new code, this one may end after the next one has begun.
      if (registration.run === run) {
        registration.waitingAt = undefined;
        registration.peerId = undefined;
        if (deciding === registration) deciding = undefined;
      }
    }
  }

  function begin(candidate: Candidate): void {
    const machine = registrationMachine.provide({
      actors: { register: fromPromise<unknown, undefined>(({ signal: abort }) => register(registration, abort)) },
    });
    // Before the actor: it runs its effect while it starts.
    const registration: Registration = {
      candidate,
      actor: undefined,
      peerId: undefined,
      waitingAt: undefined,
      run: undefined,
      resting: false,
    };
    registrations.set(candidate.key, registration);
    const actor = actors.spawn(`registration/${candidate.key}`, machine, { jitter });
    registration.actor = actor;
    let told = '';
    actor.subscribe(({ value, context }) => {
      if (value === 'joined') finish(context.membership as Membership);
      // Most members of a fabric are no controllers, and one of its controllers is enough.
      if (context.reason !== '' && context.reason !== told && value === 'backingOff') {
        report('problem', `${candidate.key}: ${context.reason}`);
      }
      told = context.reason;
      if ((value === 'resting') === registration.resting) return;
      registration.resting = value === 'resting';
      // Later: this actor may be one that is stopped.
      void Promise.resolve().then(choose);
    });
  }

  // --- whom to register with

  /** The first of the list; with more candidates than places the list turns. */
  function choose(): void {
    if (over || shown === undefined) return;
    const list = [...candidates.values()].filter(({ key }) => registrations.get(key)?.resting !== true);
    const ordered = [...list.filter(({ given }) => given), ...list.filter(({ given }) => !given)];
    const wanted = new Set(ordered.slice(0, registrationsMax).map(({ key }) => key));
    for (const [key, registration] of registrations) {
      if (wanted.has(key) || registration === deciding || registration.resting) continue;
      registration.actor?.stop();
      registrations.delete(key);
    }
    for (const key of wanted) {
      const candidate = candidates.get(key);
      if (candidate !== undefined && !registrations.has(key)) begin(candidate);
    }
  }

  function turn(): void {
    turnTimer = clock.setTimeout(turn, registrationTurnMs);
    // To the back of the list; given addresses come first all the same.
    for (const [key, { candidate }] of registrations) {
      if (candidate.given || !candidates.delete(key)) continue;
      candidates.set(key, candidate);
    }
    choose();
  }
  let turnTimer = clock.setTimeout(turn, registrationTurnMs);

  function offer(found: { peerId: string; addresses: string[]; fabricId: string | undefined }): void {
    if (found.fabricId === undefined) return;
    sawFabric(found.fabricId);
    const { peerId, addresses } = found;
    const known = candidates.get(peerId);
    if (known !== undefined) {
      known.addresses = addresses;
      const registration = registrations.get(peerId);
      if (registration !== undefined) tell(registration, { type: 'FOUND' });
      return;
    }
    if (candidates.size >= registrationCandidatesMax) {
      const idle = [...candidates.values()].find(
        ({ key, given }) => !given && registrations.get(key)?.resting !== false,
      );
      if (idle === undefined) return;
      candidates.delete(idle.key);
      registrations.get(idle.key)?.actor?.stop();
      registrations.delete(idle.key);
    }
    report('found', `found ${peerId} of a fabric`, { peerId, addresses, fabricId: found.fabricId });
    candidates.set(peerId, { key: peerId, peerId, addresses, given: false });
    choose();
  }

  async function run(): Promise<Membership> {
    const unsubscribe = mesh.subscribe((event) => {
      if (event.type === 'found') offer(event);
    });
    const abort = () => fail(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    try {
      for (const address of settings.join) {
        candidates.set(address, { key: address, addresses: [joinAddress(address)], given: true });
      }
      for (const found of mesh.found()) offer(found);
      desk.subscribe(showCode);
      await desk.start();
      choose();
      return await done;
    } finally {
      over = true;
      signal.removeEventListener('abort', abort);
      unsubscribe();
      clock.clearTimeout(turnTimer);
      desk.stop();
      for (const { actor } of registrations.values()) actor?.stop();
    }
  }

  const joined = run().then(async (membership) => {
    // What others were told of this box is of no use any more.
    const kept = new Set(membership.controllers.map(({ peerId }) => peerId));
    for (const peerId of mesh.connected()) if (!kept.has(peerId)) await mesh.disconnect(peerId);
    return membership;
  });
  joined.catch(() => undefined);

  return {
    joined,
    view() {
      if (shown === undefined) return undefined;
      const waitingAt = [...registrations.values()].flatMap((registration) => registration.waitingAt ?? []);
      return { code: shown.code, expiresAt: shown.expiresAt, waitingAt, trustLan };
    },
  };
}

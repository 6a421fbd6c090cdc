// Hostile enrollment: what strangers say to a controller that takes tokens, what members and strangers present, and what an answerer says to a
// box that joins. The product's own ends over streams in memory, with a clock that stands.

import { enrollWithToken } from '../../pki/enrollment-client.ts';
import { enrollmentProtocol } from '../../pki/enrollment-frames.ts';
import * as errors from '../../pki/errors.ts';
import { createFramePair } from '../frame-pair.ts';
import { createSite } from '../pki/enrollment-fixture.ts';
import { hourMs } from '../pki/fabric-fixture.ts';
import { mutateJsonBytes } from './mutate.ts';
import type { HostileKind, Verdict } from './run-kind.ts';
import { flag, like, list, members, oneOf, readJson, text } from './shapes.ts';

const jsonBytes = (value: unknown): Uint8Array => new Uint8Array(Buffer.from(JSON.stringify(value)));
const said = (frame: Uint8Array): { type?: unknown } => (readJson(frame) ?? {}) as { type?: unknown };
/** Errors that somebody declared: one of this folder's classes. */
const isDeclared = (error: unknown): boolean =>
  Object.values(errors).some((known) => typeof known === 'function' && error instanceof known);

const label = like(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
const base64 = like(/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/);
const labels = (value: unknown): boolean =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  Object.entries(value).length <= 64 &&
  Object.entries(value).every(([key, held]) => text(128, 1)(key) && text(128)(held));

/** What a box or a member says after the greeting. */
const enrollmentClaims: HostileKind = {
  name: 'enrollment-claims',
  share: 60,
  async open() {
    const site = await createSite();
    const { fabric, server } = site;
    const member = fabric.addNode('box9');
    const box = site.newBox();
    const token = await site.newToken({ uses: 1_000, ttlMs: 7 * 24 * hourMs });
    // The secret and the request as the box's own end would send them.
    const honest = server.open(box.peerId);
    await enrollWithToken(site.enrollmentOf(box, token, honest.near));
    const tokenFrame = honest.sentByNear[1] ?? new Uint8Array();
    const { secret, request } = said(tokenFrame) as { secret?: string; request?: string };
    const present = jsonBytes({
      type: 'present',
      chain: member.chain.map((der) => Buffer.from(der).toString('base64')),
    });
    const pending = jsonBytes({
      ...{
        type: 'pending',
        handle: 'K7',
        nonce: Buffer.alloc(32, 1).toString('base64'),
        trustLan: false,
        name: 'box3',
      },
      ...{
        nameChosen: false,
        labels: {},
        engines: ['process'],
        platform: { os: 'linux', arch: 'x64', software: '0.1.0' },
      },
    });
    const claim = members(
      {
        ...{
          type: oneOf('token'),
          secret: oneOf(secret),
          request: oneOf(request),
          name: label,
          nameChosen: flag,
          labels,
        },
        ...{
          engines: list(text(128), 8),
          platform: members({ os: text(128), arch: text(128), software: text(128) }, { closed: true }),
        },
      },
      { closed: true },
    );
    const valid = [tokenFrame, present];
    return {
      valid,
      hostile: (draw) => mutateJsonBytes(draw.pick([...valid, pending]), valid, draw),
      async take(frame, draw): Promise<Verdict> {
        const { requests } = site;
        const before = { requests: requests.length, welcomed: server.welcomed.length };
        // A member's own peer id where the frame may be its chain; otherwise anybody's, each with its own share of attempts.
        const honest = valid.includes(frame);
        const from = said(frame).type === 'present' && (honest || !draw.oneIn(4)) ? member.peerId : fabric.newPeerId();
        if (from === member.peerId) await fabric.clock.advance(3_000);
        const { near, sentByFar, served } = server.open(from);
        if (!honest && draw.oneIn(10)) await near.send(frame);
        else await near.send(jsonBytes({ type: 'hello' }));
        await near.send(frame).catch(() => undefined);
        await near.close().catch(() => undefined);
        const error = await served;
        near.abort(new Error('the case is over'));
        if (error !== undefined && !isDeclared(error)) return { accepted: false, wrong: `it threw ${error.stack}` };
        const answers = sentByFar.map((one) => said(one).type);
        const accepted = answers.includes('admitted') || answers.includes('welcome');
        const admitted = requests.length - before.requests;
        const welcomed = server.welcomed.length - before.welcomed;
        if (admitted + welcomed !== (accepted ? 1 : 0))
          return { accepted, wrong: `${admitted + welcomed} were let in` };
        if (admitted === 1 && !claim(readJson(frame, { fatal: true })))
          return { accepted, wrong: 'a claim of another form admits' };
        if (welcomed === 1) {
          const { chain } = readJson(frame) as { chain: string[] };
          const own = member.chain.every((der, index) => Buffer.from(chain[index] ?? '', 'base64').equals(der));
          if (from !== member.peerId || !own) return { accepted, wrong: 'another chain is welcomed' };
        }
        requests.length = 0;
        server.welcomed.length = 0;
        server.refusals.length = 0;
        return { accepted };
      },
    };
  },
};

/** What an answerer says to a box that has a token. */
const enrollmentAnswers: HostileKind = {
  name: 'enrollment-answers',
  share: 60,
  async open() {
    const site = await createSite();
    const box = site.newBox();
    const token = await site.newToken({ uses: 1_000 });
    const honest = site.server.open(box.peerId);
    await enrollWithToken(site.enrollmentOf(box, token, honest.near));
    const [greeting = new Uint8Array(), admission = new Uint8Array()] = honest.sentByFar;
    const { chain } = said(admission) as { chain?: string[] };
    const admitted = members(
      {
        ...{ type: oneOf('admitted'), chain: list(base64, 4, 1), node: label, router: oneOf('interior', 'edge') },
        controllers: list(
          members(
            { peerId: like(/^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/), addresses: list(text(200), 32) },
            { closed: true },
          ),
          32,
        ),
      },
      { closed: true },
    );
    const others = [greeting, admission];
    return {
      valid: [greeting, admission],
      hostile: (draw) => mutateJsonBytes(draw.pick(others), others, draw),
      async take(frame, draw): Promise<Verdict> {
        const isGreeting = frame !== admission && (said(frame).type === 'hello' || draw.oneIn(2));
        const { near, far, sentByNear } = createFramePair(enrollmentProtocol);
        const joined = enrollWithToken(site.enrollmentOf(box, token, near)).then(
          (enrolled) => ({ enrolled }),
          (error: unknown) => ({ error }),
        );
        for (const one of isGreeting ? [frame, admission] : [greeting, frame])
          await far.send(one).catch(() => undefined);
        await far.close().catch(() => undefined);
        const outcome = await joined;
        far.abort(new Error('the case is over'));
        if ('error' in outcome) {
          if (!isDeclared(outcome.error)) throw outcome.error;
          const told = sentByNear.some((one) => said(one).type === 'token');
          const proven = !isGreeting || readJson(frame, { fatal: true }) !== undefined;
          return told && !proven
            ? { accepted: false, wrong: 'the secret went to somebody unproven' }
            : { accepted: false };
        }
        const given = outcome.enrolled.chain.map((der) => Buffer.from(der).toString('base64'));
        if (JSON.stringify(given) !== JSON.stringify(chain)) return { accepted: true, wrong: 'another chain is taken' };
        const fits = isGreeting || admitted(readJson(frame, { fatal: true }));
        return fits ? { accepted: true } : { accepted: true, wrong: 'its form is not one' };
      },
    };
  },
};

export const enrollmentKinds: readonly HostileKind[] = [enrollmentClaims, enrollmentAnswers];

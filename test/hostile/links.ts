// Hostile messages of a link, and of the sessions that controllers open on nodes (commands and logs): over a stream of frames in memory, into
// the product's own readers, each beside a check of the form that is written anew.

import { once } from 'node:events';
import { decodeExec, encodeExec } from '../../control/exec-frames.ts';
import { execValuesMax } from '../../control/limits.ts';
import {
  announcementBytesMax,
  announcementPartsMax,
  certificatesPerMessageMax,
  certificateTextMax,
  linkStateBytesMax,
  reachWantedMax,
  referencedCertificatesMax,
  servicesWantedMax,
  statementsPerMessageMax,
  summaryPositionsMax,
} from '../../mesh/limits.ts';
import { createExecSessions, serveExec } from '../../node-runtime/exec-sessions.ts';
import {
  conditionCharactersMax,
  conditionsMax,
  logGrepCharactersMax,
  logTailMax,
  neighboursMax,
} from '../../node-runtime/limits.ts';
import { type LinkMessage, linkProtocol, runLinkSession } from '../../node-runtime/link-session.ts';
import { serveLogs } from '../../node-runtime/log-protocol.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createFramePair } from '../frame-pair.ts';
import { mutateBytes, mutateJson, mutateJsonBytes } from './mutate.ts';
import type { HostileKind, Verdict } from './run-kind.ts';
import { either, flag, like, list, maybe, members, oneOf, readJson, text, whole } from './shapes.ts';

const jsonBytes = (value: unknown): Uint8Array => new Uint8Array(Buffer.from(JSON.stringify(value)));
const somePeer = '12D3KooWGzh8HUcoYPY1XmRkDXPHrxTg1TfTnzvRUpDy5sXHbtA7';

const addresses = list(text(256), 32);
const router = oneOf('interior', 'edge');
const peer = like(/^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/);
const kind = oneOf('link-state', 'announcement');
const where = { peerId: peer, part: whole(0, announcementPartsMax - 1), bootCounter: whole(0), sequence: whole(0) };
const position = members(where);
const linkMessage = either(
  members({
    type: oneOf('node'),
    node: text(63),
    router,
    controller: flag,
    addresses,
    conditions: maybe(list(text(conditionCharactersMax), conditionsMax)),
    offer: maybe(members({ addresses, authorityKeySha256: text(64) })),
  }),
  members({
    ...{ type: oneOf('summary'), of: kind, list: list(position, summaryPositionsMax), last: flag, answer: flag },
    references: maybe(flag),
  }),
  members({
    type: oneOf('referenced'),
    of: kind,
    list: list(
      members({
        ...where,
        certificates: list(text(22, 22), referencedCertificatesMax),
        referenced: members({
          ...{ alg: text(16), chain: list(whole(0), 4), signature: text(256) },
          // Whatever JSON can say.
          payload: (value) => value !== undefined,
        }),
      }),
      statementsPerMessageMax,
    ),
  }),
  members({ type: oneOf('certificates-wanted'), list: list(text(22, 22), certificatesPerMessageMax) }),
  members({ type: oneOf('certificates'), list: list(text(certificateTextMax), certificatesPerMessageMax) }),
  members({
    type: oneOf('statements'),
    of: kind,
    list: list(
      members({ ...where, jws: text(Math.max(announcementBytesMax, linkStateBytesMax)) }),
      statementsPerMessageMax,
    ),
  }),
  members({
    type: oneOf('reach-wanted'),
    list: list(peer, reachWantedMax),
    services: maybe(list(text(255, 1), servicesWantedMax)),
  }),
  members({
    type: oneOf('reach'),
    list: list(members({ peerId: peer, costMicroseconds: maybe(whole(0)) }), reachWantedMax),
  }),
  members({
    type: oneOf('neighbours'),
    list: list(members({ peerId: peer, router, controller: flag, addresses }), neighboursMax),
  }),
);

const linkMessages: HostileKind = {
  name: 'link-messages',
  share: 120,
  open() {
    const name = 'n'.repeat(22);
    const at = { peerId: somePeer, part: 0, bootCounter: 3, sequence: 7 };
    const valid = [
      { type: 'node', node: 'box1', router: 'interior', controller: true, addresses: ['/ip4/192.0.2.7/tcp/7433'] },
      {
        ...{ type: 'node', node: 'box2', router: 'edge', controller: false, addresses: [], conditions: ['no tmpfs'] },
        offer: { addresses: ['192.0.2.7:7434'], authorityKeySha256: 'ab'.repeat(32) },
      },
      { type: 'summary', of: 'link-state', list: [at], last: true, answer: false },
      { type: 'summary', of: 'announcement', list: [], last: true, answer: true, references: true },
      {
        ...{ type: 'referenced', of: 'announcement' },
        list: [{ ...at, certificates: [name], referenced: { alg: 'ES256', chain: [0], payload: {}, signature: 'c' } }],
      },
      { type: 'certificates-wanted', list: [name] },
      { type: 'certificates', list: ['MIIB'] },
      { type: 'statements', of: 'announcement', list: [{ ...at, jws: 'a.b.c' }] },
      { type: 'reach-wanted', list: [somePeer], services: ['default.shop.web'] },
      { type: 'reach', list: [{ peerId: somePeer, costMicroseconds: 700 }, { peerId: somePeer }] },
      {
        type: 'neighbours',
        list: [{ peerId: somePeer, router: 'edge', controller: false, addresses: ['/ip4/192.0.2.7/tcp/1'] }],
      },
    ].map(jsonBytes);
    return {
      valid,
      hostile: (draw) => mutateJsonBytes(draw.pick(valid), valid, draw),
      async take(frame): Promise<Verdict> {
        const { near, far } = createFramePair(linkProtocol);
        const heard: LinkMessage[] = [];
        const session = runLinkSession(far, (message) => heard.push(message));
        await near.send(frame);
        await near.close();
        const reason = await session.ended;
        const fits = linkMessage(readJson(frame));
        const accepted = heard.length > 0;
        if (accepted && !linkMessage(heard[0])) return { accepted, wrong: 'another message came out' };
        if (accepted !== fits) return { accepted, wrong: fits ? `it was refused: ${reason}` : 'its form is not one' };
        return reason.length > 1_000 ? { accepted, wrong: `the reason has ${reason.length} characters` } : { accepted };
      },
    };
  },
};

const cells = whole(0, 65_535);
const closed = { closed: true };
const execMessage = either(
  members(
    {
      begin: members(
        {
          instance: text(255, 1),
          command: (value) => list(text(64 * 1024), 256, 1)(value) && (value as string[]).join('').length <= 64 * 1024,
          terminal: maybe(members({ type: like(/^[\w.+-]{1,64}$/), columns: cells, rows: cells }, closed)),
        },
        closed,
      ),
    },
    closed,
  ),
  members({ resized: members({ columns: cells, rows: cells }, closed) }, closed),
  members({ inputEnded: oneOf(true) }, closed),
  members({ taken: whole(1) }, closed),
  members({ ended: members({ status: maybe(Number.isSafeInteger), signal: maybe(text(Infinity)) }) }, closed),
  members(
    {
      problem: members({
        ...{ type: text(Infinity), title: text(Infinity), detail: text(Infinity), action: text(Infinity) },
        status: (value) => typeof value === 'number' && Number.isFinite(value),
      }),
    },
    closed,
  ),
);

/** Whether the documentation of exec-frames.ts calls this a frame. */
function isExecFrame(frame: Uint8Array): boolean {
  const [kind = 255] = frame;
  return kind === 0 ? execMessage(readJson(frame.subarray(1))) : kind >= 1 && kind <= 3;
}

const begin = { begin: { instance: 'a.b.c.0', command: ['sh', '-c', 'date'] } };
const execFrames: HostileKind = {
  name: 'exec-frames',
  share: 60,
  open() {
    const clock = createSimClock();
    let running = 0;
    let typed = 0;
    const run = createExecSessions({
      clock,
      engines: {
        async exec(_instance, _command, { signal, session }) {
          running++;
          const read = async (): Promise<void> => {
            for await (const bytes of session?.input ?? []) typed += bytes.byteLength;
          };
          try {
            // As the engines do: a command is ended by its signal.
            await Promise.race([read(), once(signal, 'abort').then(() => Promise.reject(signal.reason))]);
            return { status: 0, signal: undefined, output: '', cut: false } as never;
          } finally {
            running--;
          }
        },
      },
      told: () => undefined,
      problem: () => undefined,
    });
    const serve = serveExec({ run, isController: () => true });
    const messages = [begin, { resized: { columns: 80, rows: 24 } }, { inputEnded: true as const }];
    const terminal = { begin: { ...begin.begin, terminal: { type: 'xterm', columns: 80, rows: 24 } } };
    const valid = [
      ...[...messages, terminal].map((message) => encodeExec({ message })),
      encodeExec({ stream: 'stdin', bytes: Buffer.from('hello') }),
    ].map((frame) => new Uint8Array(frame));
    return {
      valid,
      hostile(draw) {
        const frame = draw.pick(valid);
        if (frame[0] !== 0 || draw.oneIn(4)) return mutateBytes(frame, valid, draw);
        const json = mutateJson(Buffer.from(frame.subarray(1)).toString('utf8'), draw);
        return new Uint8Array(Buffer.concat([Buffer.from([0]), Buffer.from(json)]));
      },
      async take(frame): Promise<Verdict> {
        let accepted = true;
        try {
          decodeExec(frame);
        } catch {
          accepted = false;
        }
        // What says much twice fits in the end, and is refused unread all the same.
        if (accepted !== isExecFrame(frame) && (accepted || frame.length < execValuesMax))
          return { accepted, wrong: accepted ? 'its form is not one' : 'it was refused' };
        // As the first frame of a session, and as the second one of one that runs.
        for (const first of [[frame], [encodeExec({ message: begin }), frame]]) {
          const { near, far } = createFramePair('/hostile');
          const served = serve(far, 'controller').catch((error: Error) => far.abort(error));
          for (const one of first) await near.send(one).catch(() => undefined);
          await near.close();
          await served;
          if (running > 0) return { accepted, wrong: 'the command runs on after its session' };
          near.abort(new Error('the case is over'));
        }
        return typed > frame.length ? { accepted, wrong: 'more was typed than was sent' } : resetTyped(accepted);
      },
    };
    function resetTyped(accepted: boolean): Verdict {
      typed = 0;
      return { accepted };
    }
  },
};

const logRequest = either(
  members(
    {
      ...{ instance: text(255, 1), tail: whole(0, logTailMax), follow: flag, since: maybe(whole(0)) },
      ...{ grep: maybe(text(logGrepCharactersMax, 1)), ignoreCase: maybe(flag) },
    },
    closed,
  ),
  members({ gone: text(255, 1) }, closed),
);

const logRequests: HostileKind = {
  name: 'log-requests',
  share: 30,
  open() {
    let asked: unknown[] = [];
    const serve = serveLogs({
      engines: {
        async *logs(instance, query) {
          asked.push({ instance, ...query });
          yield { at: 1, stream: 'stdout', text: 'a line' };
        },
        async gone(name) {
          asked.push({ gone: name });
          return undefined;
        },
      },
      isController: () => true,
    });
    const valid = [
      { instance: 'a.b.c.0', tail: 10, follow: false },
      { instance: 'a.b.c.0', tail: 0, follow: true, since: 1, grep: 'error', ignoreCase: true },
      { gone: 'a.b.c.0' },
    ].map(jsonBytes);
    return {
      valid,
      hostile: (draw) => mutateJsonBytes(draw.pick(valid), valid, draw),
      async take(frame): Promise<Verdict> {
        asked = [];
        const { near, far } = createFramePair('/hostile');
        const served = serve(far, 'controller').then(
          () => true,
          () => false,
        );
        await near.send(frame);
        const accepted = await served;
        near.abort(new Error('the case is over'));
        const fits = logRequest(readJson(frame));
        if (accepted !== fits) return { accepted, wrong: accepted ? 'its form is not one' : 'it was refused' };
        if (asked.length !== (accepted ? 1 : 0))
          return { accepted, wrong: `the engine was asked ${asked.length} times` };
        return accepted && !logRequest(asked[0])
          ? { accepted, wrong: 'the engine was asked something else' }
          : { accepted };
      },
    };
  },
};

export const linkKinds: readonly HostileKind[] = [linkMessages, execFrames, logRequests];

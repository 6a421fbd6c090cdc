// The failure detector by itself: when it asks, when it doubts and when it gives a peer up, on a quiet link, on a slow one, with a peer that is
// busy and on a box that is busy itself. Virtual time.

import test from 'ava';
import {
  carry,
  createLiveness,
  excuse,
  hear,
  isOverdue,
  judge,
  type KeepAliveSettings,
  lateness,
  sampleRoundTrip,
  silentMsAllowed,
} from '../../mesh/keep-alive.ts';
import {
  answerMsMin,
  doubtMs,
  keepAliveIntervalMs,
  latenessAtFirstMs,
  latenessHalfLifeMs,
  lookMsMin,
  silentMsCeiling,
  silentMsMax,
} from '../../mesh/limits.ts';
import { createSimRandom } from '../../simulations/sim-random.ts';

const usual: KeepAliveSettings = { intervalMs: keepAliveIntervalMs, silentMsMax };

/** A link that is asked as the adapter asks, in steps of a millisecond. */
function run({
  asksFirst = true,
  settings = usual,
  lateMs = 0,
  untilMs,
  answerMs,
}: {
  asksFirst?: boolean;
  settings?: KeepAliveSettings;
  lateMs?: number;
  untilMs: number;
  /** Of a ping sent then; undefined is never. */
  answerMs(atMs: number): number | undefined;
}): { pings: number[]; deadAt: number | undefined; heardAt: number } {
  const liveness = createLiveness(0, asksFirst, lateMs);
  const pings: number[] = [];
  let answerAt = Number.POSITIVE_INFINITY;
  let lookAt = 0;
  for (let now = 0; now <= untilMs; now += 1) {
    if (now >= answerAt) {
      answerAt = Number.POSITIVE_INFINITY;
      hear(liveness, now, settings);
      liveness.pinging = false;
    }
    if (now < lookAt) continue;
    const { what, nextMs } = judge(liveness, now, settings);
    if (what === 'dead') return { pings, deadAt: now, heardAt: liveness.heardAt };
    if (what === 'doubt') liveness.doubtedAt = now;
    if (what === 'ping') {
      pings.push(now);
      liveness.pinging = true;
      liveness.pingedAt = now;
      answerAt = now + (answerMs(now) ?? Number.POSITIVE_INFINITY);
    }
    lookAt = Math.max(nextMs, now + lookMsMin);
  }
  return { pings, deadAt: undefined, heardAt: liveness.heardAt };
}

test('a prompt peer is asked three times a second, and given up two thirds of a second after its last sign of life', (t) => {
  const quiet = run({ untilMs: 60_000, answerMs: () => 1 });
  t.is(quiet.deadAt, undefined);
  t.true(quiet.pings.length <= 240, `${quiet.pings.length} pings in a minute`);
  for (const asksFirst of [true, false])
    for (let lastMs = 30_000; lastMs < 30_600; lastMs += 7) {
      const { deadAt, heardAt } = run({
        ...{ asksFirst, untilMs: 60_000 },
        answerMs: (atMs) => (atMs < lastMs ? 1 : undefined),
      });
      const silentMs = (deadAt ?? Number.POSITIVE_INFINITY) - heardAt;
      t.true(silentMs >= silentMsMax, `${silentMs} ms`);
      t.true(silentMs <= silentMsMax + 80, `${silentMs} ms`);
    }
});

test('a ping has time to be sent again, and what has arrived is read before the verdict', (t) => {
  const liveness = createLiveness(0, true, 0);
  liveness.pingedAt = 0;
  liveness.heardAt = 0;
  // Asked late: it was this side that did not come to it.
  t.is(judge(liveness, 550, usual).what, 'ping');
  Object.assign(liveness, { pinging: true, pingedAt: 550 });
  t.is(judge(liveness, 700, usual).what, 'alive');
  t.is(judge(liveness, 550 + answerMsMin, usual).what, 'doubt');
  liveness.doubtedAt = 550 + answerMsMin;
  t.is(judge(liveness, 551 + answerMsMin, usual).what, 'alive', 'nothing was read since');
  const after = 550 + answerMsMin + doubtMs;
  t.is(judge(liveness, after, usual).what, 'dead');
  hear(liveness, after, usual);
  t.is(judge(liveness, after, usual).what, 'alive');
});

test('the end that was dialled leaves the asking to the other, and takes a sample of its own now and then', (t) => {
  const liveness = createLiveness(0, false, 0);
  liveness.pingedAt = 0;
  let pings = 0;
  for (let now = 0; now < 60_000; now += 10) {
    if (now % keepAliveIntervalMs === 0) hear(liveness, now, usual);
    if (judge(liveness, now, usual).what !== 'ping') continue;
    pings += 1;
    liveness.pingedAt = now;
  }
  t.is(pings, 12);
});

test('a peer that is busy is late more and more often before it is late enough to be lost', (t) => {
  const random = createSimRandom('busy');
  let worst = 0;
  const { deadAt, pings } = run({
    untilMs: 60 * 60_000,
    lateMs: latenessAtFirstMs,
    answerMs(atMs) {
      // Idle at first, then ten programs on each core, and so on each ten minutes.
      const usually = 1 + 99 * Math.sin((Math.PI * atMs) / 600_000) ** 2;
      const answer = -usually * Math.log(1 - random.next());
      worst = Math.max(worst, answer);
      return answer;
    },
  });
  t.is(deadAt, undefined);
  t.true(pings.length > 5_000);
  t.true(worst > silentMsMax, `the slowest answer took ${Math.round(worst)} ms`);
});

test('lateness counts four times, or a second more than it was, at most ten, and half of it is forgotten each twenty seconds', (t) => {
  const liveness = createLiveness(0, true, 0);
  t.is(silentMsAllowed(liveness, 0, usual), silentMsMax);
  hear(liveness, keepAliveIntervalMs + 200, usual);
  t.is(Math.round(silentMsAllowed(liveness, 500, usual)), silentMsMax + 800);
  t.is(Math.round(lateness(liveness, 500 + latenessHalfLifeMs)), 100);
  hear(liveness, 510, usual);
  t.is(Math.round(lateness(liveness, 510)), 200, 'one prompt answer proves nothing');
  const slow = createLiveness(0, true, 0);
  hear(slow, keepAliveIntervalMs + 1_500, usual);
  t.is(Math.round(silentMsAllowed(slow, 1_800, usual)), silentMsMax + 2_500);
  hear(liveness, 60_000, usual);
  t.is(silentMsAllowed(liveness, 60_000, usual), silentMsCeiling);
  t.is(Math.round(silentMsAllowed(liveness, 60_000 + 20 * latenessHalfLifeMs, usual)), silentMsMax);
});

test('a peer is overdue before it is given up: when it was asked and is silent for longer than of late', (t) => {
  const liveness = createLiveness(0, true, 0);
  liveness.pingedAt = 300;
  t.false(isOverdue(liveness, 10_000), 'it was not asked');
  liveness.pinging = true;
  t.false(isOverdue(liveness, 300 + answerMsMin));
  t.true(isOverdue(liveness, 301 + answerMsMin));
  t.is(judge(liveness, 301 + answerMsMin, usual).what, 'alive');
  hear(liveness, 500 + answerMsMin, usual);
  const lateMs = lateness(liveness, 500 + answerMsMin);
  t.false(isOverdue(liveness, 500 + 2 * answerMsMin), 'it said something else meanwhile');
  t.true(isOverdue(liveness, 501 + 2 * answerMsMin + lateMs), 'and no answer yet');

  const busy = { ...createLiveness(0, true, 150), pingedAt: 300, pinging: true };
  t.false(isOverdue(busy, 300 + answerMsMin + 145));
  t.true(isOverdue(busy, 301 + answerMsMin + 150));

  const far = { ...createLiveness(0, true, 0), pingedAt: 300, pinging: true };
  sampleRoundTrip(far, 600);
  t.false(isOverdue(far, 300 + 600 + 4 * 300));
  t.true(isOverdue(far, 301 + 600 + 4 * 300));
});

test('while this process does not run nobody is silent', (t) => {
  const liveness = createLiveness(0, true, 0);
  Object.assign(liveness, { pinging: true, pingedAt: 250 });
  excuse(liveness, 30_000, 30_260);
  t.is(30_260 - liveness.heardAt, 260);
  t.is(judge(liveness, 30_260, usual).what, 'alive');
  excuse(liveness, 3_600_000, 40_000);
  t.is(liveness.heardAt, 40_000, 'never later than now');
  liveness.doubtedAt = 40_000;
  excuse(liveness, 5_000, 45_000);
  t.true(judge(liveness, 45_000 + doubtMs - 1, usual).what !== 'dead', 'what has arrived is read before it is judged');
});

test('bytes of a message that is not whole are a sign of life, and room in a full buffer; bytes that nobody takes are not', (t) => {
  const settings = usual;
  const counts = { atMs: 0, receivedBytes: 0, handedBytes: 0, waitingBytes: 0 };
  const part = createLiveness(0, true, 0);
  carry(part, { ...counts, atMs: 300, receivedBytes: 10 }, settings);
  t.is(part.heardAt, 0, 'there was nothing to compare with');
  carry(part, { ...counts, atMs: 550, receivedBytes: 20 }, settings);
  t.is(part.heardAt, 550);
  hear(part, 700, settings);
  carry(part, { ...counts, atMs: 900, receivedBytes: 30 }, settings);
  t.is(part.heardAt, 700, 'that was the whole message');
  carry(part, { ...counts, atMs: 1_200, receivedBytes: 30 }, settings);
  t.is(part.heardAt, 700);

  const full = createLiveness(0, true, 0);
  carry(full, { ...counts, atMs: 100, handedBytes: 1_000, waitingBytes: 0 }, settings);
  carry(full, { ...counts, atMs: 200, handedBytes: 2_000, waitingBytes: 5_000 }, settings);
  t.is(full.heardAt, 0, 'the system had room');
  carry(full, { ...counts, atMs: 300, handedBytes: 2_000, waitingBytes: 9_000 }, settings);
  t.is(full.heardAt, 0);
  carry(full, { ...counts, atMs: 400, handedBytes: 3_000, waitingBytes: 8_000 }, settings);
  t.is(full.heardAt, 400);
});

test('a link that may be silent for long is asked seldom, and given up when that time is over', (t) => {
  const settings = { intervalMs: 15_000, silentMsMax: 30_000 };
  const { pings, deadAt, heardAt } = run({
    ...{ settings, untilMs: 900_000 },
    answerMs: (atMs) => (atMs < 600_000 ? 80 : undefined),
  });
  t.true(pings.length <= 60, `${pings.length} pings in fifteen minutes`);
  const silentMs = (deadAt ?? 0) - heardAt;
  t.true(silentMs >= 30_000 && silentMs < 31_000, `${silentMs} ms`);
});

test('round trips are smoothed as a TCP smooths them', (t) => {
  const steady = createLiveness(0, true);
  for (let n = 0; n < 50; n++) sampleRoundTrip(steady, 1);
  t.true(Math.abs((steady.roundTripMs ?? 0) - 1) < 0.01);
});

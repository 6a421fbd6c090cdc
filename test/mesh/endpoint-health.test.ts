// Who is ejected, for how long, and what ends it; and whose calls are said to fail.

import test from 'ava';
import { createEndpointHealth, ejectionOf } from '../../mesh/endpoint-health.ts';
import { createFailingCalls } from '../../mesh/failing-calls.ts';
import { callReasonCharactersMax, ejectionMs, ejectionMsMax, failingCallsKeptMs } from '../../mesh/limits.ts';
import type { Endpoint } from '../../mesh/service-network.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createSimRandom } from '../../simulations/sim-random.ts';

const service = { project: 'default', application: 'cold-chain', microservice: 'monitor', port: 8080 };
const endpoint: Endpoint = { ...service, instance: 'default.cold-chain.monitor.0', peerId: 'peer', ready: true };

test('each failure in a row ejects for longer, within bounds and with chance in it', (t) => {
  t.is(ejectionOf(1, 0), ejectionMs);
  t.is(ejectionOf(2, 0), 2 * ejectionMs);
  t.is(ejectionOf(2, 1), ejectionMs, 'chance takes a half at most');
  const random = createSimRandom('ejections');
  for (let failures = 1; failures < 3_000; failures += 1) {
    const lengthMs = ejectionOf(failures, random.next());
    t.true(lengthMs >= ejectionMs / 2 && lengthMs <= ejectionMsMax);
  }
  t.not(ejectionOf(5, random.next()), ejectionOf(5, random.next()));
});

test('an ejection ends by itself; failures count on until a call is answered', async (t) => {
  const clock = createSimClock();
  const health = createEndpointHealth({ clock, random: createSimRandom('health') });
  const lengths: number[] = [];
  for (let failure = 1; failure <= 8; failure += 1) {
    health.failed(endpoint, 'refused');
    health.failed(endpoint, 'another call that failed at the same time');
    const [ejected] = health.ejected();
    t.like(ejected, { instance: endpoint.instance, port: 8080, reason: 'refused', failures: failure });
    t.true(health.isEjected(endpoint));
    lengths.push((ejected?.until ?? 0) - clock.now());
    await clock.advance(lengths.at(-1) ?? 0);
    t.false(health.isEjected(endpoint));
    t.deepEqual(health.ejected(), []);
  }
  t.true((lengths[3] ?? 0) > (lengths[0] ?? 0) && Math.max(...lengths) <= ejectionMsMax, `${lengths}`);
  health.answered(endpoint);
  health.failed(endpoint, 'refused');
  t.is(health.ejected()[0]?.failures, 1, 'an answer begins anew');
});

test('an ejection is of one port of one instance, and news of it ends it', (t) => {
  const health = createEndpointHealth({ clock: createSimClock(), random: createSimRandom('ports') });
  health.failed(endpoint, 'x'.repeat(10_000));
  t.is(health.ejected()[0]?.reason.length, callReasonCharactersMax);
  t.false(health.isEjected({ ...endpoint, port: 9090 }));
  t.false(health.isEjected({ ...endpoint, instance: 'default.cold-chain.monitor.1' }));
  health.forgetWhere(({ peerId }) => peerId === 'another');
  t.true(health.isEjected(endpoint));
  health.forgetWhere(({ peerId }) => peerId === 'peer');
  t.false(health.isEjected(endpoint));
});

test('a clock that is set back by years ejects nobody for years', (t) => {
  const clock = createSimClock();
  let behindMs = 0;
  const moved = { ...clock, now: () => clock.now() - behindMs };
  const health = createEndpointHealth({ clock: moved, random: createSimRandom('clock') });
  health.failed(endpoint, 'refused');
  behindMs = 10 * 365 * 86_400_000;
  t.false(health.isEjected(endpoint));
  t.deepEqual(health.ejected(), []);
});

test('calls that fail are told until one is answered, the caller is gone, or it has not tried for long', async (t) => {
  const clock = createSimClock();
  const failing = createFailingCalls({ clock });
  const caller = 'default.cold-chain.dashboard.0';
  const since = clock.now();
  failing.failed(caller, service, 'no instance of it is ready');
  await clock.advance(1_000);
  failing.failed(caller, service, 'its instance 1 is not ready');
  failing.failed('default.cold-chain.dashboard.1', service, 'another');
  t.deepEqual(failing.current()[0], { caller, called: 'monitor:8080', reason: 'its instance 1 is not ready', since });
  failing.answered(caller, { ...service, port: 9090 });
  t.is(failing.current().length, 2, 'another port is another service');
  failing.answered(caller, service);
  t.is(failing.current().length, 1);
  failing.forget('default.cold-chain.dashboard.1');
  t.deepEqual(failing.current(), []);
  failing.failed(caller, service, 'no instance of it is ready');
  await clock.advance(failingCallsKeptMs + 1);
  t.deepEqual(failing.current(), []);
});

// Networks of programs across the life of daemons, and on a box that cannot have them, under a real daemon as root on a box of the test's own.

import test from 'ava';
import { packetFiltersMissing } from '../mesh/namespaces.ts';
import { skip } from '../skip.ts';
import { waitFor } from './fabric.ts';
import { createPlace, hider, manifest } from './process-network.ts';
import { isAlive } from './processes.ts';
import { tell } from './story.ts';

const missing = packetFiltersMissing();

test('a killed daemon leaves programs their networks; the next one takes them over, and leaves nothing when it ends them', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const place = await createPlace(t);
  const { ask, fetched, box, inside } = place;
  const standing = place.standing();
  const first = await place.up(['--found', '--fabric', 'apart']);
  await place.apply(manifest() + hider);
  const before = [await place.running('server'), await place.running('inside'), await place.running('hider')];
  const lookUp = 'require("dns").lookup("server", (error, address) => console.log(address))';
  const called = await ask('inside', lookUp);

  await step('the same programs, addresses and names under the next daemon', async () => {
    await first.kill('SIGKILL');
    await place.up();
    for (const one of before) t.is((await place.running(one.microservice)).pid, one.pid);
    t.is(await ask('inside', lookUp), called);
    await waitFor('an answer', async () => /^198\.1[89]\./.test((await fetched('inside', 'http://server/')).join()));
  });

  const rules = () =>
    inside(box, 'iptables-save')
      .split('\n')
      .filter((line) => line.startsWith('-A INPUT -i sv-'));
  const [rule = ''] = rules();
  t.not(rule, '');
  inside(box, 'iptables', ...rule.replace('-A', '-D').split(' '));
  t.deepEqual(rules(), []);

  await step('one that ended has its network anew, under the same address', async () => {
    const old = await place.running('server');
    process.kill(old.pid ?? 0, 'SIGKILL');
    const next = await waitFor('it to run again', async () => {
      const now = await place.running('server');
      return now.pid === old.pid ? undefined : now;
    });
    t.is(next.addresses?.[0]?.host, old.addresses?.[0]?.host);
    t.regex((await fetched('inside', 'http://server/')).join(), /^198\.1[89]\./);
  });

  await step('a rule that somebody removed is made again', async () => {
    await waitFor('the rule', () => rules().length === 1);
    t.pass();
  });

  await step('a program that ended while no daemon was there left nothing, and one that hid is cut off', async () => {
    const second = place.daemon();
    await second.kill('SIGKILL');
    for (const { pid = 0 } of [await pidOf('inside'), await pidOf('hider')]) process.kill(pid, 'SIGKILL');
    await waitFor('its end', async () => !(await isAlive(before[1]?.pid ?? 0)));
    const third = await place.up();
    await place.running('inside');
    await place.running('hider');
    await waitFor('one cable for each', () => place.cables() === 3);
    await third.client.down(true);
    await third.ended;
    t.deepEqual(place.standing(), standing, 'the box is as it was');
  });

  function pidOf(microservice: string): { pid?: number | undefined } {
    return before.find((one) => one.microservice === microservice) ?? {};
  }
});

test('where the box has no packet filter programs share its network, and doctor says why', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const place = await createPlace(t, 'none');
  const before = place.standing();
  await place.up(['--found', '--fabric', 'apart']);
  await place.apply(manifest().replace('grep, -q, eth0, /proc/net/dev', "'true'"));
  t.is((await place.running('server')).addresses?.[0]?.host, '127.0.0.1');
  await place.running('inside');
  t.deepEqual(await place.fetched('inside', 'http://server/'), ['127.0.0.1']);
  t.deepEqual(place.standing(), before, 'nothing is made of it');
  const said = await place.doctor('networks');
  t.regex(said ?? '', /^warn: .*share the network of this box.*this box has no iptables, no nft/);
});

test('where another packet filter drops what programs send, they share the network of the box, and doctor says so', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const place = await createPlace(t);
  const strict =
    'chain in { type filter hook input priority 5; policy drop; iif lo accept; ct state established accept; }';
  place.inside(place.box, 'nft', `table inet strict {\n${strict}\n}\n`);
  const before = place.standing();
  const daemon = await place.up(['--found', '--fabric', 'apart']);
  await place.apply(manifest().replace('grep, -q, eth0, /proc/net/dev', "'true'"));
  t.is((await place.running('server')).addresses?.[0]?.host, '127.0.0.1');
  await place.running('inside');
  t.deepEqual(await place.fetched('inside', 'http://server/'), ['127.0.0.1']);
  t.deepEqual(place.standing(), before, 'nothing is left of the trial');
  const told = daemon.events.filter(({ type, message }) => type === 'problem' && /another packet filter/.test(message));
  t.is(told.length, 1);
  t.regex((await place.doctor('networks')) ?? '', /^warn: programs share .*another packet filter/);
});

// What programs with networks of their own reach and do not reach, under a real daemon as root on a box of the test's own.

import { rename, writeFile } from 'node:fs/promises';
import test from 'ava';
import { packetFiltersMissing } from '../mesh/namespaces.ts';
import { skip } from '../skip.ts';
import { selvedge } from './command.ts';
import { waitFor } from './fabric.ts';
import { createPlace, manifest, resolver, server } from './process-network.ts';
import { tell } from './story.ts';

const missing = packetFiltersMissing();

/** What does not depend on the packet filter is looked at with one of them. */
const outside = test.macro(async (t, filter: 'iptables' | 'nft') => {
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const place = await createPlace(t, filter);
  const { ask, fetched, resolved, box, other, far, run, inside } = place;
  const before = place.standing();
  await place.up(['--found', '--fabric', 'apart']);
  await place.apply(manifest());
  const address = await step('two programs run, each at an address of its own', async () => {
    const { addresses = [] } = await place.running('server');
    const [endpoint] = addresses;
    t.regex(endpoint?.host ?? '', /^198\.1[89]\./);
    t.is(endpoint?.hostPort, 80, 'its own port: nobody else is there');
    await place.running('inside');
    return endpoint?.host ?? '';
  });
  const own = await ask('inside', 'console.log(os.networkInterfaces().eth0[0].address)');
  const called = await ask('inside', 'require("dns").lookup("server", (error, address) => console.log(address))');

  await step('services by each of their names, with nothing configured', async () => {
    const all = ['server', 'server.apart', 'server.apart.default'];
    const answers = await fetched('inside', ...all.map((name) => `http://${name}/`));
    for (const answer of answers) t.regex(answer, /^198\.1[89]\./);
    t.deepEqual(
      await resolved('inside', ...all),
      [called, called, called],
      'the resolver and the hosts file say the same',
    );
  });

  const isFirst = filter === 'iptables';
  if (isFirst) await names();
  async function names() {
    await step('a name that is none is said to be none; others are asked of the resolvers of the box', async () => {
      run(other, resolver);
      t.deepEqual(await resolved('inside', 'nobody', 'nobody.apart.default'), ['ENOTFOUND', 'ENOTFOUND']);
      await waitFor('a name of elsewhere', async () => (await resolved('inside', 'example.org'))[0] === '192.0.2.1');
    });

    await step('also when the box’s own file of resolvers is another one', async () => {
      const before = await ask('inside', 'console.log(require("dns").getServers()[0])');
      t.regex(before, /^198\.1[89]\./);
      await writeFile(`${place.resolvConf}.next`, 'nameserver 127.0.0.53\n');
      await rename(`${place.resolvConf}.next`, place.resolvConf);
      const { pid } = await place.running('inside');
      const seen = inside(box, 'nsenter', '--mount', `--target=${pid}`, 'cat', '/etc/resolv.conf');
      t.regex(seen, new RegExp(`^nameserver ${before}$`, 'm'));
    });
  }

  await step('the LAN and the internet, as the box', async () => {
    run(other, server, { PORT: '8000', HOST: '0.0.0.0' });
    const [lan, internet] = ['http://10.9.0.2:8000/', 'http://192.0.2.1:8000/'];
    await waitFor('both', async () =>
      (await fetched('inside', lan, internet)).every((answer) => answer === '10.9.0.1'),
    );
    t.pass();
  });

  await step('UDP: a service by its name, and from nobody but the caller', async () => {
    const say = (host: string, text: string, ms: number) => `const socket = require("dgram").createSocket("udp4");
      socket.on("message", (answer) => { console.log(String(answer)); process.exit(); });
      setInterval(() => socket.send(${JSON.stringify(text)}, 7, ${JSON.stringify(host)}), 100).unref();
      setTimeout(() => { console.log("silence"); process.exit(); }, ${ms})`;
    t.regex(await ask('inside', say('server', 'hello', 60_000)), /^hello from 198\.1[89]\./);
    const others = [ask('server', say(called, 'hello', 1_000)), ask('inside', say(address, 'hello', 1_000))];
    t.deepEqual(
      await Promise.all(others),
      ['silence', 'silence'],
      'the address is another’s; past the service network',
    );
  });

  await step('what a gateway of the box publishes, as everybody on the LAN', async () => {
    const url = 'http://10.9.0.1:9080/';
    const request = `fetch(${JSON.stringify(url)}).then(({ status }) => console.log(status), (error) => console.log(error.cause.code))`;
    const fromLan = () => inside(other, process.execPath, '-e', request).trim();
    t.deepEqual(await fetched('inside', url), ['ECONNREFUSED']);
    const words = 'publish apart/server:80 --on box --port 9080 --http / --grant-cidr 10.9.0.0/24'.split(' ');
    const { status, error } = await selvedge(place.data, ...words, '--grant-cidr', own);
    t.is(status, 0, error);
    await waitFor('an answer on the LAN', () => fromLan() === '200');
    await waitFor('an answer in the program', async () => /^\d/.test((await fetched('inside', url))[0] ?? ''));
    t.is((await selvedge(place.data, 'unpublish', 'server')).status, 0);
    await waitFor('its end', async () => (await fetched('inside', url))[0] === 'ECONNREFUSED');
  });

  await step('not what the box listens on, on loopback or on all addresses', async () => {
    run(box, server, { PORT: '7001', HOST: '127.0.0.1' });
    run(box, server, { PORT: '7002', HOST: '0.0.0.0' });
    const isThere = (port: number) =>
      inside(
        box,
        process.execPath,
        '-e',
        `fetch("http://127.0.0.1:${port}/").then(() => console.log("there"), () => undefined)`,
      );
    for (const port of [7001, 7002]) await waitFor(`port ${port}`, () => isThere(port).includes('there'));
    const gateway = (await ask('inside', 'console.log(require("dns").getServers()[0])')) || '';
    const urls = ['127.0.0.1', gateway, called, '10.9.0.1'].flatMap((host) =>
      [7001, 7002].map((port) => `http://${host}:${port}/`),
    );
    const answers = await fetched('inside', ...urls);
    t.deepEqual(
      urls.map((url, index) => [url, answers[index]]),
      urls.map((url) => [url, 'ECONNREFUSED']),
    );
  });

  await step('no other program, past the service network or by its address', async () => {
    t.is((await fetched('inside', `http://${address}/`))[0], 'ECONNREFUSED');
    t.is(
      (await fetched('server', `http://${called}/`))[0],
      'ECONNRESET',
      'the address of a service is its caller’s alone',
    );
  });

  if (isFirst) await forge();
  async function forge() {
    await step('a forged address gets nowhere', async () => {
      const dropped = (): number => {
        const [names = '', values = ''] = inside(box, 'grep', 'TcpExt', '/proc/net/netstat').split('\n');
        return Number(values.split(' ')[names.split(' ').indexOf('IPReversePathFilter')]);
      };
      const before = dropped();
      const { pid } = await place.running('inside');
      inside(box, 'nsenter', '--net', `--target=${pid}`, 'ip', 'addr', 'add', `${address}/32`, 'dev', 'eth0');
      const forged = `const socket = require("net").connect({ host: ${JSON.stringify(called)}, port: 80, localAddress: ${JSON.stringify(address)} });
      socket.setTimeout(1500, () => socket.destroy(new Error("silence")));
      socket.on("connect", () => console.log("connected")).on("error", (error) => console.log(error.message)).on("close", () => process.exit())`;
      t.is(await ask('inside', forged), 'silence');
      t.true(dropped() > before);
    });
  }

  await step('nobody comes in from the LAN, and the box leads from none of its networks to another', async () => {
    t.regex(own, /^198\.1[89]\./);
    const reach = (host: string) => `new Promise((resolve) => {
      const socket = require("net").connect(80, ${JSON.stringify(host)}, () => resolve("connected"));
      socket.setTimeout(1500, () => resolve("silence")).on("error", (error) => resolve(error.code));
    })`;
    run(far, server, { PORT: '80', HOST: '10.8.0.2' });
    const here = `fetch("http://10.8.0.2/").then(() => console.log("there"), () => undefined)`;
    await waitFor('the other network', () => inside(box, process.execPath, '-e', here).includes('there'));
    t.is((await fetched('inside', 'http://10.8.0.2/'))[0], '10.8.0.1', 'a program reaches both');
    const both = `Promise.all([${reach(address)}, ${reach('10.8.0.2')}]).then((all) => { console.log(all.join()); process.exit(); })`;
    t.is(inside(other, process.execPath, '-e', both).trim(), 'silence,silence');
  });

  await step('when programs and node have ended, the box is as it was', async () => {
    await place.daemon().client.down(true);
    await place.daemon().ended;
    t.deepEqual(place.standing(), before);
  });
});

test.serial(
  'a program has a network of its own: services, names, LAN and internet, and nothing else of the box',
  outside,
  'iptables',
);
test.serial('the same where the box has nft and no iptables', outside, 'nft');

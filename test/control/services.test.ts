// What can be called and who answers, from instances as they are seen; and how the command shows it.

import test from 'ava';
import { servicesText } from '../../control/cli/services.ts';
import { type ServiceView, servicesOf } from '../../control/services.ts';
import { applicationView, cli, fakeDaemon, instanceView, temporaryFolder, testHost } from './cli-harness.ts';
import { applicationRecord, microservice } from './records.ts';

const ports = [{ name: 'http', port: 8080 }];
const passedOver = [{ by: 'edge-2', port: 8080, reason: 'refused', failures: 3, until: 9_000 }];

function services(): ServiceView[] {
  const record = applicationRecord('shop', [
    microservice('web', { balancing: { policy: 'closest', localFirst: true } }),
    microservice('job', { ports: [] }),
  ]);
  const of = { project: 'default', application: 'shop' };
  const shop = applicationView({
    name: 'shop',
    microservices: [
      { name: 'web', engine: 'process', replicas: 3, ports, ready: 2 },
      { name: 'job', engine: 'process', replicas: 1, ports: [], ready: 1 },
    ],
    instances: [
      instanceView({ ...of, name: 'default.shop.web.0', microservice: 'web', node: 'edge-1' }),
      instanceView({ ...of, name: 'default.shop.web.1', microservice: 'web', node: 'edge-2', passedOver }),
      instanceView({
        ...{
          ...of,
          name: 'default.shop.web.2',
          microservice: 'web',
          ready: false,
          state: 'unplaced',
          reason: 'no node',
        },
        node: undefined as unknown as string,
      }),
      instanceView({
        ...{ ...of, name: 'default.shop.job.0', microservice: 'job' },
        failingCalls: [
          { called: 'web:8080', reason: 'no way', since: 5 },
          { called: 'webber:1', reason: 'another service', since: 5 },
        ],
      }),
    ],
  });
  const api = applicationView({
    ...{
      name: 'api',
      microservices: [{ name: 'api', engine: 'process', replicas: 0, ports, ready: 0 }],
      instances: [],
    },
  });
  return servicesOf({ applications: [record] }, [shop, api]);
}

test('services in order of name, their endpoints with why not, and whose calls fail', (t) => {
  const [api, web, ...others] = services();
  t.deepEqual(others, [], 'a microservice without ports is none');
  t.deepEqual(api, { project: 'default', application: 'api', service: 'api', ports, ready: 0, endpoints: [] });
  t.like(web, { service: 'web', ports, ready: 2, balancing: { policy: 'closest', localFirst: true } });
  t.deepEqual(web?.failing, [{ caller: 'default.shop.job.0', port: '8080', reason: 'no way', since: 5 }]);
  t.deepEqual(web?.endpoints, [
    { instance: 'default.shop.web.0', state: 'running', ready: true, reason: '', node: 'edge-1' },
    { instance: 'default.shop.web.1', state: 'running', ready: true, reason: '', node: 'edge-2', passedOver },
    { instance: 'default.shop.web.2', state: 'unplaced', ready: false, reason: 'no node' },
  ]);
});

test('the command shows services and endpoints, what is not well first, and bounded', async (t) => {
  const folder = await temporaryFolder(t);
  const all = services();
  await fakeDaemon(t, folder, { 'GET /v1/services': all });
  const { out, status } = await cli(['services', '--data', folder]);
  t.is(status, 0);
  t.regex(out, /web +default\/shop +http:8080 +2\/3 +closest, local first/);
  t.regex(out, /default\.shop\.web\.1[\s\S]*passed over by edge-2 until [\d:]+ \(port 8080\): refused/);
  t.true(out.indexOf('web.1') < out.indexOf('web.0') && out.indexOf('web.2') < out.indexOf('web.0'));
  t.regex(out, /default\.shop\.job\.0 +web:8080 +no way/);
  t.deepEqual(
    JSON.parse((await cli(['services', '-o', 'json', '--data', folder])).out),
    JSON.parse(JSON.stringify(all)),
  );
  const many = Array.from({ length: 5_000 }, () => all).flat();
  const host = testHost();
  t.true(servicesText(host, many, { all: false }).split('\n').length < 700);
  t.true(servicesText(host, many, { all: true }).split('\n').length > 20_000);
  t.is(servicesText(host, [], { all: false }), 'No service yet: a microservice with `ports` is one.');
});

test('a worker has no list of services, and says who has', async (t) => {
  const folder = await temporaryFolder(t);
  const problem = {
    status: 403,
    type: 'urn:selvedge:error:not-a-controller',
    detail: 'edge-1 is no controller',
    action: 'Ask one.',
  };
  await fakeDaemon(t, folder, { 'GET /v1/services': problem });
  const { status, error } = await cli(['services', '--data', folder]);
  t.is(status, 1);
  t.regex(error, /edge-1 is no controller[\s\S]*Ask one/);
});

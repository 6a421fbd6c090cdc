// Ports of UDP, from the manifest to the plan and to what is shown; and that whoever has none sees no difference.

import test from 'ava';
import { applicationText } from '../../control/cli/describe.ts';
import { servicesText } from '../../control/cli/services.ts';
import { readRecord } from '../../control/documents.ts';
import { ManifestError } from '../../control/errors.ts';
import type { MicroserviceSpec } from '../../control/fabric.ts';
import { validateManifests } from '../../control/manifest.ts';
import type { Plan, PortSpec } from '../../control/plan.ts';
import { compilePlan } from '../../control/plan-compiler.ts';
import { asTicket, decodePayload } from '../../control/plan-version.ts';
import { servicesOf } from '../../control/services.ts';
import { readPlan } from '../../node-runtime/plan-schema.ts';
import { applicationView, testHost } from './cli-harness.ts';
import { fakeSign } from './planner-fixture.ts';
import { applicationRecord, nodeRecord } from './records.ts';

const both: PortSpec[] = [
  { name: 'dns', port: 53, protocol: 'udp' },
  { name: 'dns-tcp', port: 53 },
  { name: 'metrics', port: 9100 },
];

function read(microservice: object): MicroserviceSpec | undefined {
  const document = {
    apiVersion: 'selvedge/v1',
    kind: 'Application',
    metadata: { name: 'app' },
    spec: { microservices: [{ name: 'dns', engine: 'process', command: ['dns'], ...microservice }] },
  };
  return validateManifests([document]).applications[0]?.microservices[0];
}

function refusal(microservice: object): string {
  try {
    read(microservice);
  } catch (error) {
    if (error instanceof ManifestError) return error.message;
    throw error;
  }
  return 'accepted';
}

function planOf(microservices: (MicroserviceSpec | undefined)[], previous?: Plan): Plan {
  const specs = microservices.filter((one) => one !== undefined);
  const instances = Object.fromEntries(specs.map(({ name }) => [`default.app.${name}.0`, { node: 'box1' }]));
  return compilePlan({
    node: nodeRecord('box1'),
    applications: [applicationRecord('app', specs)],
    ...{ configs: [], secrets: [], previous },
    placements: [{ _id: 'placement/default/app', instances, unplaced: {} }],
    version: { epoch: 1, term: 1, generation: 1 },
    fabricId: 'fabric-1',
    signTicket: (ticket) => fakeSign('selvedge-ticket+jws', ticket),
  }).plan;
}

test('one number may be a port of each protocol; TCP is what is meant when nothing is said', (t) => {
  const ports = [
    { name: 'dns', port: 53, protocol: 'udp' },
    { name: 'dns-tcp', port: 53, protocol: 'tcp' },
    { name: 'metrics', port: 9100 },
  ];
  t.deepEqual(read({ ports })?.ports, both);
});

for (const [title, microservice, expected] of [
  [
    'a protocol that is none',
    { ports: [{ name: 'a', port: 1, protocol: 'sctp' }] },
    /ports\[0\]\.protocol.*'tcp' or 'udp'/s,
  ],
  [
    'a UDP port twice',
    {
      ports: [
        { name: 'a', port: 53, protocol: 'udp' },
        { name: 'b', port: 53, protocol: 'udp' },
      ],
    },
    /ports\[1\]\.port.*"53\/udp" is there twice/s,
  ],
  [
    'a TCP port twice, once by name',
    {
      ports: [
        { name: 'a', port: 53, protocol: 'tcp' },
        { name: 'b', port: 53 },
      ],
    },
    /ports\[1\]\.port.*53 is there twice/s,
  ],
  [
    'a probe of a UDP port',
    { ports: both, probes: { readiness: { tcp: { port: 'dns' } } } },
    /readiness\.tcp\.port.*"dns" is a UDP port.*one of dns-tcp, metrics; or exec/s,
  ],
  [
    'a probe where every port is UDP',
    { ports: [both[0]], probes: { readiness: { http: { port: 'dns', path: '/' } } } },
    /"dns" is a UDP port.*a TCP port that is declared under ports; or exec/s,
  ],
  [
    'a function that is called by UDP',
    {
      engine: 'wasm',
      command: undefined,
      module: { url: 'https://example.org/a.wasm', sha256: 'ab'.repeat(32) },
      trigger: 'http',
      ports: [both[0]],
    },
    /ports\[0\]\.protocol.*is not for trigger: http.*tcp/s,
  ],
  [
    'the same call twice',
    {
      calls: [
        { application: 'net', microservice: 'dns', port: 53, protocol: 'udp' },
        { application: 'net', microservice: 'dns', port: 53, protocol: 'udp' },
      ],
    },
    /calls\[1\].*"dns\.net:53\/udp" is there twice/s,
  ],
] as [string, object, RegExp][]) {
  test(`refuses ${title}`, (t) => {
    t.regex(refusal(microservice), expected);
  });
}

test('`protocol: tcp` is nothing: neither what is stored nor the hash of what runs is another', (t) => {
  const plain = read({
    ports: [{ name: 'http', port: 80 }],
    calls: [{ application: 'b', microservice: 'c', port: 1 }],
  });
  const said = read({
    ports: [{ name: 'http', port: 80, protocol: 'tcp' }],
    calls: [{ application: 'b', microservice: 'c', port: 1, protocol: 'tcp' }],
  });
  t.is(JSON.stringify(said), JSON.stringify(plain));
  t.is(planOf([said]).instances[0]?.specHash, planOf([plain]).instances[0]?.specHash);
  const udp = read({ ports: [{ name: 'http', port: 80, protocol: 'udp' }] });
  t.not(planOf([udp]).instances[0]?.specHash, planOf([plain]).instances[0]?.specHash);
});

test('calls and tickets of a plan say what is UDP, and a node takes such a plan', (t) => {
  const dns = read({ ports: both });
  const calls = [
    { application: 'other', microservice: 'ntp', port: 123, protocol: 'udp' },
    { application: 'app', microservice: 'dns', port: 53, protocol: 'udp' },
  ];
  const client = read({ name: 'client', calls });
  const plan = planOf([dns, client]);
  const name = { project: 'default', application: 'app', microservice: 'dns' };
  t.deepEqual(plan.instances.find(({ microservice }) => microservice === 'client')?.calls, [
    { ...name, port: 53, protocol: 'udp' },
    { ...name, port: 53 },
    { ...name, port: 9100 },
    { ...name, application: 'other', microservice: 'ntp', port: 123, protocol: 'udp' },
  ]);
  const ticketOf = ({ instances }: Plan) => instances.find(({ microservice }) => microservice === 'dns')?.ticket ?? '';
  t.like(asTicket(decodePayload(ticketOf(plan))), { ports: [53, 9100], udpPorts: [53] });
  t.is(ticketOf(planOf([dns, client], plan)), ticketOf(plan));
  t.not(
    ticketOf(planOf([read({ ports: both.slice(1) }), client], plan)),
    ticketOf(plan),
    'the number alone says nothing',
  );
  t.false('udpPorts' in ((decodePayload(ticketOf(planOf([read({ ports: both.slice(1) })]))) as object) ?? {}));
  t.true('plan' in readPlan(JSON.parse(JSON.stringify(plan))));
  t.true(
    'record' in
      readRecord('application', {
        ...applicationRecord(
          'app',
          [dns, client].filter((one) => one !== undefined),
        ),
      }),
  );
});

test('`services` and `describe` show the protocol', (t) => {
  const host = testHost();
  const view = applicationView({
    name: 'app',
    microservices: [{ name: 'dns', engine: 'process', replicas: 0, ports: both, ready: 0 }],
    instances: [],
  });
  const shown = 'dns:53/udp dns-tcp:53 metrics:9100';
  t.true(servicesText(host, servicesOf({ applications: [] }, [view]), { all: true }).includes(shown));
  t.true(applicationText(host, view).includes(shown));
});

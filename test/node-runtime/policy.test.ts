// What a node lets containers have: refused unless it is allowed, before anything is fetched or started.

import test from 'ava';
import type { Allowance } from '../../control/box-options.ts';
import type { DockerOptions, VolumeSpec, WasmModule, WorkloadSpec } from '../../control/plan.ts';
import type { Engine } from '../../node-runtime/engine.ts';
import { createEngines } from '../../node-runtime/engines.ts';
import { PolicyRefusedError } from '../../node-runtime/errors.ts';
import { nothingAllowed, policyRefusal } from '../../node-runtime/policy.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createSimEngine } from '../../simulations/sim-engine.ts';
import { launchOf } from '../conformance/engine.ts';

function container(
  options: DockerOptions & Pick<WorkloadSpec, 'volumes'>,
  image = 'registry.example/shop/web:1.2',
): WorkloadSpec {
  const { command: _, ...common } = launchOf(['unused']).spec;
  return { ...common, engine: 'docker', image, ...options };
}

const rights: [Allowance, Parameters<typeof container>[0], RegExp][] = [
  ['privileged', { privileged: true }, /a privileged container; `selvedge up --allow privileged`/],
  ['capabilities', { capabilities: { add: ['NET_ADMIN', 'SYS_TIME'] } }, /the capabilities NET_ADMIN, SYS_TIME;/],
  ['devices', { devices: ['/dev/ttyUSB0'] }, /the devices \/dev\/ttyUSB0; `selvedge up --allow devices`/],
  ['host-network', { hostNetwork: true }, /the network of its box in a container; `selvedge up --allow host-network`/],
  [
    'host-paths',
    { volumes: [{ name: 'data', path: '/data', hostPath: '/srv/data' }] },
    /\/srv\/data of its box in a container; `selvedge up --allow host-paths`/,
  ],
];

for (const [right, options, reason] of rights) {
  test(`${right}: refused by default, and with other rights; allowed by name`, (t) => {
    t.regex(policyRefusal(container(options), { allow: [] }) ?? '', reason);
    const others = rights.map(([other]) => other).filter((other) => other !== right);
    const refused = policyRefusal(container(options), { allow: others }) ?? '';
    // What is given takes the place of what is kept: the advice has all of it.
    const all = [...others, right].map((one) => `--allow ${one}`).join(' ');
    t.true(refused.endsWith(`; \`selvedge up ${all}\` on it would`), refused);
    t.is(policyRefusal(container(options), { allow: [right] }), undefined);
  });
}

test('a program that shares the network of its box needs the same leave as a container', (t) => {
  const { spec } = launchOf(['true']);
  const shared = { ...spec, hostNetwork: true } as WorkloadSpec;
  const reason =
    /^this node does not allow the network of its box in a program; `selvedge up --allow host-network` on it would$/;
  t.regex(policyRefusal(shared, nothingAllowed) ?? '', reason);
  t.is(policyRefusal(shared, { allow: ['host-network'] }), undefined);
  t.is(policyRefusal(spec, nothingAllowed), undefined);
});

test('plug and play is a device too: the same leave for containers, none for programs, which may open what their user may', (t) => {
  const deviceNeeds = [{ name: 'meter', kind: 'serial' as const, vendor: '0403' }];
  const refusal = policyRefusal({ ...container({}), deviceNeeds }, { allow: ['privileged', 'host-paths'] });
  t.regex(
    refusal ?? '',
    /devices \(serial 0403:\*\); `selvedge up --allow privileged --allow host-paths --allow devices`/,
  );
  t.is(policyRefusal({ ...container({}), deviceNeeds }, { allow: ['devices'] }), undefined);
  t.is(policyRefusal({ ...launchOf(['run']).spec, deviceNeeds }, { allow: [] }), undefined);
});

test('a module of the box and folders of the box in a module need leave, an address needs none', (t) => {
  const { command: _, workingDirectory: __, ...common } = launchOf(['unused']).spec;
  const sha256 = 'a'.repeat(64);
  const spec = (module: WasmModule, volumes: VolumeSpec[] = []): WorkloadSpec => ({
    ...{ ...common, engine: 'wasm', module, volumes },
  });
  const local = spec({ hostPath: '/srv/hello.wasm', sha256 });
  const reaching = spec({ url: 'https://example/a.wasm', sha256 }, [{ name: 'data', path: '/data', hostPath: '/srv' }]);
  for (const one of [local, reaching]) {
    t.regex(policyRefusal(one, nothingAllowed) ?? '', /of its box.*--allow host-paths/);
    t.is(policyRefusal(one, { allow: ['host-paths'] }), undefined);
  }
  t.is(policyRefusal(spec({ url: 'https://example/a.wasm', sha256 }), { allow: [], images: [] }), undefined);
});

test('graphics processors are devices', (t) => {
  for (const gpus of ['all', 1, ['GPU-1']] as const) {
    const spec = container({ gpus: typeof gpus === 'object' ? [...gpus] : gpus });
    t.regex(policyRefusal(spec, { allow: [] }) ?? '', /the gpus (all|1|GPU-1); `selvedge up --allow devices`/);
    t.is(policyRefusal(spec, { allow: ['devices'] }), undefined);
  }
});

test('what takes rights away needs no leave', (t) => {
  const options: DockerOptions = {
    user: '1000',
    readOnlyRoot: true,
    capabilities: { drop: ['ALL'] },
    privileged: false,
  };
  t.is(policyRefusal(container(options), { allow: [] }), undefined);
  t.is(policyRefusal(launchOf(['run']).spec, { allow: [], images: [] }), undefined);
});

test('images: without a pattern all, with patterns those that one of them matches as a whole', (t) => {
  const refused = (image: string, ...images: string[]) => policyRefusal(container({}, image), { allow: [], images });
  t.is(policyRefusal(container({}), { allow: [] }), undefined);
  for (const [image, pattern] of [
    ['registry.example/shop/web:1', 'registry.example/*'],
    ['registry.example/shop/web:1', '*/web:*'],
    ['registry.example/shop/web:1', 'registry.example/*/web:*'],
    ['web', 'web'],
    ['xxy', 'x*xy'],
  ] as const)
    t.is(refused(image, 'other', pattern), undefined, pattern);
  for (const [image, pattern] of [
    ['evil.example/registry.example/web', 'registry.example/*'],
    ['registry.example.evil/web', 'registry.example/*'],
    ['web:2', 'web'],
    ['xy', 'xy*xy'],
    ['xyxy', 'xy*y*xy'],
    ['registryXexample/web', 'registry.example/*'],
  ] as const)
    t.regex(refused(image, pattern) ?? '', /does not allow the image .*--allow-image/, `${image} ${pattern}`);
});

test('images: one that is allowed is so however it is written; names that an engine reads otherwise are not', (t) => {
  const allowed = (image: string, ...images: string[]) =>
    policyRefusal(container({}, image), { allow: [], images }) === undefined;
  const digest = `sha256:${'0a'.repeat(32)}`;
  for (const [image, pattern] of [
    ['nginx', 'docker.io/library/*'],
    ['library/nginx:latest', 'nginx'],
    ['index.docker.io/library/nginx', 'docker.io/library/nginx:latest'],
    ['docker.io/nginx:1', 'nginx:*'],
    ['team/web:1', 'docker.io/team/*'],
    ['localhost/web', 'localhost/*'],
    ['registry.example:5000/web:1', 'registry.example:5000/*'],
    [`registry.example/web@${digest}`, 'registry.example/web@sha256:*'],
    [`registry.example/web:1@${digest}`, `registry.example/web@${digest}`],
    [`web@${digest}`, '*@sha256:*'],
  ] as const)
    t.true(allowed(image, pattern), `${image} ${pattern}`);
  for (const [image, pattern] of [
    // Only what is pinned.
    ['registry.example/web:1', 'registry.example/web@sha256:*'],
    ['registry.example/web', '*@sha256:*'],
    [`registry.example/web@sha256:${'0b'.repeat(32)}`, `registry.example/web@${digest}`],
    ['registry.example/web@sha256:1234', 'registry.example/web@sha256:*'],
    [`registry.example/web@sha256:${'0A'.repeat(32)}`, 'registry.example/*'],
    // The digest counts, whatever the tag says.
    [`registry.example/web:1.2@${digest}`, 'registry.example/web:1.*'],
    [`registry.example/web:1.2@${digest}`, 'registry.example/web:*'],
    // Another registry.
    ['registry.example:5000/web', 'registry.example/*'],
    ['registry.example/library/nginx', 'nginx'],
    ['evil.example/nginx', 'docker.io/*'],
    ['localhost/nginx', 'docker.io/*'],
    ['team/nginx', 'docker.io/library/*'],
    ['Registry.example/web', 'registry.example/*'],
    // No names.
    ['registry.example/../evil/web', 'registry.example/*'],
    ['registry.example//web', 'registry.example/*'],
    ['registry.example/Web', 'registry.example/*'],
    ['registry.example/web:', 'registry.example/*'],
    ['registry.example/web@', 'registry.example/*'],
    ['registry.example/web\n', 'registry.example/*'],
    // Ids of images that are on the box.
    ['cafe', '*'],
    ['0a'.repeat(32), 'docker.io/*'],
    ['sha256:cafe', '*'],
  ] as const)
    t.false(allowed(image, pattern), `${image} ${pattern}`);
  t.true(allowed('cafe:latest', 'docker.io/library/cafe'));
});

test('neither stage nor launch reaches the engine with what the policy refuses', async (t) => {
  const sim = createSimEngine({
    clock: createSimClock(),
    random: { next: () => 0.5, bytes: (n) => new Uint8Array(n) },
  });
  const reached: string[] = [];
  const docker: Engine = {
    ...sim,
    name: 'docker',
    stage: async () => void reached.push('stage'),
    launch: async (launch) => {
      reached.push('launch');
      return { ...launch, pid: 7, startedAt: 0, exit: undefined };
    },
  };
  const spec = container({ privileged: true });
  const launch = { ...launchOf(['unused']), spec };
  const never = new AbortController().signal;
  const strict = createEngines([docker]);
  await t.throwsAsync(
    strict.stage(spec, () => undefined, never),
    { instanceOf: PolicyRefusedError },
  );
  await t.throwsAsync(strict.launch(launch), { instanceOf: PolicyRefusedError });
  t.deepEqual(reached, []);
  const open = createEngines([docker], { policy: { allow: ['privileged'] } });
  await open.stage(spec, () => undefined, never);
  await open.launch(launch);
  t.deepEqual(reached, ['stage', 'launch']);
});

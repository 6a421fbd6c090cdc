// What a box was told by `selvedge up` holds after a crash and a plain start: for what runs there, and in what every command shows. With real
// daemons and the real program.

import { chmod } from 'node:fs/promises';
import { dirname } from 'node:path';
import test from 'ava';
import type { NodeView, StatusView } from '../../control/views.ts';
import { skip } from '../skip.ts';
import { selvedge, selvedgeJson } from './command.ts';
import { type Daemon, startDaemon } from './daemon.ts';
import { createFabric, type FabricNode, waitFor } from './fabric.ts';
import { tell } from './story.ts';

const told = ['--process-user', 'daemon', '--allow-image', 'registry.example/*', '--allow', 'devices'];

const manifest = (life: number): string => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: who }
spec:
  microservices:
    - name: who
      engine: process
      command: [sh, -c, 'echo life ${life} of $(id -un); exec sleep 1000']
      placement: { node: edge-1 }`;

test('what a box lets workloads have outlasts a crash and a plain start, is shown everywhere, and can be taken back', async (t) => {
  if (process.geteuid?.() !== 0) return skip(t, 'only root can start programs as another user');
  const step = tell(t);
  const fabric = await step('an edge node with a policy', () => createFabric(t, { edges: 1, edgeOptions: told }));
  const edge = fabric.edges[0] as FabricNode;
  const folder = edge.dataFolder;
  // The user that was chosen may pass through what is around the data folder.
  await chmod(dirname(folder), 0o711);
  const runsAs = async (life: number, user: string): Promise<void> => {
    await fabric.apply(manifest(life));
    await waitFor(`life ${life}`, async () =>
      (await selvedge(folder, 'logs', 'who')).out.includes(`life ${life} of ${user}`),
    );
  };
  const shows = async (policy: NodeView['policy']): Promise<void> => {
    await waitFor('the controller to know', async () => {
      const node = await selvedgeJson<NodeView>(fabric.control.dataFolder, 'nodes', 'describe', 'edge-1');
      return node.state === 'connected' && JSON.stringify(node.policy) === JSON.stringify(policy);
    });
    const { nodes } = await selvedgeJson<StatusView>(folder, 'status');
    t.deepEqual(nodes[0]?.policy, policy);
  };
  const check = async (): Promise<string> => {
    const { out } = await selvedge(folder, 'doctor', '-o', 'json');
    const { checks } = JSON.parse(out) as { checks: { id: string; message: string }[] };
    return checks.find(({ id }) => id === 'options')?.message ?? '';
  };
  const closed = { allow: ['devices'], images: ['registry.example/*'], processUser: 'daemon' };

  await step('it holds at once', async () => {
    await runsAs(1, 'daemon');
    await shows(closed);
  });

  await step('after a crash a plain start goes on with it', async () => {
    await edge.daemon.kill('SIGKILL');
    await edge.start();
    await runsAs(2, 'daemon');
    await shows(closed);
    t.regex(edge.daemon.output(), /kept for this box: .*--process-user daemon/);
    t.regex(
      (await selvedge(fabric.control.dataFolder, 'nodes', 'describe', 'edge-1')).out,
      /allows +devices\nimages +registry\.example\/\*\nprograms +run as daemon/,
    );
    t.regex(
      (await selvedge(folder, 'status')).out,
      /On edge-1 programs run as daemon; images: registry\.example\/\*; allowed: devices\./,
    );
    t.regex(await check(), /^programs run as daemon; images: registry\.example\/\*; allowed: devices /);
  });

  const startWith = async (...options: string[]): Promise<Daemon> => {
    const daemon = startDaemon({ name: 'edge-1', dataFolder: folder, options });
    await daemon.answers();
    return daemon;
  };
  await step('one option is taken back, another one is said anew, the third stays', async () => {
    await edge.daemon.kill('SIGTERM');
    t.regex(await check(), /^programs run as daemon/, 'the doctor knows it while no daemon runs');
    const refused = await selvedge(
      folder,
      'up',
      '--found',
      '--port',
      '0',
      '--allow',
      'users',
      '--forget',
      'allow-image',
    );
    t.is(refused.status, 1, 'a worker founds nothing');
    t.regex(
      await check(),
      /^programs run as daemon; images: registry\.example\/\*; allowed: devices /,
      'and keeps nothing of it',
    );
    const daemon = await startWith('--forget', 'process-user', '--allow', 'privileged');
    await runsAs(3, 'root');
    const open = { allow: ['privileged'], images: ['registry.example/*'], processUser: null };
    await shows(open);
    await daemon.kill('SIGTERM');
    await edge.start();
    await runsAs(4, 'root');
    await shows(open);
    t.regex(
      (await selvedge(fabric.control.dataFolder, 'nodes', 'describe', 'edge-1')).out,
      /programs +run as the daemon's user unless they name another/,
    );
  });
});

// An open window told to every node: a fact of the bulletin that lasts as long as the window, and one that ends it sooner. Called by
// admissions.ts on the controller whose window it is; what every node shows of it is `windowNotices`. It admits nobody.

import type { SignPayload, WindowBody } from '../pki/identity.ts';
import type { Bulletin } from './bulletin.ts';
import type { Clock } from './clock.ts';

export interface WindowFacts {
  /** Resolves once this node has it; others get it by replication. */
  opened(window: Pick<WindowBody, 'until' | 'cidrs' | 'max'>): Promise<void>;
  /** Also for one that a former life of this controller opened. */
  closed(): Promise<void>;
}

export function createWindowFacts(dependencies: {
  clock: Clock;
  bulletin: Bulletin;
  sign: SignPayload;
  self: { peerId: string; node: string };
}): WindowFacts {
  const { clock, bulletin, sign, self } = dependencies;
  let tail: Promise<unknown> = Promise.resolve();

  /** One after the other: each follows the sequence number of the one before. */
  function inOrder(publish: () => Promise<void>): Promise<void> {
    const done = tail.then(publish);
    tail = done.catch(() => undefined);
    return done;
  }

  const publish = (body: WindowBody): Promise<void> =>
    bulletin.publish(sign, self.peerId, `window/${self.peerId}`, body, body.until - clock.now());

  return {
    opened: ({ until, cidrs, max }) =>
      inOrder(() => publish({ kind: 'window', ...self, open: true, until, cidrs: [...cidrs], max })),
    closed: () =>
      inOrder(async () => {
        const own = bulletin.windows().find(({ peerId }) => peerId === self.peerId);
        if (own !== undefined) await publish({ ...own, open: false });
      }),
  };
}

/** What `status` says of windows at controllers, on every node. */
export function windowNotices(windows: readonly WindowBody[]): string[] {
  return windows.map(
    ({ node, until, cidrs, max }) =>
      `an enrollment window is open at ${node} until ${new Date(until).toISOString()} for at most ${max} boxes from ` +
      `${cidrs.join(' ')}: they join without proof. \`selvedge enroll close\` there closes it.`,
  );
}

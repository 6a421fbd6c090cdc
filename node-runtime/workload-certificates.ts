// Certificates of the workloads on this node: issued here, under the node's own authority, and renewed without restarting
// anything. Called by instances.ts. A key never leaves the instance it was made for.

import { type Actor, fromPromise } from 'xstate';
import { certificateMachine } from '../actors/certificate.ts';
import type { MicroserviceName } from '../control/plan.ts';
import type { WorkloadCredential } from '../mesh/service-network.ts';
import type { ActorSystem } from './actor-system.ts';
import type { Clock } from './clock.ts';

/** A credential and the time at which the next one must be made. */
export interface IssuedCredential {
  credential: WorkloadCredential;
  renewAt: number;
}

export interface WorkloadCertificates {
  /** A new credential for the instance; from now on renewed until `release`. */
  issue(instance: string, name: MicroserviceName): Promise<WorkloadCredential>;
  release(instance: string): void;
  /** The authority changed: everything is renewed under it. */
  renewAll(): void;
  stop(): void;
}

export function createWorkloadCertificates(dependencies: {
  clock: Clock;
  actors: ActorSystem;
  jitter: () => number;
  /** Signs a new leaf under the current authority. */
  issue(name: MicroserviceName): IssuedCredential;
  onRenewed(instance: string, credential: WorkloadCredential): Promise<void>;
}): WorkloadCertificates {
  const { clock, actors, jitter, issue, onRenewed } = dependencies;
  const renewing = new Map<string, Actor<typeof certificateMachine>>();

  function release(instance: string): void {
    renewing.get(instance)?.stop();
    renewing.delete(instance);
  }

  return {
    async issue(instance, name) {
      release(instance);
      const { credential, renewAt } = issue(name);
      const machine = certificateMachine.provide({
        actors: {
          renew: fromPromise(async () => {
            const next = issue(name);
            await onRenewed(instance, next.credential);
            return next.renewAt;
          }),
        },
      });
      renewing.set(instance, actors.spawn(`certificate/${instance}`, machine, { renewAt, now: clock.now, jitter }));
      return credential;
    },
    release,
    renewAll() {
      for (const actor of renewing.values()) actor.send({ type: 'RENEW' });
    },
    stop() {
      for (const instance of [...renewing.keys()]) release(instance);
    },
  };
}

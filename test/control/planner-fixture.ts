// A planner over a simulated store, with signatures and authorities that can be read by eye.

import { createLease } from '../../control/lease.ts';
import type { Ledger, NewEvent } from '../../control/ledger.ts';
import type { MicroserviceName, Plan, PlanVersion } from '../../control/plan.ts';
import { asPlan, decodePayload } from '../../control/plan-version.ts';
import { createPlanner, type PlannerDependencies } from '../../control/planner.ts';
import type { Database, StoredDocument } from '../../control/store.ts';
import type { Disk } from '../../node-runtime/disk.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createSimStore } from '../../simulations/sim-store.ts';

/** A JWS in form: header and payload, and a signature that says which type was signed. */
export function fakeSign(type: string, payload: unknown): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ typ: type })}.${part(payload)}.${part(type)}`;
}

/** The files of a disk as text. */
export function memoryDisk(files = new Map<string, string>()): Disk & { files: Map<string, string> } {
  return {
    files,
    read: async (path) => (files.has(path) ? new TextEncoder().encode(files.get(path)) : undefined),
    write: async (path, content) => {
      files.set(path, typeof content === 'string' ? content : new TextDecoder().decode(content));
    },
    append: async (path, line) => {
      files.set(path, `${files.get(path) ?? ''}${line}\n`);
    },
    list: async () => [...files.keys()].sort(),
    remove: async (path) => {
      files.delete(path);
    },
  };
}

export interface Issued {
  node: string;
  covers: MicroserviceName[];
  number: number;
}

export async function createPlannerFixture(changes: Partial<PlannerDependencies> = {}) {
  const store = createSimStore();
  const fabric = await store.open('fabric');
  const clock = createSimClock();
  const disk = memoryDisk();
  const events: NewEvent[] = [];
  const issued: Issued[] = [];
  const ledger: Pick<Ledger, 'append'> = {
    append: async (event) => {
      events.push(event);
    },
  };
  const mailbox = (node: string): Promise<Database> => store.open(`mailbox/${node}`);

  /** A lease and a planner, as a daemon's start makes them. */
  const boot = async (again: Partial<PlannerDependencies> = {}) => {
    const lease = createLease({ disk, clock, self: 'peer-controller' });
    await lease.start();
    const planner = createPlanner({
      fabric,
      mailbox,
      lease,
      clock,
      sign: fakeSign,
      issueAuthority: (node, covers, number) => {
        issued.push({ node: node.name, covers, number });
        return [Buffer.from(`${node.name} ${number}`).toString('base64')];
      },
      ledger,
      fabricId: 'fabric-1',
      ...changes,
      ...again,
    });
    await planner.start();
    return { lease, planner };
  };

  return {
    store,
    fabric,
    clock,
    disk,
    events,
    issued,
    mailbox,
    boot,
    write: async (...documents: object[]): Promise<void> => {
      for (const document of documents as StoredDocument[]) await fabric.update(document._id, () => document);
    },
    planOf: async (node: string): Promise<Plan | undefined> => {
      const document = await (await mailbox(node)).get('desired/plan');
      return asPlan(decodePayload(String(document?.jws)));
    },
    obey: async (node: string, version: PlanVersion): Promise<void> => {
      await (await mailbox(node)).update('observed/node', () => ({ _id: 'observed/node', version }));
    },
  };
}

// The node registry: who is admitted, under which name. Called by enrollment once a request was proved. It must never give one name to
// two keys, nor let a node choose labels that Selvedge sets.

import type { Clock } from '../node-runtime/clock.ts';
import { listRecords } from './documents.ts';
import { NameTakenError, NodeRefusedError } from './errors.ts';
import type { NodeRecord, RouterMode } from './fabric.ts';
import type { Ledger } from './ledger.ts';
import { labelsMax, nodeNameSuffixMax } from './limits.ts';
import {
  dnsLabelForm,
  dnsLabelPattern,
  isLabelKey,
  isLabelValue,
  labelKeyForm,
  labelValueForm,
  reservedLabelPrefix,
  toDnsLabel,
} from './names.ts';
import type { Database, StoredDocument } from './store.ts';

export interface AdmitRequest {
  peerId: string;
  /** Chosen by the operator: refused when it is taken. */
  name?: string;
  /** Any text (the host name): made into a name, with a suffix when that is taken. */
  defaultName: string;
  router: RouterMode;
  controller: boolean;
  labels: Record<string, string>;
  engines: string[];
  /** SubjectPublicKeyInfo, base64 DER. */
  authorityPublicKey: string;
  admittedBy: NodeRecord['admittedBy'];
  /** As `process.arch` and `process.platform` say. */
  arch: string;
  os: string;
}

export interface NodeRegistry {
  /**
   * Writes the node's record and returns it. The same peer id again gets its own record back, with its newest authority key and engines.
   * Throws NameTakenError (a chosen name of another key) and NodeRefusedError (name or labels not acceptable).
   */
  admitNode(request: AdmitRequest): Promise<NodeRecord>;
}

/** Throws NodeRefusedError unless every label may be set by users. */
export function checkLabels(labels: Readonly<Record<string, string>>): void {
  const entries = Object.entries(labels);
  if (entries.length > labelsMax)
    throw new NodeRefusedError(`${entries.length} labels are too many`, `Give at most ${labelsMax}.`);
  for (const [key, value] of entries) {
    if (key.startsWith(reservedLabelPrefix)) {
      throw new NodeRefusedError(
        `label ${key} is set by Selvedge`,
        `Choose a key that does not begin with ${reservedLabelPrefix}.`,
      );
    }
    if (!isLabelKey(key))
      throw new NodeRefusedError(
        `label key ${JSON.stringify(key.slice(0, 80))} is not accepted`,
        `Use ${labelKeyForm}.`,
      );
    if (!isLabelValue(value))
      throw new NodeRefusedError(`the value of label ${key} is not accepted`, `Use ${labelValueForm}.`);
  }
}

function builtInLabels(name: string, { router, arch, os }: AdmitRequest): Record<string, string> {
  const labels = { 'selvedge/router': router, 'selvedge/node': name, 'selvedge/arch': arch, 'selvedge/os': os };
  return Object.fromEntries(Object.entries(labels).filter(([, value]) => isLabelValue(value)));
}

/** Admissions through one registry happen one after the other. */
export function createNodeRegistry({
  fabric,
  clock,
  ledger,
}: {
  fabric: Database;
  clock: Clock;
  ledger: Ledger;
}): NodeRegistry {
  let tail: Promise<unknown> = Promise.resolve();

  const refresh = async (record: NodeRecord, { authorityPublicKey, engines }: AdmitRequest): Promise<NodeRecord> => {
    let result = record;
    await fabric.update(record._id, (current) => {
      if (current === undefined) return undefined;
      // What it offered before stays: an engine that is slow to start takes no work away.
      const known = [...new Set([...(current as unknown as NodeRecord).engines, ...engines])];
      result = { ...(current as unknown as NodeRecord), authorityPublicKey, engines: known };
      const same = current.authorityPublicKey === authorityPublicKey && String(current.engines) === String(known);
      return same ? undefined : (result as unknown as StoredDocument);
    });
    return result;
  };

  const claim = async (name: string, request: AdmitRequest): Promise<NodeRecord | undefined> => {
    const { peerId, router, controller, labels, engines, authorityPublicKey, admittedBy } = request;
    const record: NodeRecord = {
      _id: `node/${name}`,
      name,
      peerId,
      router,
      controller,
      labels: { ...labels, ...builtInLabels(name, request) },
      engines,
      authorityPublicKey,
      // Number 1 is in the admission's answer and covers nothing; the planner goes on from there.
      issueNumber: 1,
      admittedAt: clock.now(),
      admittedBy,
    };
    let claimed = false;
    await fabric.update(record._id, (current) => {
      claimed = current === undefined;
      return claimed ? ({ ...record } as unknown as StoredDocument) : undefined;
    });
    return claimed ? record : undefined;
  };

  const choose = async (request: AdmitRequest, taken: ReadonlySet<string>): Promise<NodeRecord> => {
    if (request.name !== undefined) {
      if (!dnsLabelPattern.test(request.name)) {
        throw new NodeRefusedError(
          `${JSON.stringify(request.name.slice(0, 80))} is no node name`,
          `Give ${dnsLabelForm}.`,
        );
      }
      const record = taken.has(request.name) ? undefined : await claim(request.name, request);
      if (record === undefined) throw new NameTakenError(request.name);
      return record;
    }
    // Room for the longest suffix, so that every candidate is a DNS label.
    const base = (toDnsLabel(request.defaultName) ?? 'node').slice(0, 56).replace(/-+$/, '');
    for (let suffix = 1; suffix <= nodeNameSuffixMax; suffix += 1) {
      const name = suffix === 1 ? base : `${base}-${suffix}`;
      const record = taken.has(name) ? undefined : await claim(name, request);
      if (record !== undefined) return record;
    }
    throw new NodeRefusedError(
      `every name from ${base} to ${base}-${nodeNameSuffixMax} is taken`,
      'Choose one with --name.',
    );
  };

  const admit = async (request: AdmitRequest): Promise<NodeRecord> => {
    checkLabels(request.labels);
    const nodes = await listRecords(fabric, 'node');
    const own = nodes.find(({ peerId }) => peerId === request.peerId);
    if (own !== undefined) return refresh(own, request);
    const record = await choose(request, new Set(nodes.map(({ name }) => name)));
    const message = `${record.peerId} admitted by ${record.admittedBy} as ${record.router} router`;
    await ledger.append({ type: 'node-admitted', subject: record.name, message });
    return record;
  };

  return {
    admitNode(request) {
      const admitted = tail.then(() => admit(request));
      tail = admitted.catch(() => undefined);
      return admitted;
    },
  };
}

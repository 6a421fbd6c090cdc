// Labels that operators give and take while a node is a member. Called by the API. They are the fabric's, in the node's record; it must
// never change those that Selvedge sets, nor one of a node that is out.

import { getRecord } from './documents.ts';
import { NodeRefusedError, NotFoundError } from './errors.ts';
import type { NodeRecord } from './fabric.ts';
import type { Ledger } from './ledger.ts';
import { reservedLabelPrefix } from './names.ts';
import { checkLabels } from './nodes.ts';
import type { Database, StoredDocument } from './store.ts';
import type { LabelledView } from './views.ts';

export interface LabelChange {
  set: Record<string, string>;
  remove: string[];
}

export interface NodeLabels {
  /** All or nothing; one that is not there is removed all the same. Throws NotFoundError, NodeRefusedError. */
  change(node: string, change: LabelChange): Promise<LabelledView>;
}

const ownLabels = (labels: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(labels).filter(([key]) => !key.startsWith(reservedLabelPrefix)));

/** Pure. Throws NodeRefusedError. */
export function changedLabels(labels: Record<string, string>, { set, remove }: LabelChange): Record<string, string> {
  // Those that go are held to the same form: nobody removes a label of Selvedge's, or a typing error.
  checkLabels({ ...Object.fromEntries(remove.map((key) => [key, ''])), ...set });
  const both = remove.find((key) => set[key] !== undefined);
  if (both !== undefined) throw new NodeRefusedError(`label ${both} is both set and removed`, 'Say one of the two.');
  const next = { ...labels, ...set };
  for (const key of remove) delete next[key];
  checkLabels(ownLabels(next));
  return next;
}

export function createNodeLabels({ fabric, ledger }: { fabric: Database; ledger: Pick<Ledger, 'append'> }): NodeLabels {
  return {
    async change(node, change) {
      const record = await getRecord(fabric, 'node', node);
      if (record === undefined)
        throw new NotFoundError('node', node, '`selvedge nodes list` lists those that there are.');
      if (record.revoked !== undefined)
        throw new NodeRefusedError(`${node} is revoked`, 'It has no place in the fabric any more.');
      let labels = record.labels;
      let changed = false;
      await fabric.update(record._id, (current) => {
        if (current === undefined) return undefined;
        const before = (current as unknown as NodeRecord).labels;
        labels = changedLabels(before, change);
        const entries = (of: Record<string, string>): string => JSON.stringify(Object.entries(of).sort());
        changed = entries(labels) !== entries(before);
        return changed ? ({ ...current, labels } as unknown as StoredDocument) : undefined;
      });
      const words = [
        ...Object.entries(change.set).map(([key, value]) => `${key}=${value}`),
        ...change.remove.map((key) => `${key}-`),
      ];
      if (changed) await ledger.append({ type: 'node-labelled', subject: node, message: words.join(' ') });
      return { node, labels, changed };
    },
  };
}

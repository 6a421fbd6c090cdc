// Operators' decisions about boxes that have no token: approve by code, deny, open a window. Part of a controller, called by
// controller.ts and through it by the API. Each decision is an event of the ledger; a code never is.

import { getRecord } from '../control/documents.ts';
import { NameTakenError, NodeRefusedError } from '../control/errors.ts';
import type { Ledger } from '../control/ledger.ts';
import { dnsLabelForm, dnsLabelPattern } from '../control/names.ts';
import { checkLabels } from '../control/nodes.ts';
import type { Database } from '../control/store.ts';
import type { ApprovedView, PendingView, WindowView } from '../control/views.ts';
import type { Mesh } from '../mesh/mesh.ts';
import { hostOfMultiaddr } from '../pki/address-ranges.ts';
import { createApprovals } from '../pki/approval.ts';
import { parseApprovalCode, parseHandle } from '../pki/approval-code.ts';
import type { DeriveKey } from '../pki/approval-proof.ts';
import { createEnrollWindow, type WindowRequest, type WindowState } from '../pki/enroll-window.ts';
import type { Admit } from '../pki/enrollment-server.ts';
import { ApprovalFailedError, NoSuchRequestError } from '../pki/errors.ts';
import { createPendingRequests, type PendingRequests } from '../pki/pending-requests.ts';
import type { Clock } from './clock.ts';
import type { Random } from './random.ts';
import type { WindowFacts } from './window-facts.ts';

export interface ApproveRequest {
  code: string;
  name?: string | undefined;
  labels: Record<string, string>;
  router: 'interior' | 'edge';
}

export interface Admissions {
  /** For the enrollment server, and for the links that leave waiting boxes alone. */
  readonly requests: PendingRequests;
  pending(): PendingView[];
  /** Throws ApprovalCodeError, ApprovalFailedError, ApprovalRefusedError, ApprovalBusyError, NameTakenError, NodeRefusedError. */
  approve(request: ApproveRequest): Promise<ApprovedView>;
  /** Every box that waits under this handle, name or peer id. Throws NoSuchRequestError. */
  deny(who: string): Promise<PendingView[]>;
  window(): WindowView;
  /** Throws WindowRefusedError and NodeRefusedError. */
  openWindow(request: WindowRequest): Promise<WindowView>;
  closeWindow(): WindowView;
  /** What `status` shows as long as it holds. */
  notices(): string[];
  start(): Promise<void>;
  stop(): Promise<void>;
}

const viewOf = (state: WindowState | undefined): WindowView =>
  state === undefined ? { open: false } : { open: true, ...state, admitted: [...state.admitted] };

export function createAdmissions(dependencies: {
  clock: Clock;
  random: Random;
  deriveKey: DeriveKey;
  mesh: Mesh;
  fabric: Database;
  fabricId: string;
  ledger: Ledger;
  admit: Admit;
  /** Tells every node of the window. */
  facts: WindowFacts;
  problem(message: string): void;
}): Admissions {
  const { clock, random, deriveKey, mesh, fabric, fabricId, ledger, admit, facts, problem } = dependencies;
  /** Where connected peers come from; as many as there are connections. */
  const addresses = new Map<string, string>();
  const unsubscribe = mesh.subscribe((event) => {
    if (event.type === 'connected') addresses.set(event.peerId, hostOfMultiaddr(event.address) ?? 'unknown');
    if (event.type === 'disconnected') addresses.delete(event.peerId);
  });
  const record = (type: string, subject: string, message: string, cause?: string): void =>
    void ledger
      .append({ type, subject, message, ...(cause !== undefined && { cause }) })
      .catch(() => problem(`an event was not written: ${type} ${subject}`));

  const requests = createPendingRequests({ clock, addressOf: (peerId) => addresses.get(peerId), admit });
  const approvals = createApprovals({
    clock,
    random,
    deriveKey,
    fabricId,
    self: mesh.peerId,
    pending: requests,
    onForged({ peerId, address }) {
      const message = `it claimed another box's handle from ${address}, and did not know the code`;
      record('approval-forged', peerId, message, 'wrong proof');
    },
  });
  const enrollWindow = createEnrollWindow({
    clock,
    pending: requests,
    onAdmitted: (node, { peerId, address }) =>
      record('window-used', node, `${peerId} from ${address} was admitted without proof by the open window`),
    onClosed({ admitted }, reason) {
      record('window-closed', 'enrollment', `${reason}; it admitted ${admitted.length}: ${admitted.join(' ')}`);
      void tellClosed();
    },
  });

  function tellClosed(): Promise<void> {
    return facts.closed().catch((error: unknown) => problem(`nodes were not told that a window is closed: ${error}`));
  }

  /** What would be refused anyway is refused before a code is used up. */
  async function checkWish({ name, labels }: Pick<ApproveRequest, 'name' | 'labels'>): Promise<void> {
    checkLabels(labels);
    if (name === undefined) return;
    if (!dnsLabelPattern.test(name)) {
      throw new NodeRefusedError(`${JSON.stringify(name.slice(0, 80))} is no node name`, `Give ${dnsLabelForm}.`);
    }
    const holder = await getRecord(fabric, 'node', name);
    // A box whose answer was lost is approved again under its own name.
    if (holder !== undefined && !requests.has(holder.peerId)) throw new NameTakenError(name);
  }

  return {
    requests,
    pending: () => requests.list(),

    async approve({ code, name, labels, router }) {
      const { handle } = parseApprovalCode(code);
      await checkWish({ name, labels });
      try {
        const wish = { labels, router, ...(name !== undefined && { name }) };
        const { node, peerId } = await approvals.approve(code, wish);
        record('node-approved', node, `${peerId} showed the code that was typed, and is a node now`);
        return { node, peerId, router };
      } catch (error) {
        if (error instanceof ApprovalFailedError) record('approval-failed', handle, error.message);
        throw error;
      }
    },

    async deny(who) {
      const handle = parseHandle(who);
      const denied = await requests.deny(
        (request) => request.handle === handle || request.name === who || request.peerId === who,
      );
      if (denied.length === 0) throw new NoSuchRequestError(`nobody waits as ${JSON.stringify(who.slice(0, 80))}`);
      for (const { peerId, name, address, handle: its } of denied) {
        record('node-denied', peerId, `the request of ${name} (${its}) from ${address} was denied`);
      }
      return denied;
    },

    window: () => viewOf(enrollWindow.state()),

    async openWindow(request) {
      checkLabels(request.labels);
      const state = enrollWindow.open(request);
      const until = new Date(state.until).toISOString();
      const message = `open until ${until} for at most ${state.max} boxes from ${state.cidrs.join(' ')}`;
      record('window-opened', 'enrollment', message);
      try {
        await facts.opened(state);
      } catch (error) {
        // A door that nobody sees is not left open.
        enrollWindow.close();
        throw error;
      }
      return viewOf(state);
    },

    closeWindow() {
      const closed = enrollWindow.close();
      return { ...viewOf(closed), open: false };
    },

    notices() {
      const state = enrollWindow.state();
      if (state === undefined) return [];
      const until = new Date(state.until).toISOString();
      return [
        `an enrollment window is open until ${until} for boxes from ${state.cidrs.join(' ')} (${state.admitted.length} of ` +
          `${state.max} admitted): they join without proof. \`selvedge enroll close\` closes it.`,
      ];
    },

    // A former life may have ended with its window open.
    start: tellClosed,

    async stop() {
      unsubscribe();
      enrollWindow.close();
      await tellClosed();
    },
  };
}

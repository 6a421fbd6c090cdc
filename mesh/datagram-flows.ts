// The UDP flows that are open, of each owner and of the node, so many at most: the one that was silent for longest makes room, as it does in
// a NAT's table. State only; called by both sides of the tunnel. It never closes what it was not given.

export interface Flow {
  /** A datagram went one way or the other. */
  used(): void;
  /** Takes it off; it is not closed by that. Idempotent. */
  remove(): void;
}

export interface DatagramFlows {
  /** `close` is called once: when it makes room or was silent for too long, unless it was removed before. */
  add(owner: string, close: () => void): Flow;
  /**
   * Once in a while: closes those that were silent for `silentSweepsMax` of them. Counted and not measured, so that a clock that is set
   * years ahead closes nothing.
   */
  sweep(): void;
  count(owner: string): number;
  readonly size: number;
}

interface Entry extends Flow {
  usedAt: number;
  close(): void;
}

export interface DatagramFlowsOptions {
  flowsMax: number;
  flowsPerOwnerMax: number;
  silentSweepsMax: number;
}

export function createDatagramFlows(options: DatagramFlowsOptions): DatagramFlows {
  const { flowsMax, flowsPerOwnerMax, silentSweepsMax } = options;
  /** Of each owner in order of their last use: a Set iterates in order of insertion. */
  const byOwner = new Map<string, Set<Entry>>();
  let size = 0;
  let sweeps = 0;

  function remove(owner: string, entry: Entry): boolean {
    const entries = byOwner.get(owner);
    if (entries?.delete(entry) !== true) return false;
    size -= 1;
    if (entries.size === 0) byOwner.delete(owner);
    return true;
  }

  function closeOldest(owner: string): void {
    const [oldest] = byOwner.get(owner) ?? [];
    if (oldest !== undefined && remove(owner, oldest)) oldest.close();
  }

  /** Who has most gives one away: nobody's flood ends the flows of others. */
  function largest(): string {
    let found = '';
    let count = 0;
    for (const [owner, entries] of byOwner) {
      if (entries.size <= count) continue;
      found = owner;
      count = entries.size;
    }
    return found;
  }

  return {
    add(owner, close) {
      if ((byOwner.get(owner)?.size ?? 0) >= flowsPerOwnerMax) closeOldest(owner);
      else if (size >= flowsMax) closeOldest(largest());
      const entry: Entry = {
        close,
        usedAt: sweeps,
        used() {
          const entries = byOwner.get(owner);
          if (entries?.delete(entry) !== true) return;
          entry.usedAt = sweeps;
          entries.add(entry);
        },
        remove: () => void remove(owner, entry),
      };
      byOwner.set(owner, (byOwner.get(owner) ?? new Set<Entry>()).add(entry));
      size += 1;
      return entry;
    },

    sweep() {
      sweeps += 1;
      for (const [owner, entries] of [...byOwner]) {
        for (const entry of [...entries]) {
          if (sweeps - entry.usedAt <= silentSweepsMax) break;
          if (remove(owner, entry)) entry.close();
        }
      }
    },

    count: (owner) => byOwner.get(owner)?.size ?? 0,
    get size() {
      return size;
    },
  };
}

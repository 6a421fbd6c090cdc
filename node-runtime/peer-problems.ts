// Problems that a peer brings about, told at a bounded rate: whoever is admitted must not fill this node's log nor its list of
// problems. Called by member.ts for what peers sent or asked for; the node's own problems do not pass here.

import type { PeerId } from '../mesh/mesh.ts';
import { createRateLimiter } from '../pki/rate-limit.ts';
import type { Clock } from './clock.ts';
import { peerProblemPeersMax, peerProblemsMax, peerProblemsTotalMax, peerProblemsWindowMs } from './limits.ts';

export type TellOfPeer = (peerId: PeerId, message: string) => void;

export function createPeerProblems(dependencies: { clock: Clock; problem(message: string): void }): TellOfPeer {
  const { clock, problem } = dependencies;
  const limiter = createRateLimiter({
    clock,
    windowMs: peerProblemsWindowMs,
    perKeyMax: peerProblemsMax,
    totalMax: peerProblemsTotalMax,
    keysMax: peerProblemPeersMax,
  });
  let untold = 0;
  return (peerId, message) => {
    if (!limiter.allow(peerId)) {
      untold += 1;
      return;
    }
    problem(untold === 0 ? message : `${message} (and ${untold} problems with peers before it were not told)`);
    untold = 0;
  };
}

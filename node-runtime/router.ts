// An interior router: says what links this node has, holds what the others say, and knows the routes that follow. Called by routing.ts:
// links that come and go are put in, and what links bring; out come statements for the links and routes. It opens and forwards no stream.

import { createChangePace } from '../mesh/change-pace.ts';
import {
  linkStateFirstMs,
  linkStateLearnMs,
  linkStateLongMs,
  linkStateQuietMs,
  linkStateRefreshMs,
  linkStateShortMs,
  linkStateSweepMs,
  routesComputeMs,
} from '../mesh/limits.ts';
import { linkStateType } from '../mesh/link-state-format.ts';
import { createLinkStateTable } from '../mesh/link-states.ts';
import type { PeerId } from '../mesh/mesh.ts';
import { createOwnLinks, type RouterMode } from '../mesh/own-links.ts';
import { createRouteGraph } from '../mesh/route-graph.ts';
import { computeRoutes, type Routes } from '../mesh/routes.ts';
import { compareVersions, type Statement, type StatementTable } from '../mesh/statements.ts';
import type { SignPayload, VerifySigned } from '../pki/identity.ts';
import type { Clock, TimerId } from './clock.ts';

export interface Router {
  start(): void;
  stop(): void;
  /** A link is there, or its far end or cost is another. */
  linked(peerId: PeerId, router: RouterMode, costMicroseconds: number | undefined): void;
  unlinked(peerId: PeerId): void;
  /** What a link brought. */
  receive(from: PeerId, jws: string): void;
  /** The authority that signs may be another: what is said is signed again. */
  authorityChanged(): void;
  /** Revoked routers go, wherever they are. */
  forget(isGone: (peerId: PeerId) => boolean): void;
  /** As they are now; a change elsewhere counts within milliseconds (routesComputeMs). */
  routes(): Routes;
  readonly table: StatementTable;
}

export interface RouterDependencies {
  fabricId: string;
  peerId: PeerId;
  node: string;
  bootCounter: number;
  clock: Clock;
  /** In [0, 1). */
  jitter: () => number;
  sign: () => SignPayload;
  verifySigned: VerifySigned;
  /** For the links that it concerns; not for the one that it came on. */
  news(statement: Statement, from: PeerId | undefined): void;
  /** Routes may be others now. */
  onChanged(): void;
  onRefused(from: PeerId, reason: string): void;
}

export function createRouter(dependencies: RouterDependencies): Router {
  const { fabricId, peerId, node, clock, jitter } = dependencies;
  const states = createLinkStateTable({ fabricId, verifySigned: dependencies.verifySigned });
  const links = createOwnLinks();
  const graph = createRouteGraph();
  const pace = createChangePace({
    ...{ firstMs: linkStateFirstMs, shortMs: linkStateShortMs, longMs: linkStateLongMs },
    ...{ learnMs: linkStateLearnMs, quietMs: linkStateQuietMs },
  });
  let { bootCounter } = dependencies;
  let sequence = 0;
  let saidLast = '';
  let signedBy: SignPayload | undefined;
  let routes: Routes | undefined;
  let computedAtMs = 0;
  /** Something else than this node's own links has changed since. */
  let outdated = false;
  let stopped = true;
  const timers: Partial<Record<'say' | 'held' | 'refresh' | 'age', TimerId>> = {};

  function after(name: keyof typeof timers, delayMs: number, run: () => void): void {
    clock.clearTimeout(timers[name]);
    timers[name] = clock.setTimeout(() => {
      delete timers[name];
      run();
    }, delayMs);
  }

  function ownLinksChanged(): void {
    graph.put(peerId, { router: 'interior', ...links.current() });
    // Never by a link that is gone.
    routes = undefined;
    sayLater();
    dependencies.onChanged();
  }

  function othersChanged(): void {
    outdated = true;
    dependencies.onChanged();
  }

  function sayLater(): void {
    if (stopped) return;
    const delayMs = pace.delayMs(clock.elapsed());
    if (timers.say === undefined) after('say', delayMs, () => say(false));
  }

  /** `again`, also when nothing has changed. */
  function say(again: boolean): void {
    const said = links.said(clock.elapsed());
    const heldMs = links.nextMs(clock.elapsed());
    if (heldMs !== undefined) after('held', heldMs, sayLater);
    const sign = dependencies.sign();
    const text = JSON.stringify(said);
    if (!again && sign === signedBy && text === saidLast) return;
    const known = states.held(peerId);
    // Of a life of this node that its disk has forgotten (RFC 2328, section 13.4).
    if (known !== undefined && compareVersions(known, { bootCounter, sequence }) > 0)
      ({ bootCounter, sequence } = known);
    sequence += 1;
    const accepted = states.accept(
      sign(linkStateType, { fabricId, peerId, node, router: 'interior', bootCounter, sequence, ...said }),
    );
    if ('refused' in accepted) {
      // Its certificate is not valid by its own clock: what it says would be refused everywhere.
      signedBy = undefined;
      dependencies.onRefused(peerId, accepted.refused);
      return;
    }
    signedBy = sign;
    saidLast = text;
    dependencies.news(accepted.statement, undefined);
    after('refresh', linkStateRefreshMs * (0.9 + 0.2 * jitter()), () => say(true));
  }

  function age(): void {
    const aged = states.age();
    for (const gone of aged) graph.remove(gone);
    if (aged.length > 0) othersChanged();
    after('age', linkStateSweepMs, age);
  }

  return {
    start() {
      if (!stopped) return;
      stopped = false;
      after('age', linkStateSweepMs, age);
      ownLinksChanged();
    },
    stop() {
      stopped = true;
      for (const timer of Object.values(timers)) clock.clearTimeout(timer);
    },
    linked(far, router, costMicroseconds) {
      links.set(far, router, costMicroseconds, clock.elapsed());
      ownLinksChanged();
    },
    unlinked(far) {
      links.lost(far, clock.elapsed());
      ownLinksChanged();
    },
    receive(from, jws) {
      const accepted = states.accept(jws);
      if ('refused' in accepted) {
        if (!accepted.stale) dependencies.onRefused(from, accepted.refused);
        return;
      }
      if (!accepted.forward) return;
      dependencies.news(accepted.statement, from);
      const { state } = accepted;
      if (state.peerId === peerId) {
        saidLast = '';
        sayLater();
      } else if (accepted.changed) {
        graph.put(state.peerId, state);
        othersChanged();
      }
    },
    authorityChanged() {
      if (dependencies.sign() !== signedBy) sayLater();
    },
    forget(isGone) {
      const gone = [...states.all()].map((statement) => statement.peerId).filter(isGone);
      for (const each of gone) {
        states.forget(each);
        graph.remove(each);
      }
      if (gone.length > 0) othersChanged();
    },
    routes() {
      const goneMs = clock.elapsed() - computedAtMs;
      if (routes === undefined || (outdated && goneMs >= routesComputeMs)) {
        routes = computeRoutes(graph, peerId);
        computedAtMs = clock.elapsed();
        outdated = false;
      }
      return routes;
    },
    table: { held: (of, part) => (part === 0 ? states.held(of) : undefined), all: () => states.all() },
  };
}

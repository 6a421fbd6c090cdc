// When what a node says of its links is worth a write: at once, later, or never; an idle node is silent.

import test from 'ava';
import type { ObservedLink } from '../../control/fabric.ts';
import { linkNewsBytes, linkNewsLookMs, linkNewsMs } from '../../node-runtime/limits.ts';
import { createLinkNews, type LinksSaid, linkNews } from '../../node-runtime/link-news.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';

const link = (more: Partial<ObservedLink> = {}): ObservedLink => ({
  ...{ peerId: 'p', node: 'n', kind: 'direct', roundTripMs: 1, costMicroseconds: 10_000, since: 5, sentBytes: 10 },
  ...more,
});
const said = (...links: ObservedLink[]): LinksSaid => ({ links, unreached: [] });

const { costMicroseconds: _, ...unmeasured } = link();
const cases: { title: string; before: LinksSaid; now: LinksSaid; news: 'none' | 'later' | 'now' }[] = [
  { title: 'nothing', before: said(link()), now: said(link()), news: 'none' },
  { title: 'another round trip', before: said(link()), now: said(link({ roundTripMs: 900 })), news: 'none' },
  {
    title: 'a cost within the band',
    before: said(link()),
    now: said(link({ costMicroseconds: 14_000 })),
    news: 'none',
  },
  { title: 'a cost beyond it', before: said(link()), now: said(link({ costMicroseconds: 16_000 })), news: 'later' },
  { title: 'the first cost', before: said(unmeasured), now: said(link()), news: 'now' },
  { title: 'another way', before: said(link()), now: said(link({ through: 'r' })), news: 'now' },
  {
    title: 'why a way through others is needed, of which no cost is measured',
    before: said({ ...unmeasured, through: 'r' }),
    now: said({ ...unmeasured, through: 'r', indirect: 'no answer' }),
    news: 'now',
  },
  {
    title: 'another way, of which no cost is measured',
    before: said(unmeasured),
    now: said({ ...unmeasured, through: 'r' }),
    news: 'now',
  },
  { title: 'signs of life', before: said(link()), now: said(link({ sentBytes: linkNewsBytes })), news: 'none' },
  { title: 'traffic', before: said(link()), now: said(link({ receivedBytes: linkNewsBytes })), news: 'later' },
  {
    title: 'a peer out of reach',
    before: said(link()),
    now: { links: [link()], unreached: [{ peerId: 'q', reason: 'no', since: 1 }] },
    news: 'now',
  },
  {
    title: 'another reason for the same',
    before: { links: [], unreached: [{ peerId: 'q', reason: 'no', since: 1 }] },
    now: { links: [], unreached: [{ peerId: 'q', reason: 'never', since: 1 }] },
    news: 'none',
  },
];
for (const { title, before, now, news } of cases) {
  test(`${title} is told: ${news}`, (t) => {
    t.is(linkNews(before, now), news);
  });
}

test('what changes all the time is told once in a while, what happens at the next look, and nothing while idle', async (t) => {
  const clock = createSimClock();
  let current = said(link());
  let told = 0;
  const news = createLinkNews({
    clock,
    current: () => current,
    onNews() {
      told += 1;
      news.said(current);
    },
  });
  news.said(current);
  news.start();
  await clock.advance(10 * linkNewsMs);
  t.is(told, 0);
  for (let step = 1; step <= 100; step++) {
    current = said(link({ costMicroseconds: 10_000 * (1 + (step % 2)), sentBytes: step * linkNewsBytes }));
    await clock.advance(linkNewsMs / 10);
  }
  t.true(told >= 9 && told <= 11, `${told} in ten times ${linkNewsMs} ms`);
  const before = told;
  current = { links: current.links, unreached: [{ peerId: 'q', reason: 'no', since: 1 }] };
  await clock.advance(2 * linkNewsLookMs);
  t.is(told, before + 1);
  news.stop();
  current = said();
  current = { links: [], unreached: [] };
  await clock.advance(10 * linkNewsMs);
  t.is(told, before + 1);
});

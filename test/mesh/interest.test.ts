// What the far end of a link is sent of announcements: what it wants, and the end of what it holds.

import test from 'ava';
import { createInterest } from '../../mesh/interest.ts';

const statement = (sequence: number, { peerId = 'A', part = 0, bootCounter = 1 } = {}) => ({
  ...{ peerId, part, bootCounter, sequence },
});
const [web, other] = [new Set(['web', 'more']), new Set(['other'])];

test('it is sent what it wants, in each version once, and to the end', (t) => {
  const interest = createInterest();
  t.true(interest.lacks(statement(1), other), 'nobody has said what is wanted');
  interest.want(new Set(['web']));
  t.false(interest.lacks(statement(1), other));
  t.true(interest.lacks(statement(1), web));
  interest.sent(statement(1), web);
  t.false(interest.lacks(statement(1), web));
  t.true(interest.lacks(statement(2), other), 'it must hear that nothing of it is wanted any more');
  interest.sent(statement(2), other);
  t.false(interest.lacks(statement(3), other), 'and then no more');
  t.true(interest.lacks(statement(4), web));
  interest.want(new Set());
  t.false(interest.lacks(statement(4), web));
});

test('it is told of a restart when it holds what was said before, whatever the new start serves', (t) => {
  const interest = createInterest();
  interest.want(new Set(['web']));
  interest.holds(statement(5, { part: 1 }));
  t.false(interest.lacks(statement(6), other), 'another part that it does not want');
  const restarted = statement(1, { bootCounter: 2 });
  t.true(interest.lacks(restarted, other));
  interest.sent(restarted, other);
  t.false(interest.lacks(statement(2, { bootCounter: 2 }), other), 'what it held is over');
  t.false(interest.lacks(statement(1, { peerId: 'B' }), other));
});

test('its own word on what it holds counts, and is forgotten when it begins anew', (t) => {
  const interest = createInterest();
  interest.want(new Set(['web']));
  interest.holds(statement(7));
  t.false(interest.lacks(statement(7), web));
  interest.forget();
  t.true(interest.lacks(statement(7), web));
  t.false(interest.lacks(statement(7), other));
});

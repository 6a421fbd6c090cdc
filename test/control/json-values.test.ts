// The count of values that a JSON text has, against what JSON.parse makes of it.

import test from 'ava';
import { decodeExec } from '../../control/exec-frames.ts';
import { hasMoreValues } from '../../control/json-values.ts';
import { execValuesMax } from '../../control/limits.ts';
import { createSimRandom } from '../../simulations/sim-random.ts';
import { createDraw } from '../hostile/draw.ts';
import { mutateJson } from '../hostile/mutate.ts';

/** Values and keys, without recursion. */
function count(value: unknown): number {
  let values = 0;
  const open = [value];
  while (open.length > 0) {
    const next = open.pop();
    values++;
    if (typeof next !== 'object' || next === null) continue;
    for (const inner of Object.values(next)) open.push(inner);
    if (!Array.isArray(next)) values += Object.keys(next).length;
  }
  return values;
}

test('no JSON has more values than it is said to have at most, whatever its texts hold', (t) => {
  const texts = ['a,b:{[', '\\"', '"', '\\', 'é𐀀\n,', '\\\\",'];
  const valid = JSON.stringify({ id: 1, texts, nested: [[{}, []], { [texts[2] ?? '']: texts }] });
  for (let index = 0; index < 300; index++) {
    const text = index === 0 ? valid : mutateJson(valid, createDraw(createSimRandom(`json-values/${index}`)));
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      continue;
    }
    const values = count(value);
    // A key that is there twice is parsed twice and counted twice; an empty list or object counts for one value more.
    t.true(values <= 1 || hasMoreValues(Buffer.from(text), values - 1), text.slice(0, 200));
  }
  const few = Buffer.from(JSON.stringify(texts));
  t.false(hasMoreValues(few, texts.length + 1), 'texts count once each');
  t.true(hasMoreValues(few, texts.length));
});

test('a message of an exec session with more values than it can have is refused unread, and the reason is short', (t) => {
  const message = (json: string): Uint8Array => Buffer.concat([Buffer.from([0]), Buffer.from(json)]);
  const many = Array.from({ length: execValuesMax }, (_, index) => `"k${index}":1`).join();
  t.throws(() => decodeExec(message(`{"begin":{${many}}}`)), { message: /more than 1024 values/ });
  const error = t.throws(() => decodeExec(message(`{"begin":{${many.slice(0, 3_000).replace(/,[^,]*$/, '')}}}`)));
  t.true(error.message.length < 200, error.message);
});

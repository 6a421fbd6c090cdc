// What every Disk must do. Called by test/node-runtime/file-disk.test.ts and test/simulations/sim-disk.test.ts.

import type { ExecutionContext, TestFn } from 'ava';
import type { Disk } from '../../node-runtime/disk.ts';
import { DiskError, DiskPathError } from '../../node-runtime/errors.ts';

export interface DiskUnderTest {
  disk: Disk;
  /** Takes the power away and gives it back: a new object over what had been made safe. */
  powerCycle(): Promise<Disk>;
  close(): Promise<void>;
}

const text = (bytes: Uint8Array | undefined) => (bytes === undefined ? undefined : new TextDecoder().decode(bytes));

export function testDisk(test: TestFn, name: string, make: () => Promise<DiskUnderTest>): void {
  const on = (title: string, body: (t: ExecutionContext, subject: DiskUnderTest) => Promise<void>) => {
    test(`${name}: ${title}`, async (t) => {
      const subject = await make();
      try {
        await body(t, subject);
      } finally {
        await subject.close();
      }
    });
  };

  on('a file that was never written reads as undefined', async (t, { disk }) => {
    t.is(await disk.read('keys/node.key'), undefined);
    await disk.write('plan', 'x');
    t.is(await disk.read('plan/inside'), undefined, 'also below a file');
  });

  on('what was written is read, replaced and still there after a power cut', async (t, subject) => {
    await subject.disk.write('keys/node.key', 'first, and longer');
    await subject.disk.write('keys/node.key', new Uint8Array([1, 2, 3]));
    t.deepEqual(await subject.disk.read('keys/node.key'), new Uint8Array([1, 2, 3]));
    const after = await subject.powerCycle();
    t.deepEqual(await after.read('keys/node.key'), new Uint8Array([1, 2, 3]));
  });

  on('writes of one path that are not waited for end with the last one', async (t, { disk }) => {
    await Promise.all(Array.from({ length: 20 }, (_, index) => disk.write('plan', `plan ${index}`)));
    t.is(text(await disk.read('plan')), 'plan 19');
    t.deepEqual(await disk.list(''), ['plan'], 'no temporary file is left');
  });

  on('appended lines are there in call order after a power cut', async (t, subject) => {
    await Promise.all(Array.from({ length: 20 }, (_, index) => subject.disk.append('ledger/log', `line ${index}`)));
    const after = await subject.powerCycle();
    await after.append('ledger/log', 'one more');
    const lines = Array.from({ length: 20 }, (_, index) => `line ${index}\n`).join('');
    t.is(text(await after.read('ledger/log')), `${lines}one more\n`);
  });

  on('a half line that a power cut left does not swallow the next one', async (t, { disk }) => {
    await disk.write('log', 'whole\nhal');
    await disk.append('log', 'next');
    t.is(text(await disk.read('log')), 'whole\nhal\nnext\n');
  });

  on('a line with a newline in it is refused', async (t, { disk }) => {
    await t.throwsAsync(disk.append('log', 'two\nlines'), { instanceOf: DiskPathError });
    t.is(await disk.read('log'), undefined);
  });

  on('a folder is listed by sorted names, without what lies deeper', async (t, { disk }) => {
    await disk.write('files/b', '2');
    await disk.write('files/a', '1');
    await disk.write('files/c/deep', '3');
    t.deepEqual(await disk.list('files'), ['a', 'b', 'c']);
    t.deepEqual(await disk.list(''), ['files']);
    t.deepEqual(await disk.list('nowhere'), []);
  });

  on('a file, a folder and nothing can be removed', async (t, { disk }) => {
    await disk.write('files/a', '1');
    await disk.write('files/c/deep', '3');
    await disk.remove('files/a');
    t.deepEqual(await disk.list('files'), ['c']);
    await disk.remove('files');
    await disk.remove('files');
    t.is(await disk.read('files/c/deep'), undefined);
    t.deepEqual(await disk.list('files'), []);
  });

  on('a folder that is read or written as a file is an error with the file and an action', async (t, { disk }) => {
    await disk.write('files/a', '1');
    for (const attempt of [disk.read('files'), disk.write('files', 'x'), disk.write('files/a/b', 'x')]) {
      const error = await t.throwsAsync(attempt, { instanceOf: DiskError });
      t.regex(error.message, /files/);
      t.true(error.action.length > 10);
    }
    t.is(text(await disk.read('files/a')), '1');
  });

  on('paths that leave the folder, or are not plain names, are refused by every operation', async (t, { disk }) => {
    for (const path of [
      '/etc/passwd',
      '../x',
      'a/../../x',
      'a/./b',
      'a//b',
      'a/',
      'a\0b',
      '.x.tmp',
      'x'.repeat(2_000),
    ]) {
      const attempts = [
        disk.read(path),
        disk.write(path, 'x'),
        disk.append(path, 'x'),
        disk.list(path),
        disk.remove(path),
      ];
      for (const attempt of attempts)
        await t.throwsAsync(attempt, { instanceOf: DiskPathError }, JSON.stringify(path).slice(0, 40));
    }
    await t.throwsAsync(disk.remove(''), { instanceOf: DiskPathError }, 'the whole data folder is not removed');
  });

  on('the content handed out is the caller’s own', async (t, { disk }) => {
    const given = new Uint8Array([1]);
    await disk.write('a', given);
    given[0] = 2;
    const got = (await disk.read('a')) as Uint8Array;
    got[0] = 3;
    t.deepEqual(await disk.read('a'), new Uint8Array([1]));
  });
}

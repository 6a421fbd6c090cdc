// What every Engine must do. Called by test/node-runtime/process-engine.test.ts (real processes, real time),
// docker-engine.test.ts (real containers) and test/simulations/sim-engine.test.ts (virtual time). Behaviours are those of simulations/sim-workload.ts.

import type { ExecutionContext } from 'ava';
import type { ProcessSpec, WorkloadSpec } from '../../control/plan.ts';
import type { Engine, FileMount, Launch, LogLine, LogQuery } from '../../node-runtime/engine.ts';
import {
  EngineStoppedError,
  InstanceRunningError,
  InstanceUnknownError,
  LaunchRefusedError,
} from '../../node-runtime/errors.ts';
import { eventually } from '../eventually.ts';

export interface EngineUnderTest {
  /** Started. */
  engine: Engine;
  /** `kill -9` of the daemon and the next one's engine, started, over the same instances. */
  adopt(): Promise<Engine>;
  /** The command of a workload that behaves so. */
  command(...behaviour: string[]): string[];
  /** Lets time pass until the promise settles. */
  run<T>(promise: Promise<T>): Promise<T>;
  /** Lets time pass, with no engine's help, until the process is gone. */
  untilGone(pid: number | undefined): Promise<void>;
  /** Docker tells of an end by a signal as the status 128 and the signal's number, as a shell does. */
  signalsAreStatuses?: boolean;
  /** A file of an instance as its workload reads it. */
  file(instance: string, path: string): Promise<string | undefined>;
  now(): number;
  /** Ends all that was launched. */
  close(): Promise<void>;
}

const INSTANCE = 'default.app.web.0';
const owner = { fabricId: 'f'.repeat(52), node: 'box' };

export type ProcessLaunch = Launch & { spec: WorkloadSpec & ProcessSpec };

export function launchOf(command: string[], changes: Partial<ProcessLaunch> = {}): ProcessLaunch {
  return {
    instance: INSTANCE,
    spec: {
      engine: 'process',
      command,
      env: { FROM: 'spec' },
      ports: [],
      configs: [],
      restart: 'always',
      stopTimeoutMs: 1_000,
    },
    specHash: 'first',
    env: { HOST: '127.0.0.1' },
    hosts: [],
    files: [],
    ...changes,
  };
}

const file = (path: string, content: string, mode = 0o600) => ({
  path,
  content: new TextEncoder().encode(content),
  mode,
});

/** Lines of a log until `enough` says so; then the reading ends. */
async function linesUntil(engine: Engine, tail: number, enough: (lines: LogLine[]) => boolean): Promise<LogLine[]> {
  const lines: LogLine[] = [];
  const reading = new AbortController();
  for await (const line of engine.logs(INSTANCE, { tail, follow: true }, reading.signal)) {
    lines.push(line);
    if (enough(lines)) reading.abort();
  }
  return lines;
}

async function allLines(engine: Engine, tail = 100, more: Partial<LogQuery> = {}): Promise<LogLine[]> {
  const lines: LogLine[] = [];
  for await (const line of engine.logs(INSTANCE, { tail, follow: false, ...more })) lines.push(line);
  return lines;
}

const texts = (lines: LogLine[]) => lines.map(({ text }) => text);

type Test = (title: string, body: (t: ExecutionContext) => Promise<void>) => void;

export function testEngine(test: Test, name: string, make: () => Promise<EngineUnderTest>): void {
  const on = (title: string, body: (t: ExecutionContext, subject: EngineUnderTest) => Promise<void>) => {
    test(`${name}: ${title}`, async (t) => {
      const subject = await make();
      try {
        await body(t, subject);
      } finally {
        await subject.close();
      }
    });
  };

  on(
    'what was launched is listed as running, with its pid and environment',
    async (t, { engine, command, run, now }) => {
      const before = now();
      const launched = await run(engine.launch(launchOf(command('run'))));
      t.true((launched.pid ?? 0) > 1);
      t.is(launched.exit, undefined);
      t.deepEqual(launched.env, { FROM: 'spec', HOST: '127.0.0.1' });
      t.true(launched.startedAt >= before && launched.startedAt <= now());
      t.deepEqual(await run(engine.list()), [launched]);
    },
  );

  on('an exit status is told to everybody who waits, and after the fact', async (t, { engine, command, run, now }) => {
    await run(engine.launch(launchOf(command('exit:3@100'))));
    const [first, second] = await run(Promise.all([engine.waitForExit(INSTANCE), engine.waitForExit(INSTANCE)]));
    t.is(first.status, 3);
    t.is(first.signal, undefined);
    t.true(Math.abs(now() - first.at) < 10_000);
    t.deepEqual(second, first);
    t.deepEqual(await run(engine.waitForExit(INSTANCE)), first);
    const [listed] = await run(engine.list());
    t.deepEqual(listed?.exit, first);
    t.is(listed?.pid, undefined);
  });

  const outputBytesMax = 1_000;
  on('a command beside an instance ends with its status and its words', async (t, { engine, command, run }) => {
    await run(engine.launch(launchOf(command('run'))));
    const options = { signal: new AbortController().signal, outputBytesMax };
    const failed = await run(engine.exec(INSTANCE, command('print:disk is full', 'exit:3@20'), options));
    t.deepEqual(failed, { status: 3, signal: undefined, output: 'disk is full\n' });
    const well = await run(engine.exec(INSTANCE, command('print:fine', 'exit:0@0'), { ...options, outputBytesMax: 2 }));
    t.deepEqual(well, { status: 0, signal: undefined, output: 'fi' });
    t.is((await run(engine.list()))[0]?.exit, undefined, 'the instance runs on');
  });

  on('a session types to a command and reads both of its streams, to the last byte', async (t, subject) => {
    const { engine, command, run } = subject;
    await run(engine.launch(launchOf(command('run'))));
    const typed = Array.from({ length: 300 }, (_, index) => `${index} ${'x'.repeat(1_000)}\n`);
    async function* input() {
      for (const text of typed) yield new TextEncoder().encode(text);
    }
    const read = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
    let taking = 0;
    const asked = engine.exec(INSTANCE, command('warn:begun', 'copy', 'warn:over', 'exit:3@0'), {
      signal: new AbortController().signal,
      outputBytesMax: 0,
      session: {
        input: input(),
        async output(stream, bytes) {
          taking++;
          // A reader that is slower than the command.
          for (let turn = 0; turn < 20; turn++) await Promise.resolve();
          t.true(taking <= 2, 'one piece of each stream at a time');
          read[stream].push(bytes);
          taking--;
        },
      },
    });
    t.deepEqual(await run(asked), { status: 3, signal: undefined, output: '' });
    t.is(Buffer.concat(read.stdout).toString(), typed.join(''));
    t.is(Buffer.concat(read.stderr).toString(), 'begun\nover\n');
  });

  on('a command that hangs is ended when nobody wants it any more', async (t, { engine, command, run }) => {
    await run(engine.launch(launchOf(command('run'))));
    const waiting = new AbortController();
    const asked = engine.exec(INSTANCE, command('print:begun', 'hang-on-term'), {
      signal: waiting.signal,
      outputBytesMax,
    });
    setImmediate(() => waiting.abort(new Error('it took too long')));
    await t.throwsAsync(run(asked), { message: 'it took too long' });
    await run(engine.terminate(INSTANCE, 0));
    t.not((await run(engine.list()))[0]?.exit, undefined);
  });

  on('beside what does not run no command can be run', async (t, { engine, command, run }) => {
    const options = { signal: new AbortController().signal, outputBytesMax };
    await t.throwsAsync(run(engine.exec(INSTANCE, command('run'), options)), { instanceOf: InstanceUnknownError });
    await run(engine.launch(launchOf(command('exit:0@10'))));
    await run(engine.waitForExit(INSTANCE));
    await t.throwsAsync(run(engine.exec(INSTANCE, command('run'), options)), { instanceOf: InstanceUnknownError });
    await t.throwsAsync(run(engine.exec(INSTANCE, [], options)), { instanceOf: LaunchRefusedError });
  });

  on('an end by a signal is not taken for an exit status', async (t, { engine, command, run, signalsAreStatuses }) => {
    await run(engine.launch(launchOf(command('signal:SIGSEGV@10'))));
    const exit = await run(engine.waitForExit(INSTANCE));
    t.is(exit.signal, signalsAreStatuses ? undefined : 'SIGSEGV');
    t.is(exit.status, signalsAreStatuses ? 139 : undefined);
  });

  on('an exit status above 128 is not taken for a signal', async (t, { engine, command, run }) => {
    await run(engine.launch(launchOf(command('exit:143@10'))));
    const exit = await run(engine.waitForExit(INSTANCE));
    t.is(exit.status, 143);
    t.is(exit.signal, undefined);
  });

  on('a workload that is asked to end does', async (t, { engine, command, run }) => {
    await run(engine.launch(launchOf(command('run'))));
    const exit = await run(engine.terminate(INSTANCE, 30_000));
    t.is(exit?.signal, 'SIGTERM');
    t.deepEqual(await run(engine.waitForExit(INSTANCE)), exit);
    t.deepEqual(await run(engine.terminate(INSTANCE, 1_000)), exit, 'again is no error');
  });

  on('a workload that does not listen is killed, and not before its time', async (t, { engine, command, run, now }) => {
    await run(engine.launch(launchOf(command('hang-on-term', 'print:deaf', 'hang-on-term'))));
    await run(linesUntil(engine, 10, (lines) => lines.length === 1));
    const asked = now();
    const exit = await run(engine.terminate(INSTANCE, 300));
    t.is(exit?.signal, 'SIGKILL');
    t.true(now() - asked >= 299, `${now() - asked} ms`);
  });

  on('without a time to end it is killed at once', async (t, { engine, command, run }) => {
    await run(engine.launch(launchOf(command('run'))));
    t.is((await run(engine.terminate(INSTANCE, 0)))?.signal, 'SIGKILL');
  });

  on('terminating what is not there is nothing', async (t, { engine, run }) => {
    t.is(await run(engine.terminate('default.app.nobody.0', 100)), undefined);
    t.is(await run(engine.terminate('../outside', 100)), undefined);
  });

  on('a termination that overtakes its launch ends it', async (t, { engine, command, run }) => {
    const launching = engine.launch(launchOf(command('run')));
    const [, exit] = await run(Promise.all([launching, engine.terminate(INSTANCE, 30_000)]));
    t.truthy(exit);
    t.truthy((await run(engine.list()))[0]?.exit);
  });

  on('the next daemon finds the same process, and hears of its end', async (t, { engine, adopt, command, run }) => {
    const launched = await run(engine.launch(launchOf(command('run'))));
    const next = await adopt();
    t.deepEqual(await run(next.list()), [launched]);
    const [exit] = await run(Promise.all([next.waitForExit(INSTANCE), next.terminate(INSTANCE, 30_000)]));
    t.is(exit.signal, 'SIGTERM');
  });

  on(
    'an exit that nobody watched is known to the next daemon',
    async (t, { engine, adopt, command, run, untilGone }) => {
      const { pid } = await run(engine.launch(launchOf(command('exit:7@300'))));
      await engine.stop();
      await untilGone(pid);
      const next = await adopt();
      t.is((await run(next.waitForExit(INSTANCE))).status, 7);
      t.is((await run(next.list()))[0]?.exit?.status, 7);
    },
  );

  on('a removed instance is forgotten', async (t, { engine, command, run, file: read }) => {
    await run(engine.launch(launchOf(command('exit:0@10'), { files: [file('configs/a/b', 'x')] })));
    await run(engine.waitForExit(INSTANCE));
    await run(engine.remove(INSTANCE));
    await run(engine.remove(INSTANCE));
    t.deepEqual(await run(engine.list()), []);
    t.is(await read(INSTANCE, 'configs/a/b'), undefined);
    await t.throwsAsync(run(engine.waitForExit(INSTANCE)), { instanceOf: InstanceUnknownError });
    await t.throwsAsync(run(allLines(engine)), { instanceOf: InstanceUnknownError });
  });

  on('a running instance is neither removed nor launched again', async (t, { engine, command, run }) => {
    const launched = await run(engine.launch(launchOf(command('run'))));
    await t.throwsAsync(run(engine.remove(INSTANCE)), { instanceOf: InstanceRunningError });
    await t.throwsAsync(run(engine.launch(launchOf(command('run')))), { instanceOf: InstanceRunningError });
    t.deepEqual(await run(engine.list()), [launched]);
  });

  on('an ended instance is launched again with its new files only', async (t, { engine, command, run, file: read }) => {
    const old = [file('configs/a', 'old'), file('configs/stale', 'old')];
    const first = await run(engine.launch(launchOf(command('print:first', 'exit:1@10'), { files: old })));
    await run(engine.waitForExit(INSTANCE));
    const changes = { files: [file('configs/a', 'new')], specHash: 'second' };
    const second = await run(engine.launch(launchOf(command('print:second', 'run'), changes)));
    t.not(second.pid, first.pid);
    t.is(second.specHash, 'second');
    t.is(second.exit, undefined);
    t.is(await read(INSTANCE, 'configs/a'), 'new');
    t.is(await read(INSTANCE, 'configs/stale'), undefined);
    const lines = await run(linesUntil(engine, 10, (found) => found.length === 2));
    t.deepEqual(texts(lines), ['first', 'second'], 'what it said before its crash is kept');
  });

  on('who waits hears of the end also when it is launched again at once', async (t, { engine, command, run }) => {
    await run(engine.launch(launchOf(command('run'))));
    const waiting = engine.waitForExit(INSTANCE);
    const again = async () => {
      await engine.terminate(INSTANCE, 30_000);
      await engine.launch(launchOf(command('run')));
    };
    const [exit] = await run(Promise.all([waiting, again()]));
    t.is(exit.signal, 'SIGTERM');
  });

  on('a workload that crashes twice runs at its third launch', async (t, { engine, command, run }) => {
    const launch = launchOf(command('crash-then-run:2@50'));
    for (let attempt = 0; attempt < 2; attempt++) {
      await run(engine.launch(launch));
      t.is((await run(engine.waitForExit(INSTANCE))).status, 1);
    }
    const third = await run(engine.launch(launch));
    t.is(third.exit, undefined);
    t.is((await run(engine.list()))[0]?.exit, undefined);
  });

  on('a command that is not there is an exit with status 127, and says so', async (t, { engine, run }) => {
    await run(engine.launch(launchOf(['selvedge-no-such-program'])));
    t.is((await run(engine.waitForExit(INSTANCE))).status, 127);
    const lines = await run(allLines(engine));
    t.true(
      lines.some(
        ({ stream, text }) => stream === 'stderr' && /selvedge-no-such-program.*(not found|No such file)/.test(text),
      ),
    );
  });

  on('files are written and replaced while it runs', async (t, { engine, command, run, file: read }) => {
    await run(engine.launch(launchOf(command('run'), { files: [file('configs/a/settings', 'one')] })));
    t.is(await read(INSTANCE, 'configs/a/settings'), 'one');
    await run(engine.writeFiles(INSTANCE, [file('configs/a/settings', 'two'), file('certificates/leaf.pem', 'new')]));
    t.is(await read(INSTANCE, 'configs/a/settings'), 'two');
    t.is(await read(INSTANCE, 'certificates/leaf.pem'), 'new');
    await t.throwsAsync(run(engine.writeFiles('default.app.nobody.0', [])), { instanceOf: InstanceUnknownError });
  });

  on(
    'configs and secrets are replaced while it runs, and variables that are secret are told to nobody',
    async (t, world) => {
      const { engine, command, run, file: read } = world;
      const settings = (content: string, name = 'settings'): FileMount => ({
        kind: 'configs',
        name: 'a',
        files: [{ path: `deep/${name}`, content: new TextEncoder().encode(content) }],
      });
      const password = (content: string): FileMount => ({
        kind: 'secrets',
        name: 'db',
        files: [{ path: 'password', content: new TextEncoder().encode(content) }],
      });
      const launched = await run(
        engine.launch(
          launchOf(command('run'), {
            mounts: [settings('one'), password('hidden')],
            secretEnv: { PASSWORD: 'hidden' },
          }),
        ),
      );
      t.is(await read(INSTANCE, 'configs/a/deep/settings'), 'one');
      t.is(await read(INSTANCE, 'secrets/db/password'), 'hidden');
      t.false(JSON.stringify(await run(engine.list())).includes('hidden'));
      await run(engine.writeMounts(INSTANCE, [settings('two', 'other'), password('changed')]));
      t.is(await read(INSTANCE, 'configs/a/deep/settings'), undefined);
      t.is(await read(INSTANCE, 'configs/a/deep/other'), 'two');
      t.is(await read(INSTANCE, 'secrets/db/password'), 'changed');
      t.is((await run(engine.list()))[0]?.pid, launched.pid);
      await run(engine.writeMounts(INSTANCE, []));
      t.is(await read(INSTANCE, 'configs/a/deep/other'), undefined);
      t.is(await read(INSTANCE, 'secrets/db/password'), undefined);
      await t.throwsAsync(run(engine.writeMounts('default.app.nobody.0', [])), { instanceOf: InstanceUnknownError });
      await t.throwsAsync(run(engine.writeMounts(INSTANCE, [{ ...password('x'), name: '../up' }])), {
        instanceOf: LaunchRefusedError,
      });
    },
  );

  on('what is not acceptable is refused before anything is there', async (t, { engine, command, run }) => {
    const ok = launchOf(command('run'));
    const bad: Launch[] = [
      ...['../up', 'a/b', '', '.', 'UPPER', 'a..b', '-a', 'x'.repeat(300)].map((instance) => ({ ...ok, instance })),
      { ...ok, spec: { ...ok.spec, command: [] } },
      { ...ok, spec: { ...ok.spec, command: ['-c', 'x'] } },
      { ...ok, spec: { ...ok.spec, workingDirectory: 'relative' } },
      { ...ok, env: { 'A B': 'x' } },
      { ...ok, env: { selvedge_run: 'x' } },
      { ...ok, env: { BIG: 'x'.repeat(200_000) } },
      { ...ok, files: [file('../outside', 'x')] },
      { ...ok, files: [file('/etc/passwd', 'x')] },
      { ...ok, files: [file('run/exit', 'x')] },
      { ...ok, files: [file('stdout.log', 'x')] },
      { ...ok, hosts: [{ address: '127.0.0.1', names: ['a\n6.6.6.6 bank'] }] },
      { ...ok, hosts: [{ address: 'nowhere', names: ['a'] }] },
    ];
    for (const launch of bad) await t.throwsAsync(run(engine.launch(launch)), { instanceOf: LaunchRefusedError });
    t.deepEqual(await run(engine.list()), []);
  });

  on('waiting can be given up, and needs an instance', async (t, { engine, command, run }) => {
    await run(engine.launch(launchOf(command('run'))));
    const giveUp = new AbortController();
    const waiting = engine.waitForExit(INSTANCE, giveUp.signal);
    giveUp.abort(new Error('given up'));
    await t.throwsAsync(run(waiting), { message: 'given up' });
    await t.throwsAsync(run(engine.waitForExit('default.app.nobody.0')), { instanceOf: InstanceUnknownError });
  });

  on('a stopped engine answers nobody, ends nothing, and can be started again', async (t, { engine, command, run }) => {
    const launched = await run(engine.launch(launchOf(command('run'))));
    const waiting = t.throwsAsync(engine.waitForExit(INSTANCE), { instanceOf: EngineStoppedError });
    await engine.stop();
    await engine.stop();
    await run(waiting);
    await t.throwsAsync(run(engine.list()), { instanceOf: EngineStoppedError });
    await t.throwsAsync(run(engine.launch(launchOf(command('run')))), { instanceOf: EngineStoppedError });
    await engine.start(owner);
    await engine.start(owner);
    // One that takes long to answer is not waited for by its start.
    await eventually(() => engine.unavailable() === undefined, { what: 'an answer of the engine' });
    t.deepEqual(await run(engine.list()), [launched]);
  });

  on('the last lines of the log are read, each with its stream', async (t, { engine, command, run }) => {
    await run(engine.launch(launchOf(command('print:one', 'warn:two', 'print:three', 'print:four', 'exit:0@10'))));
    await run(engine.waitForExit(INSTANCE));
    const all = await run(allLines(engine));
    t.deepEqual(texts(all).sort(), ['four', 'one', 'three', 'two']);
    t.is(all.find(({ text }) => text === 'two')?.stream, 'stderr');
    t.deepEqual(texts(all.filter(({ stream }) => stream === 'stdout')).length, 3);
    t.is((await run(allLines(engine, 2))).length, 2);
    t.is((await run(allLines(engine, 0))).length, 0);
  });

  on('of a log only the lines are read that contain a text and are new enough', async (t, subject) => {
    const { engine, command, run, now } = subject;
    await run(engine.launch(launchOf(command('print:a (b', 'warn:A (B', 'print:c', 'print:d', 'exit:0@10'))));
    await run(engine.waitForExit(INSTANCE));
    const read = (more: Partial<LogQuery>, tail = 100) => run(allLines(engine, tail, more));
    t.deepEqual(texts(await read({ grep: 'a (b' })), ['a (b']);
    t.deepEqual(texts(await read({ grep: 'a (b', ignoreCase: true })).sort(), ['A (B', 'a (b']);
    t.deepEqual(texts(await read({ grep: 'c' }, 1)), ['c'], 'the last one that fits, not of the last one');
    t.deepEqual(await read({ grep: 'nothing' }), []);
    t.is((await read({ since: now() - 60_000 })).length, 4);
    t.deepEqual(await read({ since: now() + 60_000 }), []);
    t.deepEqual(await read({ grep: 'c' }, 0), []);
  });

  on(
    'several readers follow a log, in order, to the last line without a newline',
    async (t, { engine, command, run }) => {
      const behaviour = command(
        'print:before',
        'after:200',
        'print:one',
        'warn:two',
        'after:300',
        'partial:three',
        'exit:0@200',
      );
      await run(engine.launch(launchOf(behaviour)));
      const whole = (lines: LogLine[]) => lines.some(({ text }) => text === 'three');
      const [first, second] = await run(Promise.all([linesUntil(engine, 10, whole), linesUntil(engine, 10, whole)]));
      for (const lines of [first, second]) {
        const of = (stream: LogLine['stream']) => texts(lines.filter((line) => line.stream === stream));
        // Between the two streams order is as good as two files allow; within one it is exact.
        t.deepEqual(of('stdout'), ['before', 'one', 'three']);
        t.deepEqual(of('stderr'), ['two']);
      }
    },
  );

  on(
    'a follower stays for the next launch and leaves when the instance is removed',
    async (t, { engine, command, run }) => {
      await run(engine.launch(launchOf(command('print:first', 'exit:1@10'))));
      await run(engine.waitForExit(INSTANCE));
      const following = linesUntil(engine, 10, () => false);
      const rest = async () => {
        await engine.launch(launchOf(command('print:second', 'exit:0@10')));
        await linesUntil(engine, 10, (lines) => lines.length === 2);
        await engine.waitForExit(INSTANCE);
        await engine.remove(INSTANCE);
      };
      const [lines] = await run(Promise.all([following, rest()]));
      t.is(lines[0]?.text, 'first');
    },
  );
}

// Every command of README.md and docs/ is run as it is written, on real daemons in boxes of their own, or is on the short list of
// not-run-here.ts. A page is a story: its commands come one after the other.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { namespacesMissing } from '../mesh/namespaces.ts';
import { skip } from '../skip.ts';
import { sliceOf } from '../slice.ts';
import { type Installed, installProgram, makeBoxes } from './box.ts';
import { startBoxDocker } from './box-docker.ts';
import { findNotRunHere, notRunHere } from './not-run-here.ts';
import { checkout, commandsOf, type DocumentedCommand, pages } from './pages.ts';
import { createReplay } from './replay.ts';
import { type Story, stories } from './stories.ts';

const isOf = ({ page, sections }: Story, command: DocumentedCommand): boolean =>
  command.page === page && (sections === undefined || sections.includes(command.section));

const documented = pages().flatMap((page) => commandsOf(page));

test('every documented command is run by a story, or by a test that is named', (t) => {
  for (const command of documented) {
    const known = stories.some((story) => isOf(story, command)) || findNotRunHere(command.text) !== undefined;
    t.true(
      known,
      `${command.page}:${command.line}: no test runs \`${command.text}\`. Add it to a story of commands.test.ts or to not-run-here.ts; fence what is no command with a language.`,
    );
  }
  for (const { sections = [], page } of stories) {
    for (const section of sections) {
      t.true(
        documented.some((one) => one.page === page && one.section === section),
        `${page}: ${section}`,
      );
    }
  }
});

test('no output is shown of what the boxes do not run: it would not be compared', (t) => {
  for (const { page, line, text, shown } of documented) {
    if (findNotRunHere(text) !== undefined) t.deepEqual(shown, [], `${page}:${line}`);
  }
});

test('what the boxes do not run is documented, and run by the test that is named', (t) => {
  for (const { command, provedBy, shows } of notRunHere) {
    t.true(
      documented.some(({ text }) => command.test(text)),
      `${command.source} is documented nowhere`,
    );
    const path = join(checkout, provedBy);
    t.true(existsSync(path) && readFileSync(path, 'utf8').includes(shows), `${provedBy} does not have ${shows}`);
  }
});

const missing = namespacesMissing();
let program: Installed | undefined;

/** At a time: each has up to four daemons. */
const storiesMax = 3;
let free = storiesMax;
const waiting: (() => void)[] = [];

async function inTurn(run: () => Promise<void>): Promise<void> {
  if (free > 0) free--;
  else {
    const { promise, resolve } = Promise.withResolvers<void>();
    waiting.push(resolve);
    await promise;
  }
  try {
    await run();
  } finally {
    const next = waiting.shift();
    if (next === undefined) free++;
    else next();
  }
}

test.before('the program is installed', async (t) => {
  t.timeout(120_000);
  if (missing === undefined) program = await installProgram();
});

test.after.always('the program is removed', () => program?.remove());

async function tell(t: ExecutionContext, story: Story, { prefix }: Installed): Promise<void> {
  const boxes = await makeBoxes(t, { boxes: story.boxes, prefix });
  const [defaultBox = ''] = Object.keys(story.boxes);
  for (const name of story.docker ?? []) await startBoxDocker(t, boxes.box(name), boxes.folder);
  const replay = createReplay(t, { boxes, defaultBox });
  let section: string | undefined;
  for (const command of documented.filter((one) => isOf(story, one))) {
    const hidden = section === command.section ? [] : (story.before?.[command.section] ?? []);
    section = command.section;
    for (const [box, text] of hidden) await replay.type({ ...command, box, text, shown: [] });
    await replay.type(command);
  }
}

/** What a first user types is run each time. */
const isFirst = ({ page }: Story): boolean => ['README.md', 'docs/quickstart.md'].includes(page);
const told = [
  ...stories.filter(isFirst),
  ...sliceOf(
    stories.filter((story) => !isFirst(story)),
    3,
  ),
];

for (const story of told) {
  const title = [story.page, ...(story.sections ?? [])].join(', ');
  test(`${title}: the commands do what the page says`, async (t) => {
    const installed = program;
    if (installed === undefined) return skip(t, missing ?? 'the program was not installed');
    // The turn of a story comes when others have ended.
    t.timeout(600_000);
    await inTurn(() => tell(t, story, installed));
    t.pass();
  });
}

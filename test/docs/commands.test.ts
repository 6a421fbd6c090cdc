// Every command of README.md and docs/ is run as it is written, on real daemons in boxes of their own, or is on the short list of
// not-run-here.ts. A page is a story: its commands come one after the other.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { namespacesMissing } from '../mesh/namespaces.ts';
import { skip } from '../skip.ts';
import { type Installed, installProgram, makeBoxes } from './box.ts';
import { startBoxDocker } from './box-docker.ts';
import { findNotRunHere, notRunHere } from './not-run-here.ts';
import { checkout, commandsOf, type DocumentedCommand, pages } from './pages.ts';
import { createReplay } from './replay.ts';

interface Story {
  page: string;
  /** Those whose commands it types; all, when there are none. */
  sections?: string[];
  /** Name and address of each; the first is meant where a block has no prompts. */
  boxes: Record<string, string>;
  /** Boxes with a Docker Engine. */
  docker?: string[];
  /** What the page takes for granted: box and command. */
  before?: [box: string, command: string][];
}

const three = { box1: '192.0.2.1', box2: '192.0.2.2', box3: '192.0.2.3' };

const stories: Story[] = [{ page: 'docs/quickstart.md', boxes: three, docker: ['box3'] }];

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

test.before('the program is installed', async (t) => {
  t.timeout(120_000);
  if (missing === undefined) program = await installProgram();
});

test.after.always('the program is removed', () => program?.remove());

for (const story of stories) {
  test(`${story.page} ${story.sections?.join(', ') ?? ''} does what it says`, async (t) => {
    if (program === undefined) return skip(t, missing ?? 'the program was not installed');
    t.timeout(300_000);
    const boxes = await makeBoxes(t, { boxes: story.boxes, bin: program.bin });
    const [defaultBox = ''] = Object.keys(story.boxes);
    for (const name of story.docker ?? []) await startBoxDocker(t, boxes.box(name), boxes.folder);
    const replay = createReplay(t, { boxes, defaultBox });
    for (const [box, text] of story.before ?? []) {
      await replay.type({ page: story.page, line: 0, section: '', box, text, shown: [] });
    }
    for (const command of documented) if (isOf(story, command)) await replay.type(command);
    t.pass();
  });
}

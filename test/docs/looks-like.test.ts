// What counts as "printed what the documentation shows".

import test from 'ava';
import { missingLine } from './looks-like.ts';
import { commandsOf } from './pages.ts';

const printed = `fabric plant (pi5crtvj): all is well
3 nodes connected · 0 applications

NODE  STATE      LINKS  FOR
box1  connected  12     850 ms
press-4  lost  0  3 min`;

test('numbers, times and ids may differ; words, names and order may not', (t) => {
  const shown = (...lines: string[]): string | undefined => missingLine(lines, printed, ['box1', 'press-4']);
  t.is(shown('fabric plant (…): all is well', '7 nodes connected · 2 applications'), undefined);
  t.is(shown('box1 connected 2 4.0 s'), undefined);
  t.is(shown('…', 'press-4  lost  …'), undefined);
  t.is(shown('fabric plant (…): not all is well'), 'fabric plant (…): not all is well');
  t.is(shown('box2 connected 2 4.0 s'), undefined, 'box2 is no name of this story');
  t.is(missingLine(['box2 connected 2 4.0 s'], printed, ['box1', 'box2']), 'box2 connected 2 4.0 s');
  t.is(shown('box1 …', 'fabric plant …'), 'fabric plant …', 'in this order');
  t.is(shown('box1 connected'), 'box1 connected', 'a whole line');
});

test('commands are read from blocks with and without prompts, and from nothing else', (t) => {
  const page = `# Title

Text with \`selvedge status\`.

    npm start       # comment
    npm test

## Part

    box1# cat > f <<'END'
    a # b
    END
    box1# selvedge status
    shown

\`\`\`yaml
no: command
\`\`\`

\`\`\`
box2$ selvedge down \\
  --workloads
\`\`\`
`;
  const found = commandsOf('page.md', page).map(({ line, section, box, text, shown }) => [
    line,
    section,
    box,
    text,
    shown,
  ]);
  t.deepEqual(found, [
    [5, '', undefined, 'npm start', []],
    [6, '', undefined, 'npm test', []],
    [10, 'Part', 'box1', "cat > f <<'END'\na # b\nEND", []],
    [13, 'Part', 'box1', 'selvedge status', ['shown']],
    [21, 'Part', 'box2', 'selvedge down \\\n  --workloads', []],
  ]);
  t.throws(() => commandsOf('page.md', '- item\n\n      box1# selvedge status\n'), { message: /in no block/ });
});

// Tables without borders that fit the terminal. The only file that imports cli-table3.

import { stripVTControlCharacters } from 'node:util';
import Table from 'cli-table3';
import type { Host } from './host.ts';

const gap = 2;
/** A column is not made narrower than this: below it nothing can be read. */
const columnCharactersMin = 8;
const none = ['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right'];
const alsoNone = ['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid', 'middle'];

/** Text that came from elsewhere, without what could move the cursor or change the terminal's state. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is removed.
  return stripVTControlCharacters(text).replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ');
}

/** Widths that fit: the widest column gives first. Exported for its test. */
export function fitWidths(natural: number[], columns: number): number[] {
  const widths = [...natural];
  const total = (): number => widths.reduce((sum, width) => sum + width, 0);
  while (total() > columns) {
    const widest = widths.indexOf(Math.max(...widths));
    if ((widths[widest] ?? 0) <= columnCharactersMin) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
  }
  return widths;
}

/** Rows under headings. Cells may be coloured; what others wrote goes through `printable` first. */
export function table(host: Host, headings: string[], rows: string[][]): string {
  const natural = headings.map((heading, index) => {
    const cells = rows.map((row) => stripVTControlCharacters(row[index] ?? '').length);
    return Math.max(heading.length, ...cells) + gap;
  });
  const made = new Table({
    chars: Object.fromEntries([...none, ...alsoNone].map((name) => [name, ''])),
    style: { 'padding-left': 0, 'padding-right': gap, head: [], border: [], compact: true },
    colWidths: host.columns === undefined ? natural : fitWidths(natural, host.columns),
    wordWrap: host.columns !== undefined,
    wrapOnWordBoundary: false,
  });
  made.push(
    headings.map((heading) => host.style('bold', heading)),
    ...rows,
  );
  return made
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** Text in lines that fit the terminal, each indented, broken between words. */
export function indented(host: Host, text: string, indent: number): string {
  const width = Math.max(columnCharactersMin, (host.columns ?? Number.POSITIVE_INFINITY) - indent);
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/ +/)) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].map((one) => `${' '.repeat(indent)}${one}`).join('\n');
}

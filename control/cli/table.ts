// Tables without borders that fit the terminal. The only file that imports cli-table3.

import { stripVTControlCharacters } from 'node:util';
import Table from 'cli-table3';
import type { Host } from './host.ts';

const gap = 2;
/** A column is not made narrower than this: below it nothing can be read. */
const columnCharactersMin = 8;
/** The library's time grows faster than the rows: the tables of 10,000 services took 38 s of processor time at once, 8 in such parts. */
const rowsAtOnce = 200;
/** A column of text is at least this wide while columns can be left out instead. */
const textCharactersMin = 26;
const none = ['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right'];
const alsoNone = ['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid', 'middle'];

/** Text that came from elsewhere, without what could move the cursor, change the terminal's state, hide, or turn the direction of text. */
export function printable(text: string): string {
  return stripVTControlCharacters(text).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, ' ');
}

/** The same for a text of several lines. */
export const printableLines = (text: string): string => text.split('\n').map(printable).join('\n');

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

/** A column: its title, and for one that may be left out where the terminal is narrow, when (1 goes first). */
export type Column = string | { title: string; drop: number };

const titleOf = (column: Column): string => (typeof column === 'string' ? column : column.title);
const lengthOf = (cell: string): number => stripVTControlCharacters(cell).length;

/** The middle of a long name says least: its end tells replicas and hosts apart. Coloured text is left to the table. */
export function shortened(text: string, width: number): string {
  if (lengthOf(text) <= width || lengthOf(text) !== text.length || width < 3) return text;
  const tail = Math.floor((width - 1) / 2);
  return `${text.slice(0, width - 1 - tail)}…${text.slice(text.length - tail)}`;
}

/** Which columns are shown: those that say nothing are not, and others go until the rest has room for the last one. */
function shownColumns(columns: readonly Column[], widths: readonly number[], rows: string[][], room: number): number[] {
  const says = (index: number): boolean => rows.some((row) => (row[index] ?? '') !== '');
  let shown = columns.map((_, index) => index).filter((index) => typeof columns[index] === 'string' || says(index));
  const dropAt = (index: number): number => {
    const column = columns[index];
    return typeof column === 'object' ? column.drop : Number.POSITIVE_INFINITY;
  };
  const total = (): number => shown.reduce((sum, index) => sum + (widths[index] ?? 0), 0);
  while (total() > room) {
    const next = Math.min(...shown.map(dropAt));
    if (next === Number.POSITIVE_INFINITY) break;
    shown = shown.filter((index) => dropAt(index) !== next);
  }
  return shown;
}

/**
 * Rows under headings. Cells may be coloured; what others wrote goes through `printable` first. Where they do not fit the terminal,
 * columns are left out, long names shortened, and the last column, which holds text, goes on in further lines.
 */
export function table(host: Host, columns: Column[], allRows: string[][]): string {
  const natural = columns.map(
    (column, index) => Math.max(titleOf(column).length, ...allRows.map((row) => lengthOf(row[index] ?? ''))) + gap,
  );
  const room = (host.columns ?? Number.POSITIVE_INFINITY) + gap;
  // The last column is text, which can be broken: it counts as no wider than is needed to read it.
  const needed = natural.map((width, index) =>
    index === columns.length - 1 ? Math.min(width, textCharactersMin) : width,
  );
  const shown = shownColumns(columns, needed, allRows, room);
  const rows = allRows.map((row) => shown.map((index) => row[index] ?? ''));
  const wanted = shown.map((index) => natural[index] ?? 0);
  const widths = host.columns === undefined ? wanted : fitWidths(wanted, room);
  const last = shown.length - 1;
  const heading = shown.map((index) => host.style('bold', titleOf(columns[index] ?? '')));
  const lines = rows.map((row) =>
    row.map((cell, index) =>
      index === last
        ? { content: broken(cell, (widths[index] ?? 0) - gap), wordWrap: host.columns !== undefined }
        : shortened(cell, (widths[index] ?? 0) - gap),
    ),
  );
  const cells = [heading, ...lines];
  const parts: string[] = [];
  for (let first = 0; first < cells.length; first += rowsAtOnce) {
    const made = new Table({
      chars: Object.fromEntries([...none, ...alsoNone].map((name) => [name, ''])),
      style: { 'padding-left': 0, 'padding-right': gap, head: [], border: [], compact: true },
      colWidths: widths,
    });
    made.push(...cells.slice(first, first + rowsAtOnce));
    parts.push(made.toString());
  }
  return parts
    .flatMap((part) => part.split('\n'))
    .map((line) => line.trimEnd())
    .join('\n');
}

/** Words that are longer than a line get a place to break. */
function broken(text: string, width: number): string {
  if (lengthOf(text) !== text.length || width < 1 || !Number.isFinite(width)) return text;
  return text.replace(new RegExp(`\\S{${width}}(?=\\S)`, 'g'), '$& ');
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

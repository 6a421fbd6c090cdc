// Whether a command printed what the documentation shows: the same words in the same order, whatever the numbers, times, ids and
// addresses are. Pure; called by replay.ts.

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** One shown line as a pattern; `known` are words with digits that are names and not values. */
function patternOf(line: string, known: ReadonlySet<string>): RegExp {
  let wasNumber = false;
  const parts = line
    .split(/\s+/)
    .filter((word) => word !== '')
    .map((word) => {
      const isUnit = wasNumber && /^(ms|s|min|h|d)[.,:;)]*$/.test(word);
      const bare = word.replace(/^\W+|\W+$/g, '');
      wasNumber = /^\W*\d[\d.,:]*\W*$/.test(word);
      if (isUnit) return '(?:ms|s|min|h|d)\\S*';
      if (word === '…') return '.*';
      if (/\d/.test(bare) && !known.has(bare)) return '\\S+';
      return word.split('…').map(escaped).join('\\S*');
    });
  return new RegExp(`^\\s*${parts.join('\\s+').replaceAll('.*\\s+', '.*')}\\s*$`);
}

/** The first shown line that is not printed (after the ones before it); undefined when all are. */
export function missingLine(
  shown: readonly string[],
  printed: string,
  known: Iterable<string> = [],
): string | undefined {
  const names = new Set(known);
  const lines = printed.split('\n');
  let from = 0;
  for (const line of shown) {
    if (line.trim() === '' || line.trim() === '…') continue;
    const pattern = patternOf(line, names);
    const found = lines.findIndex((one, index) => index >= from && pattern.test(one));
    if (found < 0) return line;
    from = found + 1;
  }
  return undefined;
}

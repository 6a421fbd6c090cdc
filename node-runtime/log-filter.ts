// Which lines of a log a query wants: by time and by text. Pure. Called by the engines, where the lines are: what is not wanted
// never crosses the mesh. A text and no pattern: the time that a line takes is bounded by its length.

import type { LogLine, LogQuery } from './engine.ts';

/** Whether lines from the past are left out, so that more than the end of the log has to be looked at. */
export const isFiltered = ({ since, grep }: LogQuery): boolean => since !== undefined || grep !== undefined;

export function lineFilter({ since, grep = '', ignoreCase = false }: LogQuery): (line: LogLine) => boolean {
  const wanted = ignoreCase ? grep.toLowerCase() : grep;
  return ({ at, text }) =>
    (since === undefined || at === undefined || at >= since) &&
    (wanted === '' || (ignoreCase ? text.toLowerCase() : text).includes(wanted));
}

// The file behind the token book: `tokens.jsonl`, one line per token made and per use, each fsynced before anybody is told.
// Called by token-book.ts alone. Holds hashes of secrets and keys, never a secret.

import * as z from 'zod';
import type { Disk } from '../node-runtime/disk.ts';
import { TokenJournalError } from './errors.ts';
import { labelsMax, labelTextCharactersMax, tokenUsesMax } from './limits.ts';

export const tokenJournalPath = 'tokens.jsonl';

const hash = z.string().regex(/^[0-9a-f]{64}$/);
const instant = z.number().int().nonnegative();
export const labelsSchema = z
  .record(z.string().min(1).max(labelTextCharactersMax), z.string().max(labelTextCharactersMax))
  .refine((labels) => Object.keys(labels).length <= labelsMax, `at most ${labelsMax} labels`);

const recordSchema = z.strictObject({
  id: z.string().min(1).max(labelTextCharactersMax),
  uses: z.number().int().min(1).max(tokenUsesMax),
  createdAt: instant,
  expiresAt: instant,
  labels: labelsSchema,
  router: z.enum(['interior', 'edge']),
});

const lineSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('created'), secretSha256: hash, record: recordSchema }),
  z.strictObject({ type: z.literal('used'), id: recordSchema.shape.id, keySha256: hash, at: instant }),
]);

/** What a token grants. */
export type TokenRecord = z.infer<typeof recordSchema>;
export type TokenLine = z.infer<typeof lineSchema>;

function parseLine(text: string): TokenLine | undefined {
  try {
    const result = lineSchema.safeParse(JSON.parse(text));
    return result.success ? result.data : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Every line in order. A last line that a power cut left half-written is dropped: nobody was told of it. Throws
 * TokenJournalError for a line in the middle: what it said of used tokens cannot be known.
 */
export async function readTokenJournal(disk: Disk): Promise<TokenLine[]> {
  const content = await disk.read(tokenJournalPath);
  const texts = content === undefined ? [] : new TextDecoder().decode(content).split('\n');
  // What follows the last newline: empty when the last append was complete.
  const tail = texts.pop() ?? '';
  const lines = texts.map(parseLine);
  const tailLine = parseLine(tail);
  if (tailLine !== undefined) lines.push(tailLine);
  const last = lines.length - 1;
  return lines.flatMap((line, index) => {
    if (line !== undefined) return [line];
    if (index === last && tail === '') return [];
    throw new TokenJournalError(`line ${index + 1} of ${tokenJournalPath} is damaged`);
  });
}

export interface TokenJournal {
  /** Resolves once the line would survive a power cut. */
  append(line: TokenLine): Promise<void>;
}

/**
 * Appends one line at a time. `currentLines` gives what is worth keeping: it replaces the file when a write failed before
 * (the file may end in half a line), and when `shouldRewrite` says that the file has outgrown it.
 */
export function createTokenJournal(dependencies: {
  disk: Disk;
  currentLines: () => TokenLine[];
  shouldRewrite: (lineCount: number) => boolean;
  lineCount: number;
}): TokenJournal {
  const { disk, currentLines, shouldRewrite } = dependencies;
  let { lineCount } = dependencies;
  let damaged = false;
  let queue: Promise<void> = Promise.resolve();

  async function write(line: TokenLine): Promise<void> {
    try {
      if (damaged || shouldRewrite(lineCount)) {
        const lines = currentLines();
        await writeTokenJournal(disk, lines);
        lineCount = lines.length;
      } else {
        await disk.append(tokenJournalPath, JSON.stringify(line));
        lineCount += 1;
      }
      damaged = false;
    } catch (error) {
      damaged = true;
      throw error;
    }
  }

  return {
    append(line) {
      const written = queue.then(() => write(line));
      queue = written.catch(() => undefined);
      return written;
    },
  };
}

export async function writeTokenJournal(disk: Disk, lines: readonly TokenLine[]): Promise<void> {
  await disk.write(tokenJournalPath, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
}

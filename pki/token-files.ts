// The files behind the token book: `tokens/<id>` holds a token and all of its uses under a checksum, and is replaced as a whole for
// each use. So a damaged file is always told from a whole one: half a file can never be a token that nobody has used, and a
// missing one is a token that admits nobody. Called by token-book.ts and by `doctor`. Holds hashes of secrets and keys alone.

import * as z from 'zod';
import type { Disk } from '../node-runtime/disk.ts';
import { TokenFileError } from './errors.ts';
import { labelsMax, labelTextCharactersMax, tokenUsesMax } from './limits.ts';
import { sha256Hex } from './public-key.ts';

const folder = 'tokens';

const hash = z.string().regex(/^[0-9a-f]{64}$/);
const instant = z.number().int().nonnegative();
const fewLabels = (value: unknown): boolean =>
  typeof value !== 'object' || value === null || Object.keys(value).length <= labelsMax;
/** Records pass over it unseen: what is under it would be believed to be checked. */
const noPrototype = (value: unknown): boolean =>
  typeof value !== 'object' || value === null || !Object.hasOwn(value, '__proto__');
/** Counted before they are looked at: a stranger's frame holds 20,000, and what is wrong with each of them would take long to say. */
export const labelsSchema = z
  .unknown()
  .refine(fewLabels, { error: `at most ${labelsMax} labels`, abort: true })
  .refine(noPrototype, { error: 'no label is called __proto__', abort: true })
  .pipe(z.record(z.string().min(1).max(labelTextCharactersMax), z.string().max(labelTextCharactersMax)));

const recordSchema = z.strictObject({
  id: z.string().regex(/^[a-z2-7]{1,32}$/),
  uses: z.number().int().min(1).max(tokenUsesMax),
  createdAt: instant,
  expiresAt: instant,
  labels: labelsSchema,
  router: z.enum(['interior', 'edge']),
});

const fileSchema = z.strictObject({
  record: recordSchema,
  secretSha256: hash,
  /** By whom, and when. */
  used: z.array(z.strictObject({ keySha256: hash, at: instant })).max(tokenUsesMax),
});

/** What a token grants. */
export type TokenRecord = z.infer<typeof recordSchema>;
export type TokenFile = z.infer<typeof fileSchema>;

const pathOf = (id: string): string => `${folder}/${id}`;
const sumOf = (body: string): string => sha256Hex(new TextEncoder().encode(body));

function parse(name: string, text: string): TokenFile {
  const end = text.indexOf('\n');
  const [sum, body] = [text.slice(0, Math.max(0, end)), text.slice(end + 1)];
  if (end < 0 || sum !== sumOf(body)) throw new TokenFileError(pathOf(name), 'its checksum does not fit');
  const parsed = fileSchema.safeParse(JSON.parse(body));
  if (!parsed.success) throw new TokenFileError(pathOf(name), 'it does not hold a token');
  if (parsed.data.record.id !== name) throw new TokenFileError(pathOf(name), 'it holds another token');
  return parsed.data;
}

/** Every token that was kept. Throws TokenFileError for a damaged file: what it said of used tokens cannot be known. */
export async function readTokenFiles(disk: Disk): Promise<TokenFile[]> {
  const files: TokenFile[] = [];
  for (const name of await disk.list(folder)) {
    const content = await disk.read(pathOf(name));
    if (content !== undefined) files.push(parse(name, new TextDecoder().decode(content)));
  }
  return files;
}

/** Resolves once it would survive a power cut. Writes of one token happen in call order. */
export async function writeTokenFile(disk: Disk, file: TokenFile): Promise<void> {
  const body = `${JSON.stringify(file)}\n`;
  await disk.write(pathOf(file.record.id), `${sumOf(body)}\n${body}`);
}

export const removeTokenFile = (disk: Disk, id: string): Promise<void> => disk.remove(pathOf(id));

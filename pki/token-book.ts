// The join tokens of one controller: making them and using them up (design, section 5.2). Called by the API (create) and by
// the enrollment server (consume). A use is bound to the asking keys and fsynced before anybody is told of it, so neither a
// power cut nor two askers at once can use it twice, and whoever asks again after a lost reply is answered.

import { timingSafeEqual } from 'node:crypto';
import type { Clock } from '../node-runtime/clock.ts';
import type { Disk } from '../node-runtime/disk.ts';
import type { Random } from '../node-runtime/random.ts';
import { toBase32 } from './base32.ts';
import { TokenRefusedError } from './errors.ts';
import {
  tokenJournalSpareLinesMax,
  tokenSecretBytes,
  tokensMax,
  tokenTtlMsMax,
  tokenTtlMsMin,
  tokenUsesMax,
  tokenUsesOutstandingMax,
} from './limits.ts';
import { sha256, sha256Hex } from './public-key.ts';
import {
  createTokenJournal,
  labelsSchema,
  readTokenJournal,
  type TokenLine,
  type TokenRecord,
  writeTokenJournal,
} from './token-journal.ts';
import { formatToken, newTokenSecret } from './tokens.ts';

export type { TokenRecord };

export interface TokenRequest {
  /** Different nodes that it admits, 1 to 1000. */
  uses: number;
  /** 1 minute to 30 days. */
  ttlMs: number;
  labels: Record<string, string>;
  router: TokenRecord['router'];
}

export type Consumption =
  | { admitted: true; record: TokenRecord }
  | { admitted: false; reason: 'unknown' | 'expired' | 'used' };

export interface TokenBook {
  /** The only time that the token's text exists here. Throws TokenRefusedError for a request outside the limits. */
  create(request: TokenRequest): Promise<{ token: string } & TokenRecord>;
  /** Binds one use to the key (any bytes that name the asker, e.g. its SPKI). Resolves once that is on disk. */
  consume(secret: string, publicKey: Uint8Array): Promise<Consumption>;
  /** Every token that has not expired, and how many of its uses are taken. */
  list(): (TokenRecord & { used: number })[];
}

interface Use {
  at: number;
  /** Undefined when the last attempt to write it failed: the asker's next attempt writes it. */
  written: Promise<void> | undefined;
}

interface Entry {
  record: TokenRecord;
  secretSha256: Uint8Array;
  uses: Map<string, Use>;
}

const tokenIdBytes = 5;

const toLines = (entries: Iterable<Entry>): TokenLine[] =>
  [...entries].flatMap(({ record, secretSha256, uses }): TokenLine[] => [
    { type: 'created', secretSha256: Buffer.from(secretSha256).toString('hex'), record },
    ...[...uses].map(([keySha256, { at }]): TokenLine => ({ type: 'used', id: record.id, keySha256, at })),
  ]);

function toEntries(lines: readonly TokenLine[]): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  for (const line of lines) {
    if (line.type === 'created') {
      // A rewrite and an append that waited for it may both have written it: the first is followed by its uses.
      if (entries.has(line.record.id)) continue;
      const secretSha256 = new Uint8Array(Buffer.from(line.secretSha256, 'hex'));
      entries.set(line.record.id, { record: line.record, secretSha256, uses: new Map() });
    } else {
      entries.get(line.id)?.uses.set(line.keySha256, { at: line.at, written: Promise.resolve() });
    }
  }
  return entries;
}

function checkRequest({ uses, ttlMs, labels }: TokenRequest): void {
  if (!Number.isInteger(uses) || uses < 1 || uses > tokenUsesMax) {
    throw new TokenRefusedError(`a token has 1 to ${tokenUsesMax} uses`);
  }
  if (!Number.isFinite(ttlMs) || ttlMs < tokenTtlMsMin || ttlMs > tokenTtlMsMax) {
    throw new TokenRefusedError('a token lives between 1 minute and 30 days');
  }
  if (!labelsSchema.safeParse(labels).success) throw new TokenRefusedError('a token’s labels are too many or too long');
}

export interface TokenBookDependencies {
  disk: Disk;
  clock: Clock;
  random: Random;
  fabricId: string;
}

/** Loads the journal and drops what has expired. Throws TokenJournalError when it is damaged. */
export async function createTokenBook({ disk, clock, random, fabricId }: TokenBookDependencies): Promise<TokenBook> {
  const entries = toEntries(await readTokenJournal(disk));
  const isExpired = ({ record }: Entry): boolean => record.expiresAt <= clock.now();
  const live = (): Entry[] => [...entries.values()].filter((entry) => !isExpired(entry));
  for (const entry of entries.values()) if (isExpired(entry)) entries.delete(entry.record.id);
  // Also ends a half-written last line, which the next append would otherwise continue.
  await writeTokenJournal(disk, toLines(entries.values()));
  const lineCount = (): number => live().reduce((sum, { uses }) => sum + 1 + uses.size, 0);
  const journal = createTokenJournal({
    disk,
    currentLines: () => toLines(live()),
    shouldRewrite: (written) => written > tokenJournalSpareLinesMax + 2 * lineCount(),
    lineCount: lineCount(),
  });

  function newId(): string {
    for (;;) {
      const id = toBase32(random.bytes(tokenIdBytes));
      if (!entries.has(id)) return id;
    }
  }

  /** Looks at every token whatever it finds, so that time tells nothing. */
  function find(secret: string): Entry | undefined {
    const wanted = sha256(new TextEncoder().encode(secret));
    let found: Entry | undefined;
    for (const entry of entries.values()) if (timingSafeEqual(entry.secretSha256, wanted)) found = entry;
    return found;
  }

  return {
    async create(request) {
      checkRequest(request);
      if (entries.size >= tokensMax)
        for (const entry of entries.values()) if (isExpired(entry)) entries.delete(entry.record.id);
      if (entries.size >= tokensMax) throw new TokenRefusedError(`${tokensMax} tokens are outstanding already`);
      const outstanding = live().reduce((sum, { record }) => sum + record.uses, 0);
      if (outstanding + request.uses > tokenUsesOutstandingMax) {
        throw new TokenRefusedError(`outstanding tokens would have more than ${tokenUsesOutstandingMax} uses together`);
      }
      const secret = newTokenSecret(random.bytes(tokenSecretBytes));
      const createdAt = clock.now();
      const record: TokenRecord = {
        id: newId(),
        uses: request.uses,
        createdAt,
        expiresAt: createdAt + Math.floor(request.ttlMs),
        labels: { ...request.labels },
        router: request.router,
      };
      const secretSha256 = sha256(new TextEncoder().encode(secret));
      entries.set(record.id, { record, secretSha256, uses: new Map() });
      try {
        await journal.append({ type: 'created', secretSha256: Buffer.from(secretSha256).toString('hex'), record });
      } catch (error) {
        entries.delete(record.id);
        throw error;
      }
      return { token: formatToken({ fabricId, secret }), ...structuredClone(record) };
    },

    async consume(secret, publicKey) {
      const entry = find(secret);
      if (entry === undefined) return { admitted: false, reason: 'unknown' };
      if (isExpired(entry)) return { admitted: false, reason: 'expired' };
      const keySha256 = sha256Hex(publicKey);
      const known = entry.uses.get(keySha256);
      if (known === undefined && entry.uses.size >= entry.record.uses) return { admitted: false, reason: 'used' };
      // Taken before the first await: whoever comes meanwhile finds it taken, also when writing it fails.
      const use: Use = known ?? { at: clock.now(), written: undefined };
      entry.uses.set(keySha256, use);
      use.written ??= journal.append({ type: 'used', id: entry.record.id, keySha256, at: use.at });
      try {
        await use.written;
      } catch (error) {
        use.written = undefined;
        throw error;
      }
      return { admitted: true, record: structuredClone(entry.record) };
    },

    list: () => live().map(({ record, uses }) => ({ ...structuredClone(record), used: uses.size })),
  };
}

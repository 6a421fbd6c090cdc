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
  tokenSecretBytes,
  tokensMax,
  tokenTtlMsMax,
  tokenTtlMsMin,
  tokenUsesMax,
  tokenUsesOutstandingMax,
} from './limits.ts';
import { sha256, sha256Hex } from './public-key.ts';
import {
  labelsSchema,
  readTokenFiles,
  removeTokenFile,
  type TokenFile,
  type TokenRecord,
  writeTokenFile,
} from './token-files.ts';
import { formatToken, newTokenSecret } from './tokens.ts';

export type { TokenRecord };

export interface TokenRequest {
  /** Different nodes that it admits, 1 to 1000. */
  uses: number;
  /** 1 minute to 7 days. */
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

const toFile = ({ record, secretSha256, uses }: Entry): TokenFile => ({
  record,
  secretSha256: Buffer.from(secretSha256).toString('hex'),
  used: [...uses].map(([keySha256, { at }]) => ({ keySha256, at })),
});

const toEntry = ({ record, secretSha256, used }: TokenFile): Entry => ({
  record,
  secretSha256: new Uint8Array(Buffer.from(secretSha256, 'hex')),
  uses: new Map(used.map(({ keySha256, at }) => [keySha256, { at, written: Promise.resolve() }])),
});

function checkRequest({ uses, ttlMs, labels }: TokenRequest): void {
  if (!Number.isInteger(uses) || uses < 1 || uses > tokenUsesMax) {
    throw new TokenRefusedError(`a token has 1 to ${tokenUsesMax} uses`);
  }
  if (!Number.isFinite(ttlMs) || ttlMs < tokenTtlMsMin || ttlMs > tokenTtlMsMax) {
    throw new TokenRefusedError('a token lives between 1 minute and 7 days');
  }
  if (!labelsSchema.safeParse(labels).success) throw new TokenRefusedError('a token’s labels are too many or too long');
}

export interface TokenBookDependencies {
  disk: Disk;
  clock: Clock;
  random: Random;
  fabricId: string;
}

/** Loads the tokens and drops what has expired. Throws TokenFileError when a file is damaged. */
export async function createTokenBook({ disk, clock, random, fabricId }: TokenBookDependencies): Promise<TokenBook> {
  const entries = new Map((await readTokenFiles(disk)).map((file) => [file.record.id, toEntry(file)]));
  const isExpired = ({ record }: Entry): boolean => record.expiresAt <= clock.now();
  const live = (): Entry[] => [...entries.values()].filter((entry) => !isExpired(entry));

  async function dropExpired(): Promise<void> {
    for (const entry of [...entries.values()]) {
      if (!isExpired(entry)) continue;
      entries.delete(entry.record.id);
      await removeTokenFile(disk, entry.record.id);
    }
  }
  await dropExpired();

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
      await dropExpired();
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
      const entry: Entry = { record, secretSha256: sha256(new TextEncoder().encode(secret)), uses: new Map() };
      entries.set(record.id, entry);
      try {
        await writeTokenFile(disk, toFile(entry));
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
      use.written ??= writeTokenFile(disk, toFile(entry));
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

// IPv4 ranges as numbers: parsing, splitting, overlap. Pure; called by docker-network.ts.

export interface Ipv4Range {
  /** The first address as a number. */
  first: number;
  prefix: number;
}

const sizeOf = ({ prefix }: Ipv4Range): number => 2 ** (32 - prefix);

/** `198.18.0.0/15`; undefined when it is none, or when bits behind the prefix are set. */
export function parseRange(text: string): Ipv4Range | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(text);
  const parts = match?.slice(1, 5).map(Number) ?? [];
  const prefix = Number(match?.[5]);
  if (match === null || parts.some((part) => part > 255) || prefix > 32) return undefined;
  const first = parts.reduce((sum, part) => sum * 256 + part, 0);
  return first % 2 ** (32 - prefix) === 0 ? { first, prefix } : undefined;
}

export function addressText(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.');
}

export const rangeText = ({ first, prefix }: Ipv4Range): string => `${addressText(first)}/${prefix}`;

/** How many ranges of that prefix the range holds. */
export const partsOf = (range: Ipv4Range, prefix: number): number => 2 ** Math.max(0, prefix - range.prefix);

/** The `index`th part of that prefix. */
export function partOf(range: Ipv4Range, prefix: number, index: number): Ipv4Range {
  return { first: range.first + index * 2 ** (32 - prefix), prefix };
}

export function overlaps(one: Ipv4Range, other: Ipv4Range): boolean {
  return one.first < other.first + sizeOf(other) && other.first < one.first + sizeOf(one);
}

/** Networks of Linux's `/proc/net/route`, without the default route. */
export function routedRanges(procNetRoute: string): Ipv4Range[] {
  const number = (hex: string): number => Buffer.from(hex, 'hex').reverse().readUInt32BE(0);
  return procNetRoute
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [, destination = '', , , , , , mask = ''] = line.split('\t');
      if (!/^[0-9A-F]{8}$/.test(destination) || !/^[0-9A-F]{8}$/.test(mask) || mask === '00000000') return [];
      return [{ first: number(destination), prefix: Math.clz32(~number(mask) >>> 0) }];
    });
}

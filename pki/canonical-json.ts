// JSON with its keys in order, so that equal objects give equal bytes. Called by signature.ts. Only plain JSON values.

/** Objects' keys sorted by UTF-16 code units (as RFC 8785 does); members that are undefined are left out. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) => {
    if (typeof member !== 'object' || member === null || Array.isArray(member)) return member;
    return Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

// The one part of node-forge that pki/asn1.ts loads; @types/node-forge describes only the whole package.

declare module 'node-forge/lib/asn1.js' {
  export interface Asn1 {
    tagClass: number;
    type: number;
    constructed: boolean;
    /** Content octets as a binary string, or the elements of a constructed value. */
    value: string | Asn1[];
  }
  const asn1: {
    create(tagClass: number, type: number, constructed: boolean, value: string | Asn1[]): Asn1;
    fromDer(
      bytes: string,
      options: { strict: boolean; parseAllBytes: boolean; decodeBitStrings: boolean; maxDepth: number },
    ): Asn1;
    toDer(value: Asn1): { getBytes(): string };
  };
  export default asn1;
}

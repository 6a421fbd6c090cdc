// How many values a JSON text has, before it is parsed: parsing and checking cost a microsecond and some hundred bytes for each, so that a
// frame of a few megabytes could take seconds and a gigabyte. Called where JSON arrives from another node. Pure.

const quote = 0x22;
const backslash = 0x5c;
/** `,` `:` `[` `{`: each is followed by one value at most. */
const separators = new Set([0x2c, 0x3a, 0x5b, 0x7b]);

/** Whether there may be more than so many values, keys counted as values. Of what is no JSON it says nothing of use. */
export function hasMoreValues(json: Uint8Array, valuesMax: number): boolean {
  let values = 1;
  for (let at = 0; at < json.length; at++) {
    const byte = json[at] ?? 0;
    if (byte === quote) at = endOfText(json, at + 1);
    else if (separators.has(byte) && ++values > valuesMax) return true;
  }
  return false;
}

/** Where the text that begins there has its closing quote, or the end. Long ones, files in base64, are passed over at once. */
function endOfText(json: Uint8Array, from: number): number {
  for (let at = json.indexOf(quote, from); at !== -1; at = json.indexOf(quote, at + 1)) {
    let escapes = 0;
    while (at - 1 - escapes >= from && json[at - 1 - escapes] === backslash) escapes++;
    if (escapes % 2 === 0) return at;
  }
  return json.length;
}

// DNS messages on a TCP stream: two bytes of length, then the message (RFC 1035, section 4.2.2). Called by name-server.ts and
// name-forwarder.ts. It holds at most one message that is not complete yet: 64 KiB.

export function frameOf(message: Uint8Array): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

/** Gives the messages that are complete with these bytes. */
export function createFrames(): (bytes: Buffer) => Buffer[] {
  let rest: Buffer = Buffer.alloc(0);
  return (bytes) => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
    const complete: Buffer[] = [];
    while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
      const end = 2 + rest.readUInt16BE(0);
      complete.push(rest.subarray(2, end));
      rest = rest.subarray(end);
    }
    return complete;
  };
}

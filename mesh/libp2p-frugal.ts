// What libp2p does for each message below a connection and need not, done once: most of what an idle node costs is its links' signs of
// life, a dozen bytes each. Called by libp2p-node.ts for each connection. It changes no byte on the wire, and what it does not
// recognise stays as it is.

interface Corkable {
  cork(): void;
  uncork(): void;
}

/** The parts of libp2p's classes that its interface hides (@libp2p/tcp and @chainsafe/libp2p-noise). */
interface TcpConnection {
  socket?: Partial<Corkable & { bytesWritten: number; bytesRead: number; writableLength: number }>;
  sendData?(data: unknown): unknown;
}

interface NoiseConnection {
  stream?: TcpConnection;
  decoder?: { lengthDecoder?(data: LengthBytes): number };
}

interface LengthBytes {
  byteLength: number;
  getUint16(offset: number): number;
}

/** Noise puts two bytes of length before each message. */
const lengthBytes = 2;
const tooShort = new RangeError('the length of the next message is not there yet');

/** One write for a message: its length alone would be a system call, a packet, and a turn of the far end's event loop. */
function writeWhole(connection: TcpConnection): void {
  const { socket, sendData } = connection;
  if (socket?.cork === undefined || socket.uncork === undefined || sendData === undefined) return;
  const held = socket as Corkable;
  connection.sendData = (data) => {
    held.cork();
    try {
      return sendData.call(connection, data);
    } finally {
      held.uncork();
    }
  };
}

/** The decoder learns by a RangeError that it has read everything, after each message: making one, with its stack, takes longer than all the rest. */
function endCheaply({ decoder }: NoiseConnection): void {
  if (decoder?.lengthDecoder === undefined) return;
  decoder.lengthDecoder = (data) => {
    if (data.byteLength < lengthBytes) throw tooShort;
    return data.getUint16(0);
  };
}

/** What the socket below has carried, and what it has not handed to the system yet: Node.js counts it anyway. */
export function socketBytes(encrypted: object): { sent: number; received: number; waiting: number } | undefined {
  const { bytesWritten, bytesRead, writableLength = 0 } = (encrypted as NoiseConnection).stream?.socket ?? {};
  return bytesWritten === undefined || bytesRead === undefined
    ? undefined
    : { sent: bytesWritten, received: bytesRead, waiting: writableLength };
}

/** `encrypted` is the connection that the multiplexer runs on. */
export function makeFrugal(encrypted: object): void {
  const connection = encrypted as NoiseConnection;
  if (connection.stream !== undefined) writeWhole(connection.stream);
  endCheaply(connection);
}

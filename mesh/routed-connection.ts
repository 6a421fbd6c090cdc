// A stream through routers as libp2p wants a connection: Noise and the multiplexer run on it as on TCP. Called by libp2p-node.ts; the only
// file that imports libp2p's helpers for transports.

import type { Logger } from '@libp2p/interface';
import { AbstractMultiaddrConnection } from '@libp2p/utils';
import type { Multiaddr } from '@multiformats/multiaddr';
import { frameDuplexChunkBytes, unsentBufferBytesMax } from './limits.ts';
import type { FrameStream } from './mesh.ts';

/** What libp2p appends to while it sends; its own type is that of a package that is not ours. */
type Bytes = Parameters<AbstractMultiaddrConnection['sendData']>[0];

export interface RoutedConnectionOptions {
  stream: FrameStream;
  remoteAddr: Multiaddr;
  direction: 'inbound' | 'outbound';
  log: Logger;
}

export class RoutedConnection extends AbstractMultiaddrConnection {
  readonly #stream: FrameStream;
  #unsentBytes = 0;
  #resumed: PromiseWithResolvers<void> | undefined;

  constructor({ stream, ...init }: RoutedConnectionOptions) {
    super(init);
    this.#stream = stream;
    void this.#receive();
  }

  async #receive(): Promise<void> {
    try {
      for (;;) {
        await this.#resumed?.promise;
        const frame = await this.#stream.receive();
        if (frame === undefined) break;
        this.onData(frame);
      }
      this.onTransportClosed();
    } catch (error) {
      this.onTransportClosed(error as Error);
    }
  }

  async #send(bytes: Uint8Array): Promise<void> {
    try {
      await this.#stream.send(bytes);
      this.#unsentBytes -= bytes.length;
      if (this.#unsentBytes < unsentBufferBytesMax && this.writableNeedsDrain) this.safeDispatchEvent('drain');
    } catch (error) {
      this.onTransportClosed(error as Error);
    }
  }

  override sendData(data: Bytes): { sentBytes: number; canSendMore: boolean } {
    const bytes = data.subarray();
    for (let from = 0; from < bytes.length; from += frameDuplexChunkBytes) {
      const piece = bytes.subarray(from, from + frameDuplexChunkBytes);
      this.#unsentBytes += piece.length;
      void this.#send(piece);
    }
    return { sentBytes: bytes.length, canSendMore: this.#unsentBytes < unsentBufferBytesMax };
  }

  override async sendClose(): Promise<void> {
    await this.#stream.close();
  }

  override sendReset(error: Error): void {
    this.#stream.abort(error);
  }

  override sendPause(): void {
    this.#resumed ??= Promise.withResolvers();
  }

  override sendResume(): void {
    this.#resumed?.resolve();
    this.#resumed = undefined;
  }
}

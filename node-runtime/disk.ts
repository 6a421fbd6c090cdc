// The disk port: the small files of one data folder that must survive a power cut (keys, obeyed plan, tokens, lease).
// Paths are relative to the data folder, with '/' between segments. Adapters: file-disk.ts, simulations/sim-disk.ts.

export interface Disk {
  /** The whole file, or undefined when there is none. */
  read(path: string): Promise<Uint8Array | undefined>;
  /** Replaces the file: temporary file, fsync, rename, fsync of the folder. Mode 0600; folders are made, mode 0700. */
  write(path: string, content: Uint8Array | string): Promise<void>;
  /** Appends one line (a newline is added) and fsyncs before resolving. Appends to one path happen in call order. */
  append(path: string, line: string): Promise<void>;
  /** The names directly under a folder, sorted; empty when there is no such folder. */
  list(folder: string): Promise<string[]>;
  /** Removes a file or a whole folder; no error when there is none. */
  remove(path: string): Promise<void>;
}

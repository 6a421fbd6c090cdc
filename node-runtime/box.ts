// The port to what the box gives this daemon beside its disk: free space, descriptors, time that is never set. Adapters: system-box.ts, and
// in tests a plain object.

export interface Box {
  /** For messages: where the data folder is. */
  readonly dataFolder: string;
  /** Of the volume of the data folder. */
  space(): Promise<{ bytesFree: number; bytes: number }>;
  /** Rejects when the data folder may not be written: a read-only volume, rights. Writes nothing. */
  checkWritable(): Promise<void>;
  /** Of this process. Rejects with EMFILE when not even this can be looked at. */
  descriptors(): Promise<{ open: number; max: number }>;
}

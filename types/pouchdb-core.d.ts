// The part of pouchdb-core that control/pouch-*.ts calls. @types/pouchdb-core is not used: it redeclares the global Buffer.

declare module 'pouchdb-core' {
  export interface PouchReplication {
    on(event: string, listener: (value: never) => void): unknown;
    cancel(): void;
  }
  export default class PouchDB {
    constructor(name: string, options: Record<string, unknown>);
    static plugin(plugin: unknown): void;
    static replicate(source: unknown, target: unknown, options: Record<string, unknown>): PouchReplication;
  }
}

declare module 'pouchdb-replication' {
  const plugin: unknown;
  export default plugin;
}

// Policies: who may call whom beyond one application. Types only, shared by the fabric's documents, the bulletin's facts and the mesh.

/** The called side is of the policy's own project: nobody else opens it. */
export interface CallRule {
  from: { project: string; application: string; microservice?: string };
  /** Without a microservice all of the application, without ports all of theirs. */
  to: { application: string; microservice?: string; ports?: number[] };
}

export interface CallPolicy {
  project: string;
  name: string;
  allow: CallRule[];
}

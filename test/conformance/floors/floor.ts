/**
 * What must work on an engine, so that none passes by declaring things away.
 */

/** The cases that must work, and the fields by which some may be refused all the same. */
export interface Floor {
  /** The ids of the cases that must work. */
  readonly cases: ReadonlySet<string>;
  /**
   * The only fields that the engine may refuse a case by, where its version or its host cannot do it,
   * by the id of the case. Where they can, the case must prove its effect.
   */
  readonly exceptions: ReadonlyMap<string, readonly string[]>;
}

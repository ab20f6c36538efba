/** A JavaScript or TypeScript source. Its path tells the language. */
export interface Source {
  readonly path: string;
  readonly text: string;
}

/** Finds out what sources import. One call at a time. */
export interface ImportReader {
  /**
   * The specifiers that each source imports, in the order of the sources. One that cannot be parsed has none, whatever
   * it does to the parser. Throws when it cannot be told for a reason that lies outside the sources.
   */
  read(sources: readonly Source[]): Promise<readonly (readonly string[])[]>;
  /** Frees what it holds. A call under way rejects. */
  close(): void;
}

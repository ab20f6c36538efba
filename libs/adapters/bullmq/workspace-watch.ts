/** Which workspace is here, by its fingerprint. One that cannot be listed for a while ends no process. */
export class WorkspaceWatch {
  /** Empty while the workspace cannot be listed. */
  fingerprint = '';
  /** Why it cannot be listed, in words. */
  error: string | null = null;

  constructor(
    private readonly list: () => string,
    private readonly log: (message: string) => void,
  ) {}

  look(): void {
    try {
      this.fingerprint = this.list();
      this.error = null;
    } catch (error) {
      const { message } = error as Error;
      if (this.error !== message) this.log(`The workspace cannot be listed: ${message}`);
      this.fingerprint = '';
      this.error = message;
    }
  }
}

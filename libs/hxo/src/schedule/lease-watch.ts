import type { Transport } from '../execute/transport.js';
import { askedOf, type Lease, type Leases } from './leases.js';

/** How often leases are checked for their deadlines. */
const expire_every_ms = 1_000;
/** How often the transport is asked what it no longer carries: a lease that is missing twice running is lost. */
const reconcile_every_ms = 2_000;
/** When it is asked after a start: what an earlier process leased and never sent must not wait for long. */
const reconcile_first_ms = [200, 600, 1_200];

/** Finds leases that come to nothing: nobody was heard of for their term, or the transport does not carry them any more. */
export class LeaseWatch {
  private timers: NodeJS.Timeout[] = [];
  private reconciling = false;

  /**
   * @param lose told of each lease that is lost, in its turn
   * @param guard takes work that nobody awaits
   */
  constructor(
    private readonly leases: Leases,
    private readonly transport: Pick<Transport, 'missing'>,
    private readonly lose: (lease: Lease, reason: string) => Promise<void>,
    private readonly guard: (work: Promise<void>) => void,
  ) {}

  start(): void {
    const reconcile = (): void => {
      // With Redis away an answer takes until that is back: nothing more is asked meanwhile.
      if (this.reconciling) return;
      this.reconciling = true;
      this.guard(this.reconcile().finally(() => (this.reconciling = false)));
    };
    this.timers = [
      setInterval(() => this.expire(), expire_every_ms),
      setInterval(reconcile, reconcile_every_ms),
      ...reconcile_first_ms.map((after_ms) => setTimeout(reconcile, after_ms)),
    ];
    for (const timer of this.timers) timer.unref();
  }

  stop(): void {
    for (const timer of this.timers) clearInterval(timer);
  }

  private expire(): void {
    for (const lease of this.leases.all())
      if (this.leases.expired(lease))
        this.loseInTurn(lease, 'no heartbeat', () => this.leases.expired(lease));
  }

  /** Finds leases that the transport no longer carries, because Redis has lost them, say. */
  private async reconcile(): Promise<void> {
    const asked = [...this.leases.all()].filter((lease) => lease.granted);
    if (asked.length === 0) return;
    const gone = await this.transport.missing(asked.map(askedOf));
    const missing = new Set(gone.map((at) => this.leases.of(at)));
    for (const lease of asked) {
      const twice = lease.missing && missing.has(lease);
      lease.missing = missing.has(lease);
      if (twice) this.loseInTurn(lease, 'its bundle has vanished', () => lease.missing);
    }
  }

  /** What is dealt with before its turn may be a sign of life: whether it is lost is asked once more then. */
  private loseInTurn(lease: Lease, reason: string, isLost: () => boolean): void {
    const act = async (): Promise<void> => (isLost() ? this.lose(lease, reason) : undefined);
    this.guard(this.leases.inTurn(lease, act));
  }
}

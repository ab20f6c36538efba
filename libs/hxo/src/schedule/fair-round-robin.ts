/** A stage that a scheduler may lease from. */
export interface Candidate {
  readonly plan_id: string;
  /** Is there a shard to lease now? */
  hasWork(): boolean;
}

/**
 * The fair_round_robin scheduler: plans take turns, and inside a plan its stages do, so that a plan of a million shards
 * delays a small one by one bundle and no more.
 */
export class FairRoundRobin<C extends Candidate> {
  /** Plans in the order of their turns; each with its stages in the order of theirs. */
  private turns: { readonly plan_id: string; stages: C[] }[] = [];

  add(candidate: C): void {
    const plan = this.turns.find((turn) => turn.plan_id === candidate.plan_id);
    if (plan === undefined) this.turns.push({ plan_id: candidate.plan_id, stages: [candidate] });
    else plan.stages.push(candidate);
  }

  remove(candidate: C): void {
    for (const turn of this.turns) turn.stages = turn.stages.filter((stage) => stage !== candidate);
    this.turns = this.turns.filter((turn) => turn.stages.length > 0);
  }

  /**
   * Whose turn it is among those that have work and are eligible, or null. The chosen plan and stage go to the end of their
   * queues.
   */
  next(eligible: (candidate: C) => boolean = () => true): C | null {
    for (let i = 0; i < this.turns.length; i++) {
      const turn = this.turns[i]!;
      const j = turn.stages.findIndex((stage) => eligible(stage) && stage.hasWork());
      if (j === -1) continue;
      const [chosen] = turn.stages.splice(j, 1) as [C];
      turn.stages.push(chosen);
      this.turns.splice(i, 1);
      this.turns.push(turn);
      return chosen;
    }
    return null;
  }
}

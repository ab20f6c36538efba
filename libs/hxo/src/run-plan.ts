import { certifyPlan } from './aggregate/certify-plan.js';
import { hashWhile } from './aggregate/hash-while.js';
import type { EnginePorts } from './engine-ports.js';
import { runStage, skipStage, type StageEnd } from './execute/run-stage.js';
import { partitionStage } from './partition/partition-into-store.js';
import { enterPhase } from './plan/enter-phase.js';
import type { LivePlan, LiveStage } from './plan/live-plan.js';

/**
 * The life of a plan, from its durable submission to its certificate.
 *
 * Every step begins by looking at where the plan stands, and does nothing that the checkpoint store shows as done: a plan
 * that a crash interrupted is resumed by running this again, from the top. A step that finds the plan stopped throws
 * PlanStopped; whoever stopped it has stored why.
 */
export async function runPlan(plan: LivePlan, ports: EnginePorts): Promise<void> {
  // Stages are cut into shards, with content ids, and those whose work was done before are done by reuse. Nothing is
  // dispatched before all that can be cut by now is known to stay within the plan's max_shards.
  await enterPhase(plan, 'partitioning', ports);
  for (const stage of plan.stages) if (!stage.follows_dependencies) await partitionStage(stage, ports);

  // Stages start when those that they depend on are done, and run side by side. Their shards are leased in bundles, carried
  // to workers, executed, and each result is accepted exactly once; then the stage's collector folds them into its output.
  await enterPhase(plan, 'running', ports);
  await hashWhile(plan, ports, () => runStages(plan, ports));

  // All that was accepted becomes the leaves of a Merkle tree, most of them hashed by now; its root is signed, and the plan
  // has ended.
  await enterPhase(plan, 'aggregating', ports);
  await certifyPlan(plan, ports);
}

/** Runs every stage of the DAG. One whose dependencies did not all succeed is skipped. */
async function runStages(plan: LivePlan, ports: EnginePorts): Promise<void> {
  const ends = new Map<string, Promise<StageEnd>>();
  const endOf = (stage: LiveStage): Promise<StageEnd> => {
    const known = ends.get(stage.spec.id);
    if (known !== undefined) return known;
    const end = afterDependencies(stage);
    ends.set(stage.spec.id, end);
    return end;
  };
  const afterDependencies = async (stage: LiveStage): Promise<StageEnd> => {
    const needed = plan.stages.filter((other) => stage.spec.dependencies.includes(other.spec.id));
    const before = await Promise.all(needed.map(endOf));
    // A stage that had begun before a crash ends as one that has begun, whatever halted the plan.
    const halted = plan.halted && (stage.phase === 'ready' || stage.phase === 'waiting');
    const free = before.every((end) => end === 'done') && !halted;
    if (!free) return skipStage(stage, ports);
    // What it works on has just been made, if its dependencies make it.
    await partitionStage(stage, ports);
    return runStage(stage, ports);
  };
  await Promise.all(plan.stages.map(endOf));
}

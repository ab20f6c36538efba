import type { CheckpointStore, PlanRow, StageRow } from './checkpoint/checkpoint-store.js';
import type { SearchOrder } from './background.js';
import { HxoError } from './errors.js';

/** The kind whose stages can be searched, and the artifacts that such a stage must have. */
const docs_kind = 'docs.index';
const index_artifact = 'index';
const documents_artifact = 'documents';

const page_plans = 100;
/** Plans looked at before a search gives up: whoever has more newer ones names the plan. */
const searched_plans_max = 1_000;

/** A stage that can be searched. */
export interface DocsIndex extends Pick<SearchOrder, 'index' | 'documents'> {
  readonly plan_id: string;
  readonly stage: string;
}

/**
 * The index of the named stage of a plan, or of its first stage that has one. Throws HxoError STAGE_NOT_FOUND, or
 * INDEX_NOT_FOUND saying what is missing.
 */
export function docsIndexOf(
  store: Pick<CheckpointStore, 'stages'>,
  plan: PlanRow,
  stage: string | undefined,
): DocsIndex {
  if (stage !== undefined && !plan.spec.stages.some(({ id }) => id === stage)) {
    const stages = plan.spec.stages.map(({ id }) => id).join(', ');
    throw new HxoError('STAGE_NOT_FOUND', `The plan has no stage ${stage}. Its stages: ${stages}.`);
  }
  const found = indexIn(plan, store.stages(plan.plan_no), stage);
  if (found !== null) return found;
  throw new HxoError(
    'INDEX_NOT_FOUND',
    `Plan ${plan.plan_id} (${plan.phase}) has no search index${stage === undefined ? '' : ` of stage ${stage}`}. Name a plan whose stage of kind ${docs_kind} is done, or leave plan_id out.`,
  );
}

/** The index of the newest plan that succeeded and has one. Throws HxoError INDEX_NOT_FOUND. */
export async function newestDocsIndex(
  store: Pick<CheckpointStore, 'plans' | 'stages'>,
  stage: string | undefined,
): Promise<DocsIndex> {
  let before_no: number | null = null;
  for (let looked_at = 0; looked_at < searched_plans_max; looked_at += page_plans) {
    const plans: PlanRow[] = await store.plans({ before_no, limit: page_plans, phase: 'succeeded' });
    for (const plan of plans) {
      const kinds = plan.spec.stages.map(({ kind }) => kind);
      const found = kinds.includes(docs_kind) ? indexIn(plan, store.stages(plan.plan_no), stage) : null;
      if (found !== null) return found;
    }
    if (plans.length < page_plans) break;
    before_no = plans.at(-1)!.plan_no;
  }
  const named = stage === undefined ? '' : ` with the id ${stage}`;
  throw new HxoError(
    'INDEX_NOT_FOUND',
    `None of the last ${searched_plans_max.toLocaleString('en')} plans that succeeded has a search index${named}. Submit a plan with a stage of kind ${docs_kind}${named}, or name an older plan by plan_id.`,
  );
}

function indexIn(plan: PlanRow, rows: readonly StageRow[], stage: string | undefined): DocsIndex | null {
  for (const [stage_no, { id, kind }] of plan.spec.stages.entries()) {
    if (kind !== docs_kind || (stage !== undefined && id !== stage)) continue;
    const artifacts = rows[stage_no]?.output?.artifacts ?? [];
    const index = artifacts.find(({ name }) => name === index_artifact);
    const documents = artifacts.find(({ name }) => name === documents_artifact);
    if (index === undefined || documents === undefined) continue;
    return { plan_id: plan.plan_id, stage: id, index: index.digest, documents: documents.digest };
  }
  return null;
}

// Stages 2 and 3 in the registry: pseudo labels, what students start from, and batches.

import type { Dataset } from "../../data/dataset.ts";
import type { RunContext, StageKind } from "../common/kind.ts";
import { Distil, type DistilBatch } from "./distil.ts";
import { nextDistilBatch } from "./next_batch.ts";
import {
  missingPseudoLabels,
  pseudoLabelDigests,
  withPseudoLabels,
  writePseudoLabels,
} from "./pseudo_labels.ts";
import { DISTIL_SETTINGS, type DistilSettings } from "./settings.ts";

/** The stage whose backbone a student starts from, where it is one's. */
const BACKBONE_OF = {
  "self-supervised": "selfsup",
  supervised: "source",
  teacher: null,
  random: null,
} as const satisfies Record<DistilSettings["studentStart"], string | null>;

/**
 * A stage of distillation.
 *
 * @param summary What is particular to it.
 * @param officialStart What its student starts from in the released code.
 */
export function distil(summary: string, officialStart: DistilSettings["studentStart"]) {
  return {
    summary,
    settings: DISTIL_SETTINGS,
    role: "adaptation",
    adapts: "by pseudo labels",
    givenNetwork: "teacher",
    hasStrongViews: true,
    passes: () => 2, // pseudo labels are of the image and its mirror image
    recipe: (variant) => ({
      teacherView: variant === "official" ? "strong" : "weak",
      formula: variant,
      studentStart: variant === "official" ? officialStart : "self-supervised",
    }),
    backboneStart: ({ studentStart }) => {
      const stage = BACKBONE_OF[studentStart];
      return stage && { stage, otherwise: ["studentStart", "teacher"] };
    },
    fromPretrained: (variant) => ({
      featureNorm: true,
      ...(variant === "official" && officialStart === "teacher"
        ? {}
        : { studentStart: "self-supervised" }),
    }),
    async prepare(context) {
      const { target, made } = await pseudoLabelled(context);
      return { stage: makeDistil(context), target, made, nextBatch: nextDistilBatch };
    },
    plan({ batches, name, network, options, createNetwork }) {
      const student = createNetwork({ featureNorm: options.featureNorm, init: "none" });
      return {
        stage: new Distil(student, network, options, name),
        makeBatch: () => ({
          source: batches.source(),
          target: { ...batches.targetViews(), labels: batches.maps("pseudo labels", "u32") },
        }),
      };
    },
  } as const satisfies StageKind<DistilSettings, DistilBatch>;
}

/** Target images with pseudo labels of the network as the stage before has left it, and their digests. */
async function pseudoLabelled(
  context: RunContext<DistilSettings>,
): Promise<{ readonly target: Dataset; readonly made: Record<string, string> }> {
  const { classes, name, network, options: { threshold, keep }, ranks, target, longSide, signal } =
    context;
  const folder = context.pathOf("pseudo_labels", name);
  const options = { folder, classes, threshold, keep, longSide, signal, ranks };
  const missing = context.isResumed ? missingPseudoLabels(target, options) : null;
  const isComplete = missing?.length === 0;
  await ranks.barrier(); // all have looked before one makes some again
  if (!isComplete) {
    if (missing) context.returnToStart();
    await context.adaptStatistics();
    const all = `${target.items.length}`;
    context.message(
      missing
        ? `${missing.length} of ${all} pseudo labels are missing, such as ${
          missing[0]
        }: all are made again`
        : `pseudo labels of ${all} target images`,
    );
    await writePseudoLabels(network, target, options);
    await ranks.barrier();
  }
  return {
    target: withPseudoLabels(target, options),
    made: pseudoLabelDigests(target, options, isComplete ? context.made : null),
  };
}

/** The network of the stage before becomes the teacher of a new one. */
function makeDistil(context: RunContext<DistilSettings>): Distil {
  const { name, network: teacher, options } = context;
  const student = context.createNetwork({ featureNorm: options.featureNorm });
  const { studentStart } = options;
  const backbone = BACKBONE_OF[studentStart];
  try {
    // What the teacher or the backbone does not have keeps what it was made with.
    if (studentStart === "teacher") {
      student.loadStateDict(teacher.stateDict(), { strict: false });
    } else if (backbone !== null) context.loadBackbone(student, backbone);
  } catch (error) {
    student.dispose();
    throw error;
  }
  return new Distil(student, teacher, options, name);
}
